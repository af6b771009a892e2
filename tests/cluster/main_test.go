package cluster

import (
	"os"
	"testing"

	"sluice.test/cluster/lab"
)

// plane is the one control plane that all stories share.
var plane *lab.ControlPlane

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, func(started *lab.ControlPlane) { plane = started }))
}
