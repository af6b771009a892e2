package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Node is a node of the homelab: a host with Flannel's network, a kube-proxy,
// and pods.
type Node struct {
	*Space
	place nodePlace
	home  *Home
	proxy *process

	lastHost atomic.Int32 // of pods' addresses
}

// Address is its address on the LAN.
func (n *Node) Address() string { return n.place.address }

// gateway is the address of the bridge that its pods hang on.
func (n *Node) gateway() netip.Addr { return n.network().Next() }

// podAddress is the next address for a pod; the range is used in turns.
func (n *Node) podAddress() string {
	ip := n.network().As4()
	ip[3] = byte(2 + (n.lastHost.Add(1)-1)%250)
	return netip.AddrFrom4(ip).String()
}

// network is the first address of its pods' range, which is that of its tunnel.
func (n *Node) network() netip.Addr { return netip.MustParsePrefix(n.place.pods).Addr() }

// tunnelMAC is the address of its end of the tunnel.
func (n *Node) tunnelMAC() string {
	ip := n.network().As4()
	return fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3])
}

// flannel is what flanneld and its CNI plugin set up with the default backend:
// a VXLAN to the other nodes, a bridge for the pods, and rules by which pods
// keep their addresses among each other and hide them from all others.
func (n *Node) flannel(all []*Node) error {
	links := []string{
		fmt.Sprintf("link add flannel.1 type vxlan id 1 local %s dev eth0 dstport 8472 nolearning", n.place.address),
		"link set flannel.1 address " + n.tunnelMAC(),
		fmt.Sprintf("address add %s/32 dev flannel.1", n.network()),
		"link set flannel.1 up",
		"link add cni0 mtu 1450 type bridge",
		fmt.Sprintf("address add %s/24 dev cni0", n.gateway()),
		"link set cni0 up",
	}
	var ends []string
	for _, other := range all {
		if other == n {
			continue
		}
		links = append(links,
			fmt.Sprintf("neighbour add %s lladdr %s dev flannel.1 nud permanent", other.network(), other.tunnelMAC()),
			fmt.Sprintf("route add %s via %s dev flannel.1 onlink", other.place.pods, other.network()),
		)
		ends = append(ends, fmt.Sprintf("fdb append %s dev flannel.1 dst %s self permanent", other.tunnelMAC(), other.place.address))
	}
	return errors.Join(
		n.sysctl("net/ipv4/ip_forward", "1"),
		n.ip(links...),
		n.bridge(ends...),
		n.nft(fmt.Sprintf(`
table ip flannel-ipv4 {
	chain postrtg {
		type nat hook postrouting priority srcnat;
		# Between pods, and to the node's own pods from wherever: as it is.
		ip saddr %[1]s ip daddr %[2]s return
		ip saddr %[2]s ip daddr %[1]s return
		ip saddr != %[1]s ip daddr %[1]s return
		# Out of the cluster, and from outside to the pods of other nodes: as the node.
		ip saddr %[2]s ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != %[2]s ip daddr %[2]s masquerade fully-random
	}
}`, n.place.pods, clusterPods)),
	)
}

// startProxy runs kube-proxy on the node, with the rights that clusters give it.
func (n *Node) startProxy() error {
	plane := n.home.Plane
	kubeconfig, err := plane.clientKubeconfig("system:kube-proxy", "system:node-proxiers")
	if err != nil {
		return err
	}
	n.proxy, err = n.start("proxy", plane.path("proxy-"+n.Name+".log"), plane.binary, nil, "proxy",
		"--kubeconfig="+kubeconfig,
		"--hostname-override="+n.Name,
		"--proxy-mode=nftables",
		"--detect-local-mode=ClusterCIDR",
		"--cluster-cidr="+clusterPods,
		// The size of the table and its times belong to the machine, not to the
		// namespace: leave them.
		"--conntrack-max-per-core=0",
		"--conntrack-min=0",
		"--conntrack-tcp-timeout-established=0",
		"--conntrack-tcp-timeout-close-wait=0",
		fmt.Sprintf("--healthz-bind-address=0.0.0.0:%d", proxyHealthPort),
	)
	return err
}

// CutOff pulls the node's cable out of the switch. Nobody tells the API: no
// kubelet of the node reaches it either. Connect, or the end of the test, puts
// the cable back.
func (n *Node) CutOff(t testing.TB) {
	t.Helper()
	if err := n.home.lan.ip("link set " + n.Name + " down"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Connect(t) })
}

// Connect puts the cable back.
func (n *Node) Connect(t testing.TB) {
	t.Helper()
	if err := n.home.lan.ip("link set " + n.Name + " up"); err != nil {
		t.Fatal(err)
	}
}

// clientKubeconfig writes a kubeconfig of a user with a certificate.
func (p *ControlPlane) clientKubeconfig(user, group string) (string, error) {
	pair, err := p.authority.issueClient(user, group)
	if err != nil {
		return "", err
	}
	return p.writeKubeconfig(user, &clientcmdapi.AuthInfo{ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key})
}
