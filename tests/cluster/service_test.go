package cluster

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

// webLoadBalancer is the Service web with sluice in front; HTTP and raw TCP.
const webLoadBalancer = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: echo, port: 90, targetPort: echo}
`

func TestServiceOfOurClassIsServed(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	e := startEdge(t, "pod")

	expectBackends(t, httpTo(e.address+":80", "any.example.test", "/"), first.Name, second.Name)
	e.expectServiceAddress(t, namespace, "web")

	conversation, err := lab.DialEcho(e.address + ":90")
	if err != nil {
		t.Fatal(err)
	}
	defer conversation.Close()
	if err := conversation.Echo("over raw TCP"); err != nil {
		t.Error(err)
	}
	t.Logf("Service answered on %s:80 and :90 (raw, by %q)", e.address, conversation.Greeting)

	if sum, err := e.Metrics("sluice_listener_connections_total", nil); err != nil || sum < askedOften {
		t.Errorf("sluice_listener_connections_total: %v, %v; want at least %d", sum, err, askedOften)
	}
	lab.Eventually(t, noticeTimeout, func() error {
		up, err := e.Metrics("sluice_backend_up", nil)
		if err == nil && up != 4 {
			err = fmt.Errorf("sluice_backend_up adds up to %v, want 2 pods for each of 2 ports", up)
		}
		return err
	})
}

func TestServiceOfAnotherClassIsLeftAlone(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	plane.Apply(t, namespace, `
apiVersion: v1
kind: Service
metadata: {name: foreign}
spec:
  type: LoadBalancer
  loadBalancerClass: example.test/other
  selector: {app: web}
  ports: [{name: http, port: 81, targetPort: http}]
`)
	e := startEdge(t, "pod")
	// Once ours is served, theirs would have been too.
	expectBackends(t, httpTo(e.address+":80", "any.example.test", "/"), first.Name, second.Name)
	e.expectServiceAddress(t, namespace, "web")
	if answer, err := lab.Get(e.address+":81", "any.example.test", "/"); err == nil {
		t.Errorf("a Service of another class answers: %s", answer)
	}
	foreign, err := plane.Client.CoreV1().Services(namespace).Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if status := foreign.Status.LoadBalancer.Ingress; len(status) > 0 {
		t.Errorf("a Service of another class got a status: %+v", status)
	}
}

func TestServiceWithExposeIsServed(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	e := startEdge(t, "pod")
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, strings.Replace(webService, "{name: web}", `{name: web, annotations: {sluice.dev/expose: "9000"}}`, 1))
	expectBackends(t, httpTo(e.address+":9000", "any.example.test", "/"), first.Name, second.Name)
	t.Logf("Service with sluice.dev/expose answered on %s:9000", e.address)
}

func TestEndpointsComeAndGo(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	e := startEdge(t, "pod")
	ask := httpTo(e.address+":80", "any.example.test", "/")
	expectBackends(t, ask, first.Name, second.Name)

	t.Log("readiness lost, and found again")
	second.SetReady(t, false)
	expectBackends(t, ask, first.Name)
	second.SetReady(t, true)
	expectBackends(t, ask, first.Name, second.Name)

	t.Log("one added")
	third := plane.RunPod(t, namespace, "third", "web", 3)
	expectBackends(t, ask, first.Name, second.Name, third.Name)

	t.Log("terminating: no new requests, but what is open stays open")
	open := conversationWith(t, e.address+":90", third.Name)
	third.Terminate(t)
	expectBackends(t, ask, first.Name, second.Name)
	if err := open.Echo("still here"); err != nil {
		t.Errorf("a connection to a terminating pod was cut: %v", err)
	}

	t.Log("removed")
	third.Remove(t)
	second.Remove(t)
	expectBackends(t, ask, first.Name)

	t.Log("all terminating: those that still serve are better than none")
	first.Terminate(t)
	expectEndpoints(t, namespace, "web", map[string]endpoint{
		first.Address: {node: "node-1", serving: true, terminating: true},
	})
	expectBackends(t, ask, first.Name)
}

// conversationWith dials an echo until a certain backend greets.
func conversationWith(t *testing.T, address, backend string) (open *lab.Conversation) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		conversation, err := lab.DialEcho(address)
		if err != nil {
			return err
		}
		if conversation.Greeting != backend {
			conversation.Close()
			return fmt.Errorf("greeted by %s, not %s", conversation.Greeting, backend)
		}
		open = conversation
		return nil
	})
	t.Cleanup(open.Close)
	return open
}

func TestNodePortReachDialsNodes(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	service, err := plane.Client.CoreV1().Services(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// There is no kube-proxy: each node's port is served by one that answers
	// with the node's name. An answer with a pod's name went the wrong way.
	for number := 1; number <= lab.Nodes; number++ {
		lab.ServeHTTP(t, fmt.Sprintf("%s:%d", lab.NodeAddress(number), service.Spec.Ports[0].NodePort), lab.NodeName(number))
	}
	e := startEdge(t, "nodeport")
	lab.Eventually(t, noticeTimeout, func() error {
		for range askedOften {
			answer, err := lab.Get(e.address+":80", "any.example.test", "/")
			if err != nil {
				return err
			}
			if !strings.HasPrefix(answer.Body, "node-") {
				return fmt.Errorf("answered %s, want a node", answer)
			}
		}
		return nil
	})
	t.Logf("Service answered through node ports on %s:80", e.address)
	e.expectServiceAddress(t, namespace, "web")
}
