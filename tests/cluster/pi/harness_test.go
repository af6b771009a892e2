package pi

import (
	"fmt"
	"testing"
)

// The stories of this file need no sluice: they show that the lab is a homelab.

// TestHarnessNodePortsOfAllNodesReachPods goes the way of a packet from the
// edge: kube-proxy's rules on a node, Flannel's tunnel, a pod of another node.
func TestHarnessNodePortsOfAllNodesReachPods(t *testing.T) {
	namespace := home.Plane.Namespace(t)
	web := runWeb(t, namespace, 2)
	service := readService(t, namespace, "web")
	for _, node := range home.Nodes {
		address := fmt.Sprintf("%s:%d", node.Address(), service.Spec.Ports[0].NodePort)
		expectBackends(t, func() (string, error) { return body(home.Edge.Get(address, "web", "/")) }, web...)
	}
}
