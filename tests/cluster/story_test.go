package cluster

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

// What the stories of sluice share.

const (
	// noticeTimeout is how long a change may take from the API to the traffic;
	// the controllers' share of it included.
	noticeTimeout = 30 * time.Second
	// askedOften is enough requests to meet every backend of a pool, however
	// its balancing is spread over data threads.
	askedOften = 24
)

// ingressClass is the class of sluice, not the default one.
const ingressClass = `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: sluice}
spec: {controller: sluice.dev/ingress}
`

// cluster is the label of the lab's cluster among sluice's sources; the file is
// another one.
var cluster = map[string]string{"source": "home"}

// edge is a sluice with the address it hands out and serves on.
type edge struct {
	*lab.Sluice
	address     string
	http, https string // where Ingresses are served
}

// startEdge runs a sluice with the rights of the manifest, on an address of its
// own, and waits until it is ready. reach says how it dials pods.
func startEdge(t *testing.T, reach string) *edge {
	t.Helper()
	e := runEdge(t, reach, plane.Grant(t, lab.SluiceRights()))
	e.ExpectReady(t)
	return e
}

// runEdge runs a sluice with a kubeconfig, ready or not.
func runEdge(t *testing.T, reach, kubeconfig string) *edge {
	t.Helper()
	plane.Apply(t, "", ingressClass)
	address := lab.EdgeAddress()
	e := &edge{address: address, http: address + ":8080", https: address + ":8443"}
	e.Sluice = lab.RunSluice(t, fmt.Sprintf(`
process: {admin: %q, workers: 2, drain: 5s}
clusters:
  home:
    kubeconfig: %s
    reach: %s
    services: {class: sluice.dev/edge, addresses: [%s]}
    ingress: {class: sluice, http: %q, https: %q}
`, lab.AdminAddress(), kubeconfig, reach, address, e.http, e.https))
	return e
}

// webPods are two pods behind the Service web.
func webPods(t *testing.T, namespace string) (first, second *lab.Pod) {
	t.Helper()
	plane.Apply(t, namespace, webService)
	return plane.RunPod(t, namespace, "first", "web", 1), plane.RunPod(t, namespace, "second", "web", 2)
}

// servePod is one pod with a Service of its own name in front, port 80.
func servePod(t *testing.T, namespace, name string) *lab.Pod {
	t.Helper()
	plane.Apply(t, namespace, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: http}]
`, name))
	return plane.RunPod(t, namespace, name, name, 1)
}

// tlsSecret is a manifest.
func tlsSecret(name string, pair lab.Pair) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: %s}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
`, name, base64.StdEncoding.EncodeToString(pair.Certificate), base64.StdEncoding.EncodeToString(pair.Key))
}

// newAuthority and issue are lab's, for callers with a test at hand.
func newAuthority(t *testing.T) *lab.Authority {
	t.Helper()
	authority, err := lab.NewAuthority("story")
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

func issue(t *testing.T, authority *lab.Authority, host string) lab.Pair {
	t.Helper()
	pair, err := authority.IssueServer(host)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// expectBackends waits until the answers come from exactly these backends.
func expectBackends(t *testing.T, ask func() (lab.Answer, error), want ...string) {
	t.Helper()
	slices.Sort(want)
	lab.Eventually(t, noticeTimeout, func() error {
		names := map[string]bool{}
		for range askedOften {
			answer, err := ask()
			if err != nil {
				return err
			}
			if answer.Status != 200 {
				return fmt.Errorf("answered %s", answer)
			}
			names[answer.Body] = true
		}
		if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
			return fmt.Errorf("answers come from %v, want %v", got, want)
		}
		return nil
	})
}

// expectStatus waits until a request is answered with a status.
func expectStatus(t *testing.T, ask func() (lab.Answer, error), want int) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		answer, err := ask()
		if err == nil && answer.Status != want {
			err = fmt.Errorf("answered %s, want status %d", answer, want)
		}
		return err
	})
}

// httpTo is plain requests to a fixed place, for the functions above.
func httpTo(address, host, path string) func() (lab.Answer, error) {
	return func() (lab.Answer, error) { return lab.Get(address, host, path) }
}

// httpsTo is the same over TLS.
func httpsTo(address, host, path string, authority *lab.Authority) func() (lab.Answer, error) {
	return func() (lab.Answer, error) { return lab.GetTLS(address, host, path, authority) }
}

// expectServiceAddress waits for the address in the status of a Service.
func (e *edge) expectServiceAddress(t *testing.T, namespace, name string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		service, err := plane.Client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return e.isMine(service.Status.LoadBalancer)
	})
	t.Logf("status set on Service %s/%s: %s", namespace, name, e.address)
}

func (e *edge) isMine(status corev1.LoadBalancerStatus) error {
	if len(status.Ingress) != 1 || status.Ingress[0].IP != e.address {
		return fmt.Errorf("status.loadBalancer.ingress is %+v, want %s", status.Ingress, e.address)
	}
	return nil
}

// expectIngressAddress waits for the address in the status of an Ingress.
func (e *edge) expectIngressAddress(t *testing.T, namespace, name string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		ingress, err := plane.Client.NetworkingV1().Ingresses(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := ingress.Status.LoadBalancer.Ingress; len(got) != 1 || got[0].IP != e.address {
			return fmt.Errorf("status.loadBalancer.ingress is %+v, want %s", got, e.address)
		}
		return nil
	})
	t.Logf("status set on Ingress %s/%s: %s", namespace, name, e.address)
}

// expectIngress waits until an Ingress answers a request with a backend's name.
func expectIngress(t *testing.T, url string, ask func() (lab.Answer, error), want string) {
	t.Helper()
	expectBackends(t, ask, want)
	t.Logf("Ingress answered %s with body %q", url, want)
}

// expectProblem waits until /api/v1/problems names an object.
func (e *edge) expectProblem(t *testing.T, object string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		problems, err := e.APIText("/api/v1/problems")
		if err == nil && !strings.Contains(problems, object) {
			err = fmt.Errorf("nothing about %s in /api/v1/problems: %s", object, problems)
		}
		return err
	})
}
