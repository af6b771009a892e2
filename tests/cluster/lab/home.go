package lab

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

// The addresses of the homelab.
const (
	// HomePublic is the router's address on the internet.
	HomePublic = "203.0.113.1"
	// HomeClient is somebody there.
	HomeClient = "203.0.113.10"
	// HomeRouter is the router on the LAN.
	HomeRouter = "192.168.1.1"
	// HomeEdge is a host of the LAN for sluice, beside the router.
	HomeEdge = "192.168.1.2"

	homeAPI     = "192.168.1.5"
	clusterPods = "10.244.0.0/16"
	// proxyHealthPort is where kube-proxy tells whether it keeps up.
	proxyHealthPort = 10256
)

// homeGround is the LAN, seen from the switch: the API server is a host there.
func homeGround() *ground {
	g := &ground{api: homeAPI, bind: homeAPI, advertised: homeAPI}
	for number := 1; number <= Nodes; number++ {
		g.nodes = append(g.nodes, nodePlace{
			name:    fmt.Sprintf("pi-%d", number),
			address: fmt.Sprintf("192.168.1.%d", 10+number),
			pods:    fmt.Sprintf("10.244.%d.0/24", number),
		})
	}
	return g
}

// Home is a homelab: a client on the internet, a router with port forwards, a
// switch, four nodes with kube-proxy and Flannel, and a host for sluice.
//
//	client 203.0.113.10 ── 203.0.113.1 router 192.168.1.1 ──┬── switch
//	                                                        ├── edge 192.168.1.2
//	                                                        ├── API server 192.168.1.5 (the switch itself)
//	                                                        └── pi-1 … pi-4 192.168.1.11 … .14
//
// The pods of pi-N are 10.244.N.0/24. The router and the edge have routes to
// them through the nodes, as docs/reach.md tells users to add.
type Home struct {
	Plane                *ControlPlane
	Client, Router, Edge *Space
	// Nodes are pi-1, pi-2, …
	Nodes []*Node

	// lan is the switch; this process is in it.
	lan     *Space
	kubelet *kubelet
}

// newHome makes the network. Control plane and nodes start afterwards.
func newHome(g *ground) (*Home, error) {
	h := &Home{}
	var err error
	if h.lan, err = spaceHere("lan"); err != nil {
		return nil, err
	}
	if err := h.lan.ip("link set lo up", "link add lan type bridge", "link set lan up",
		"address add "+homeAPI+"/24 dev lan"); err != nil {
		return nil, err
	}
	if h.Router, err = h.plug("router", HomeRouter); err != nil {
		return nil, err
	}
	if h.Edge, err = h.plug("edge", HomeEdge); err != nil {
		return nil, err
	}
	for _, place := range g.nodes {
		space, err := h.plug(place.name, place.address)
		if err != nil {
			return nil, err
		}
		h.Nodes = append(h.Nodes, &Node{Space: space, place: place, home: h})
	}
	err = h.connectClient()
	for _, node := range h.Nodes {
		route := fmt.Sprintf("route add %s via %s", node.place.pods, node.place.address)
		err = errors.Join(err, node.flannel(h.Nodes), h.Router.ip(route), h.Edge.ip(route))
	}
	return h, err
}

// plug makes a host on the switch. Its way out is the router.
func (h *Home) plug(name, address string) (*Space, error) {
	space, err := newSpace(name)
	if err != nil {
		return nil, err
	}
	err = h.lan.ip(
		fmt.Sprintf("link add %s type veth peer name eth0 netns %s", name, space.path()),
		fmt.Sprintf("link set %s master lan up", name),
	)
	if err == nil {
		err = space.ip(fmt.Sprintf("address add %s/24 dev eth0", address), "link set eth0 up")
	}
	if err == nil && address != HomeRouter {
		err = space.ip("route add default via " + HomeRouter)
	}
	return space, err
}

// connectClient makes the internet, and the router's rules for it: what comes
// to its public address is forwarded if a Forward says so, and what leaves has
// that address.
func (h *Home) connectClient() (err error) {
	if h.Client, err = newSpace("client"); err != nil {
		return err
	}
	return errors.Join(
		h.Router.ip(
			"link add wan type veth peer name eth0 netns "+h.Client.path(),
			"address add "+HomePublic+"/24 dev wan", "link set wan up",
		),
		h.Client.ip("address add "+HomeClient+"/24 dev eth0", "link set eth0 up"),
		h.Router.sysctl("net/ipv4/ip_forward", "1"),
		h.Router.nft(`
table ip nat {
	chain prerouting { type nat hook prerouting priority dstnat; }
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan" masquerade
	}
}`),
	)
}

// Forward is a port forward of the router, for "tcp" or "udp": from a port of
// its public address to a host and port of the LAN, until the test ends.
func (h *Home) Forward(t testing.TB, protocol string, port int, host string, to int) {
	t.Helper()
	if err := h.forward(protocol, port, host, to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Router.nft("flush chain ip nat prerouting"); err != nil {
			t.Error(err)
		}
	})
}

func (h *Home) forward(protocol string, port int, host string, to int) error {
	return h.Router.nft(fmt.Sprintf(`add rule ip nat prerouting iifname "wan" ip daddr %s %s dport %d dnat to %s:%d`,
		HomePublic, protocol, port, host, to))
}

// furnish starts what runs on the nodes, and waits for it.
func (h *Home) furnish(plane *ControlPlane) error {
	h.Plane = plane
	start := time.Now()
	for _, node := range h.Nodes {
		if err := node.startProxy(); err != nil {
			return err
		}
	}
	for _, node := range h.Nodes {
		url := fmt.Sprintf("http://%s:%d/healthz", node.place.address, proxyHealthPort)
		if err := plane.await(node.proxy, func() error { return healthy(http.DefaultClient, url) }); err != nil {
			return fmt.Errorf("%w\n%s", err, node.proxy.tail(25))
		}
	}
	h.kubelet = startKubelet(h)
	fmt.Fprintf(os.Stderr, "lab: kube-proxy ready on %d nodes after %v\n", len(h.Nodes), time.Since(start).Round(time.Millisecond))
	return nil
}

// close ends what furnish started.
func (h *Home) close() {
	if h.kubelet != nil {
		h.kubelet.close()
	}
	for _, node := range h.Nodes {
		if node.proxy != nil {
			node.proxy.kill()
		}
	}
}

// logTails is what each kube-proxy said last.
func (h *Home) logTails() (all string) {
	for _, node := range h.Nodes {
		if node.proxy != nil {
			all += node.proxy.tail(10)
		}
	}
	return all
}
