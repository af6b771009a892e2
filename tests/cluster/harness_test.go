package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"sluice.test/cluster/lab"
)

// The stories of this file need no sluice: they show that the lab is a cluster.

// controllerTimeout is how long the real controllers may take to see a change.
const controllerTimeout = 30 * time.Second

const webService = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
`

func TestHarnessPodsBecomeEndpoints(t *testing.T) {
	namespace := plane.Namespace(t)
	plane.Apply(t, namespace, webService)
	first := plane.RunPod(t, namespace, "first", "web", 1)
	second := plane.RunPod(t, namespace, "second", "web", 2)

	ready := endpoint{node: "node-1", ready: true, serving: true}
	expectEndpoints(t, namespace, "web", map[string]endpoint{
		first.Address:  ready,
		second.Address: {node: "node-2", ready: true, serving: true},
	})

	for _, pod := range []*lab.Pod{first, second} {
		answer, err := lab.Get(fmt.Sprintf("%s:%d", pod.Address, lab.PodHTTPPort), "web", "/")
		if err != nil || answer.Body != pod.Name {
			t.Errorf("pod %s answered %v, %v", pod.Name, answer, err)
		}
		conversation, err := lab.DialEcho(fmt.Sprintf("%s:%d", pod.Address, lab.PodEchoPort))
		if err != nil {
			t.Fatal(err)
		}
		if err := conversation.Echo("hello"); err != nil || conversation.Greeting != pod.Name {
			t.Errorf("echo of %s: greeted by %q, %v", pod.Name, conversation.Greeting, err)
		}
		conversation.Close()
	}

	second.SetReady(t, false)
	expectEndpoints(t, namespace, "web", map[string]endpoint{
		first.Address: ready, second.Address: {node: "node-2"},
	})
	second.SetReady(t, true)
	second.Terminate(t)
	expectEndpoints(t, namespace, "web", map[string]endpoint{
		first.Address: ready, second.Address: {node: "node-2", serving: true, terminating: true},
	})
	second.Remove(t)
	expectEndpoints(t, namespace, "web", map[string]endpoint{first.Address: ready})

	plane.Delete(t, namespace, webService)
	lab.Eventually(t, controllerTimeout, func() error {
		slices, err := plane.Client.DiscoveryV1().EndpointSlices(namespace).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(slices.Items) > 0 {
			err = fmt.Errorf("%d EndpointSlices outlive their Service", len(slices.Items))
		}
		return err
	})
}

func TestHarnessAPIServerComesBack(t *testing.T) {
	namespace := plane.Namespace(t)
	plane.Apply(t, namespace, webService)
	first := plane.RunPod(t, namespace, "first", "web", 3)
	ready := endpoint{node: "node-3", ready: true, serving: true}
	expectEndpoints(t, namespace, "web", map[string]endpoint{first.Address: ready})

	plane.StopAPI(t)
	if _, err := readEndpoints(t.Context(), namespace, "web"); err == nil {
		t.Error("a killed API server answered")
	}
	if err := plane.StartAPI(); err != nil {
		t.Fatal(err)
	}
	// What was stored is still there, and the controllers are at work again.
	expectEndpoints(t, namespace, "web", map[string]endpoint{first.Address: ready})
	second := plane.RunPod(t, namespace, "second", "web", 3)
	expectEndpoints(t, namespace, "web", map[string]endpoint{first.Address: ready, second.Address: ready})
}

func TestHarnessRightsAreThoseOfTheManifest(t *testing.T) {
	namespace := plane.Namespace(t)
	plane.Apply(t, namespace, webService)
	config, err := clientcmd.BuildConfigFromFlags("", plane.Grant(t, lab.SluiceRights()))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// The roles reach the authorizer through a watch, hence eventually.
	lab.Eventually(t, 10*time.Second, func() error {
		_, err := client.CoreV1().Services(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
		return err
	})
	if err := client.CoreV1().Services(namespace).Delete(t.Context(), "web", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("to delete a Service should be forbidden, got: %v", err)
	}
	if _, err := client.CoreV1().ConfigMaps(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("to list ConfigMaps should be forbidden, got: %v", err)
	}
}

func TestHarnessDefaultIngressClassIsFilledIn(t *testing.T) {
	namespace := plane.Namespace(t)
	const class = `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: lab-default
  annotations: {ingressclass.kubernetes.io/is-default-class: "true"}
spec: {controller: lab/none}
`
	plane.Apply(t, "", class)
	t.Cleanup(func() { plane.Delete(t, "", class) })
	// The admission plugin hears of the class through a watch, so a new Ingress
	// is tried until one has it.
	tries := 0
	lab.Eventually(t, 10*time.Second, func() error {
		tries++
		name := fmt.Sprintf("plain-%d", tries)
		plane.Apply(t, namespace, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %s}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
`, name))
		made, err := plane.Client.NetworkingV1().Ingresses(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if class := made.Spec.IngressClassName; class == nil || *class != "lab-default" {
			return fmt.Errorf("the class of a new Ingress is %v", class)
		}
		return nil
	})
}

// endpoint is what an EndpointSlice says of one address.
type endpoint struct {
	node                        string
	ready, serving, terminating bool
}

func expectEndpoints(t *testing.T, namespace, service string, want map[string]endpoint) {
	t.Helper()
	lab.Eventually(t, controllerTimeout, func() error {
		got, err := readEndpoints(t.Context(), namespace, service)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("endpoints of %s are %+v, want %+v", service, got, want)
		}
		return err
	})
}

// readEndpoints reads the endpoints of a Service by address.
func readEndpoints(ctx context.Context, namespace, service string) (map[string]endpoint, error) {
	list, err := plane.Client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + service,
	})
	if err != nil {
		return nil, err
	}
	found := map[string]endpoint{}
	for _, slice := range list.Items {
		if slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for _, one := range slice.Endpoints {
			found[one.Addresses[0]] = endpoint{
				node:        value(one.NodeName),
				ready:       value(one.Conditions.Ready),
				serving:     value(one.Conditions.Serving),
				terminating: value(one.Conditions.Terminating),
			}
		}
	}
	return found, nil
}

// value is what a pointer points to, or zero.
func value[T any](pointer *T) (v T) {
	if pointer != nil {
		v = *pointer
	}
	return v
}
