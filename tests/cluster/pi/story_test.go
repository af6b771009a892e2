package pi

import (
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

// What the stories share.

const (
	// noticeTimeout is how long a change may take from the API to the traffic:
	// controllers, kube-proxy and the start of pods included.
	noticeTimeout = 30 * time.Second
	// askedOften is enough requests to meet every backend of a few, even where
	// kube-proxy draws lots.
	askedOften = 60
	// client is who the backends shall see.
	client = lab.HomeClient
)

// deployment has pods that speak all that the lab's pods can; their end is that
// of a well-made one: a pause, in which the world hears of it, then SIGTERM.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: %d
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 4
      containers:
      - name: server
        image: none
        lifecycle: {preStop: {sleep: {seconds: 2}}}
        ports:
        - {name: http, containerPort: 8080}
        - {name: echo, containerPort: 9090}
        - {name: proxied, containerPort: 9091}
        - {name: udp, containerPort: 5300, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
`

// runWeb runs a Deployment behind the Service web, and waits until all pods
// are ready. It returns their names.
func runWeb(t *testing.T, namespace string, replicas int) []string {
	t.Helper()
	home.Plane.Apply(t, namespace, fmt.Sprintf(deployment, replicas))
	return slices.Sorted(maps.Keys(readyPods(t, namespace, replicas)))
}

// readyPods waits for so many ready pods and no other, and returns them by name.
func readyPods(t *testing.T, namespace string, count int) map[string]corev1.Pod {
	t.Helper()
	pods := map[string]corev1.Pod{}
	lab.Eventually(t, noticeTimeout, func() error {
		list, err := home.Plane.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		clear(pods)
		for _, pod := range list.Items {
			if isReady(&pod) && pod.DeletionTimestamp == nil {
				pods[pod.Name] = pod
			}
		}
		if len(list.Items) != count || len(pods) != count {
			return fmt.Errorf("%d of %d pods are ready, want %d", len(pods), len(list.Items), count)
		}
		return nil
	})
	return pods
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func readService(t *testing.T, namespace, name string) *corev1.Service {
	t.Helper()
	service, err := home.Plane.Client.CoreV1().Services(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service
}

// expectBackends waits until the answers come from exactly these pods.
func expectBackends(t *testing.T, ask func() (string, error), want ...string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		names := map[string]bool{}
		for range askedOften {
			name, err := ask()
			if err != nil {
				return err
			}
			names[name] = true
		}
		if got := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
			return fmt.Errorf("answers come from %v, want %v", got, want)
		}
		return nil
	})
}

// expectAnswers waits until all answers come from these pods; not from each:
// connections to node ports are used again, and kube-proxy has drawn the pod of
// each once and for all.
func expectAnswers(t *testing.T, ask func() (string, error), from []string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		for range askedOften {
			if name, err := ask(); err != nil || !slices.Contains(from, name) {
				return fmt.Errorf("answered by %q, %v, want one of %v", name, err, from)
			}
		}
		return nil
	})
}

// body is the name that a good answer bears.
func body(answer lab.Answer, err error) (string, error) {
	if err == nil && answer.Status != 200 {
		err = fmt.Errorf("answered %s", answer)
	}
	return answer.Body, err
}

// sluice is a sluice of a story, and where it listens for Services.
type sluice struct {
	*lab.Sluice
	address string
}

// startSluice runs one with the rights of the manifest in the router's place or
// beside it, with the ports 80 and 443 for Ingresses, and waits until it is
// ready. Status tells the router's public address.
func startSluice(t *testing.T, at *lab.Space, address, reach string) *sluice {
	t.Helper()
	home.Plane.Apply(t, "", `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: sluice}
spec: {controller: sluice.dev/ingress}
`)
	s := &sluice{address: address, Sluice: at.RunSluice(t, strings.NewReplacer(
		"KUBECONFIG", home.Plane.Grant(t, lab.SluiceRights()), "ADDRESS", address,
		"PUBLIC", lab.HomePublic, "REACH", reach,
	).Replace(`
process: {admin: "127.0.0.1:9650", workers: 2, drain: 5s}
clusters:
  home:
    kubeconfig: KUBECONFIG
    reach: REACH
    services: {class: sluice.dev/edge, addresses: [ADDRESS], publish: PUBLIC}
    ingress: {class: sluice, http: "ADDRESS:80", https: "ADDRESS:443", publish: PUBLIC}
`))}
	s.ExpectReady(t)
	return s
}
