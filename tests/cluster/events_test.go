package cluster

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

// The stories of this file are of what the owners of objects read in their
// cluster: addresses in status, Events, and who writes them.

// takeover is longer than a Lease lasts after its holder's last word.
const takeover = 25 * time.Second

// onPort is a Service of our class with one port.
func onPort(name string, port int, annotations string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, annotations: {%s}}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  selector: {app: web}
  ports: [{name: http, port: %d, targetPort: http}]
`, name, annotations, port)
}

// eventsOf are the Events that kubectl describe shows of an object: it asks by
// kind, name and UID.
func eventsOf(t *testing.T, namespace, kind, name, uid string) ([]eventsv1.Event, error) {
	t.Helper()
	list, err := plane.Client.EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{
		FieldSelector: fmt.Sprintf("regarding.kind=%s,regarding.name=%s", kind, name),
	})
	if err != nil {
		return nil, err
	}
	var found []eventsv1.Event
	for _, event := range list.Items {
		if string(event.Regarding.UID) == uid {
			found = append(found, event)
		}
	}
	return found, nil
}

// expectEvent waits for an Event of a type and reason whose note has a part.
func expectEvent(t *testing.T, namespace, kind, name, kindOfEvent, reason, part string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		uid, err := uidOf(t, namespace, kind, name)
		if err != nil {
			return err
		}
		events, err := eventsOf(t, namespace, kind, name, uid)
		if err != nil {
			return err
		}
		var have []string
		for _, event := range events {
			if event.Type == kindOfEvent && event.Reason == reason && strings.Contains(event.Note, part) {
				return nil
			}
			have = append(have, fmt.Sprintf("%s %s: %s", event.Type, event.Reason, event.Note))
		}
		return fmt.Errorf("%s %s has no Event %s %s with %q, but %q", kind, name, kindOfEvent, reason, part, have)
	})
}

func uidOf(t *testing.T, namespace, kind, name string) (string, error) {
	t.Helper()
	if kind == "Ingress" {
		ingress, err := plane.Client.NetworkingV1().Ingresses(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return string(ingress.UID), nil
	}
	service, err := plane.Client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	return string(service.UID), nil
}

func TestOwnersReadInEventsWhatIsWrong(t *testing.T) {
	lab.RequireSluice(t)
	namespace, other := plane.Namespace(t), plane.Namespace(t)
	if other < namespace {
		// Of objects of one second the name decides.
		namespace, other = other, namespace
	}
	webPods(t, namespace)
	servePod(t, namespace, "site")
	e := startEdge(t, "pod")

	t.Log("an address is given; the younger of two on one port gets none")
	plane.Apply(t, namespace, onPort("first", 80, ""))
	e.expectServiceAddress(t, namespace, "first")
	expectEvent(t, namespace, "Service", "first", "Normal", "AddressAssigned", e.address)
	plane.Apply(t, namespace, onPort("second", 80, ""))
	expectEvent(t, namespace, "Service", "second", "Warning", "AddressTaken", "is taken by service/"+namespace+"/first")

	t.Log("a wrong value says what would be right, and costs the address")
	plane.Apply(t, namespace, onPort("first", 80, `sluice.dev/balance: fairest`))
	expectEvent(t, namespace, "Service", "first", "Warning", "Invalid", "least-connections")
	expectNoAddress(t, namespace, "first")
	e.expectServiceAddress(t, namespace, "second")
	plane.Apply(t, namespace, onPort("first", 81, ""))
	e.expectServiceAddress(t, namespace, "first")

	t.Log("a host of another namespace, a Service and a Secret that are not there")
	const host = "events.example.test"
	plane.Apply(t, namespace, oneHost("mine", host, "/", "site"))
	e.expectIngressAddress(t, namespace, "mine")
	plane.Apply(t, other, oneHost("theirs", host, "/", "site"))
	expectEvent(t, other, "Ingress", "theirs", "Warning", "HostTaken", "belongs to namespace "+namespace)
	plane.Apply(t, namespace, oneHost("to-nowhere", "nowhere.example.test", "/", "no-such-service"))
	expectEvent(t, namespace, "Ingress", "to-nowhere", "Warning", "Missing", "no-such-service does not exist")
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: keyless}
spec:
  ingressClassName: sluice
  tls: [{hosts: [keyless.example.test], secretName: keyless-tls}]
  rules:
  - host: keyless.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	expectEvent(t, namespace, "Ingress", "keyless", "Warning", "CertificateUnusable", "keyless-tls")
	lab.Eventually(t, noticeTimeout, func() error {
		taken, err := e.Metrics("sluice_problems", map[string]string{"cause": "host-taken"})
		if err == nil && taken != 1 {
			err = fmt.Errorf("sluice_problems of hosts that are taken: %v, want 1", taken)
		}
		return err
	})
}

func expectNoAddress(t *testing.T, namespace, name string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		service, err := plane.Client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && len(service.Status.LoadBalancer.Ingress) > 0 {
			err = fmt.Errorf("%s still shows %+v", name, service.Status.LoadBalancer.Ingress)
		}
		return err
	})
}

func TestAnAddressThatIsNotOfTheHostIsToldOnTheService(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	plane.Apply(t, "", ingressClass)
	admin, door := lab.AdminAddress(), lab.EdgeAddress()
	lab.RunSluice(t, fmt.Sprintf(`
