// Package pi holds the stories that need a network: sluice in a homelab, with a
// router in front and real nodes behind. README.md of the module says how to
// run them; package lab is what they stand on.
package pi

import (
	"os"
	"testing"

	"sluice.test/cluster/lab"
)

// home is the one homelab that all stories share.
var home *lab.Home

func TestMain(m *testing.M) {
	os.Exit(lab.MainAtHome(m, func(built *lab.Home) { home = built }))
}
