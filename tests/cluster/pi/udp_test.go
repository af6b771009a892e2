package pi

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sluice.test/cluster/lab"
)

const udpEdge = `
apiVersion: v1
kind: Service
metadata: {name: udp, annotations: {sluice.dev/reach: %s}}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  selector: {app: web}
  ports: [{name: udp, port: 5300, targetPort: udp, protocol: UDP}]
`

// TestDatagramsFromTheInternetToPods sends flows of datagrams all the way. Each
// flow stays with its pod, by node port too, where kube-proxy draws it.
func TestDatagramsFromTheInternetToPods(t *testing.T) {
	lab.RequireSluice(t)
	for _, reach := range []string{"nodeport", "pod"} {
		t.Run(reach, func(t *testing.T) {
			namespace := home.Plane.Namespace(t)
			pods := runWeb(t, namespace, len(home.Nodes))
			home.Plane.Apply(t, namespace, fmt.Sprintf(udpEdge, reach))
			home.Forward(t, "udp", 5300, lab.HomeEdge, 5300)
			startSluice(t, home.Edge, lab.HomeEdge, "auto")
			expectBackends(t, func() (string, error) { return askFlow(t) }, pods...)
		})
	}
}

// askFlow sends some datagrams of one flow, and tells which pod answers all.
func askFlow(t *testing.T) (string, error) {
	flow, err := home.Client.DialContext(context.Background(), "udp", lab.HomePublic+":5300")
	if err != nil {
		return "", err
	}
	defer flow.Close()
	pod := ""
	for number := range 3 {
		said := fmt.Sprintf("datagram %d", number)
		answer, err := exchange(flow, said)
		if err != nil {
			return "", err
		}
		name, echoed, _ := strings.Cut(answer, " ")
		if echoed != said {
			return "", fmt.Errorf("said %q, heard %q", said, answer)
		}
		if pod != "" && name != pod {
			t.Errorf("a flow of %s was answered by %s", pod, name)
		}
		pod = name
	}
	return pod, nil
}

// exchange says something and waits a moment for what comes back.
func exchange(flow net.Conn, said string) (string, error) {
	if err := flow.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := flow.Write([]byte(said)); err != nil {
		return "", err
	}
	buffer := make([]byte, 2048)
	length, err := flow.Read(buffer)
	return string(buffer[:length]), err
}