process: {admin: %q, workers: 1, drain: 5s}
clusters:
  home:
    kubeconfig: %s
    reach: pod
    services: {addresses: [203.0.113.77]}
    ingress: {http: "%s:8080", https: "%s:8443"}
`, admin, plane.Grant(t, lab.SluiceRights()), door, door)).ExpectReady(t)
	plane.Apply(t, namespace, onPort("web", 80, ""))
	expectEvent(t, namespace, "Service", "web", "Warning", "AddressUnusable", "203.0.113.77:80 is not an address of this host")
}

// written is the version of each object that sluice writes to or makes: a write
// that changes nothing leaves it, all others do not.
func written(t *testing.T, namespace string) map[string]string {
	t.Helper()
	found := map[string]string{}
	keep := func(kind, name, version string) { found[kind+"/"+name] = version }
	services, err := plane.Client.CoreV1().Services(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range services.Items {
		keep("Service", one.Name, one.ResourceVersion)
	}
	ingresses, err := plane.Client.NetworkingV1().Ingresses(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range ingresses.Items {
		keep("Ingress", one.Name, one.ResourceVersion)
	}
	events, err := plane.Client.EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range events.Items {
		if one.ReportingController == "sluice.dev/edge" {
			keep("Event", one.Name, one.ResourceVersion)
		}
	}
	return found
}

func TestOneOfTwoWritesAndNothingIsWrittenTwice(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	webPods(t, namespace)
	servePod(t, namespace, "site")
	first := startEdge(t, "pod")
	plane.Apply(t, namespace, onPort("web", 80, ""))
	plane.Apply(t, namespace, onPort("wrong", 81, `sluice.dev/balance: fairest`))
	plane.Apply(t, namespace, oneHost("site", "writer.example.test", "/", "site"))
	first.expectServiceAddress(t, namespace, "web")
	first.expectIngressAddress(t, namespace, "site")
	expectEvent(t, namespace, "Service", "wrong", "Warning", "Invalid", "least-connections")

	// The second hands out another address. It serves, and holds its tongue.
	second := startEdge(t, "pod")
	expectIngress(t, "the second sluice", httpTo(second.http, "writer.example.test", "/"), "site")
	before := written(t, namespace)
	deadline := time.Now().Add(20 * time.Second)
	lab.Eventually(t, takeover, func() error {
		if now := written(t, namespace); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Fatalf("something was written although nothing changed:\n%v\n%v", before, now)
		}
		if time.Now().Before(deadline) {
			return fmt.Errorf("still watching")
		}
		return nil
	})

	t.Log("the holder stops in an orderly way: the other writes at once")
	first.Stop(t)
	second.expectServiceAddress(t, namespace, "web")
	second.expectIngressAddress(t, namespace, "site")
	lease, err := plane.Client.CoordinationV1().Leases("kube-system").Get(t.Context(), "sluice", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("lease: held by %s, %d transitions", value(lease.Spec.HolderIdentity), value(lease.Spec.LeaseTransitions))
	// What the first had said of a problem is not said anew.
	uid, err := uidOf(t, namespace, "Service", "wrong")
	if err != nil {
		t.Fatal(err)
	}
	events, err := eventsOf(t, namespace, "Service", "wrong", uid)
	if err != nil || len(events) != 1 || events[0].Series != nil {
		t.Errorf("Events of the wrong Service: %+v, %v; want the one of before", events, err)
	}
}

func TestHTTP01SolverIsServedBeforeTheRedirect(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	servePod(t, namespace, "site")
	servePod(t, namespace, "cm-acme-http-solver-x7")
	const host = "solver.example.test"
	authority := newAuthority(t)
	plane.Apply(t, namespace, tlsSecret("solver-tls", issue(t, authority, host)))
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site, annotations: {cert-manager.io/cluster-issuer: letsencrypt}}
spec:
  ingressClassName: sluice
  tls: [{hosts: [solver.example.test], secretName: solver-tls}]
  rules:
  - host: solver.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	e := startEdge(t, "pod")
	expectIngress(t, "https://"+host+"/", httpsTo(e.https, host, "/", authority), "site")
	expectStatus(t, httpTo(e.http, host, "/.well-known/acme-challenge/token"), 308)
	// As cert-manager writes it, and takes it away when it is done.
	const solver = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: cm-acme-http-solver-x7
  annotations: {nginx.ingress.kubernetes.io/whitelist-source-range: "0.0.0.0/0,::/0"}
  labels: {acme.cert-manager.io/http01-solver: "true"}
spec:
  ingressClassName: sluice
  rules:
  - host: solver.example.test
    http:
      paths:
      - path: /.well-known/acme-challenge/token
        pathType: ImplementationSpecific
        backend: {service: {name: cm-acme-http-solver-x7, port: {number: 80}}}
`
	plane.Apply(t, namespace, solver)
	proof := "/.well-known/acme-challenge/token"
	expectIngress(t, "http://"+host+proof, httpTo(e.http, host, proof), "cm-acme-http-solver-x7")
	expectStatus(t, httpTo(e.http, host, "/"), 308)
	plane.Delete(t, namespace, solver)
	expectStatus(t, httpTo(e.http, host, proof), 308)
}

