package lab

import (
	"fmt"
	"os/exec"
	"sync/atomic"
)

// The addresses inside the lab's network namespace. All of each range is local
// to loopback there, so anything may listen on any of them; the API server
// refuses 127.0.0.0/8 as the address of an endpoint, therefore others.
const (
	// podRange holds 10.244.N.0/24 for the pods of node N+1.
	podRange = "10.244.0.0/22"
	// edgeRange is what sluice serves on.
	edgeRange = "192.0.2.0/24"
	// nodeRange holds the addresses of the nodes, and of the API server as the
	// Service "kubernetes" tells it.
	nodeRange = "198.51.100.0/24"
)

// ground is where a control plane and its nodes stand.
type ground struct {
	// api is what others dial; bind what the server listens on; advertised what
	// the Service "kubernetes" tells, where loopback is not allowed.
	api, bind, advertised string
	nodes                 []nodePlace
}

// nodePlace is what a Node object says of a node.
type nodePlace struct{ name, address, pods string }

// loopback is the ground where all is an address of lo: node-1, node-2, …
func loopback() *ground {
	g := &ground{api: "127.0.0.1", bind: "127.0.0.1", advertised: "198.51.100.250"}
	for number := 1; number <= Nodes; number++ {
		g.nodes = append(g.nodes, nodePlace{
			name: NodeName(number), address: NodeAddress(number), pods: fmt.Sprintf("10.244.%d.0/24", number-1),
		})
	}
	return g
}

// The namespace is ours alone, so ports are fixed. A port from the kernel
// would be an ephemeral one, and an outgoing connection could take it while the
// API server is down for a restart.
const (
	etcdClientPort  = 2379
	etcdPeerPort    = 2380
	apiPort         = 6443
	controllersPort = 10257
)

var lastEdge, lastAdmin atomic.Int32

// EdgeAddress is an address no other story serves on, so that one story's
// leftovers cannot answer for another's objects.
func EdgeAddress() string { return fmt.Sprintf("192.0.2.%d", 9+lastEdge.Add(1)) }

// AdminAddress is a free address for an admin port.
func AdminAddress() string { return fmt.Sprintf("127.0.0.1:%d", 9649+lastAdmin.Add(1)) }

// setUpNetwork makes the addresses of the namespace this process is in.
func setUpNetwork() error {
	steps := [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", podRange, "dev", "lo"},
		{"address", "add", edgeRange, "dev", "lo"},
		{"address", "add", nodeRange, "dev", "lo"},
	}
	for _, step := range steps {
		if output, err := exec.Command("ip", step...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", step, err, output)
		}
	}
	return nil
}