func TestRotatedSecretsCostNoHandshake(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	servePod(t, namespace, "site")
	const host = "rotated.example.test"
	authority := newAuthority(t)
	plane.Apply(t, namespace, tlsSecret("rotated-tls", issue(t, authority, host)))
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: rotated}
spec:
  ingressClassName: sluice
  tls: [{hosts: [rotated.example.test], secretName: rotated-tls}]
  rules:
  - host: rotated.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	e := startEdge(t, "pod")
	expectIngress(t, "https://"+host+"/", httpsTo(e.https, host, "/", authority), "site")

	// Each request has a connection and a handshake of its own.
	const clients = 4
	stop, results := make(chan struct{}), make(chan error, clients)
	var sent atomic.Int64
	for range clients {
		go func() {
			for {
				select {
				case <-stop:
					results <- nil
					return
				default:
				}
				answer, err := lab.GetTLS(e.https, host, "/", authority)
				if err == nil && answer.Body != "site" {
					err = fmt.Errorf("answered %s", answer)
				}
				if err != nil {
					results <- fmt.Errorf("after %d requests: %w", sent.Load(), err)
					return
				}
				sent.Add(1)
			}
		}()
	}
	const rotations = 10
	for range rotations {
		next := issue(t, authority, host)
		plane.Apply(t, namespace, tlsSecret("rotated-tls", next))
		lab.Eventually(t, noticeTimeout, func() error {
			served, err := lab.Certificate(e.https, host)
			if err == nil && served.SerialNumber.Cmp(next.Serial) != 0 {
				err = fmt.Errorf("the old certificate is still served")
			}
			return err
		})
		// Some of them with the new one.
		enough := sent.Load() + 50
		lab.Eventually(t, noticeTimeout, func() error {
			if now := sent.Load(); now < enough {
				return fmt.Errorf("%d handshakes, want %d", now, enough)
			}
			return nil
		})
	}
	close(stop)
	for range clients {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d handshakes during %d rotations", sent.Load(), rotations)
}
