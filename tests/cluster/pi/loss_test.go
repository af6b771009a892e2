package pi

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

// The same pods in three ways: by pod, by node ports of the whole cluster, and
// by node ports that lead to pods of their own node alone.
const lossEdge = `
apiVersion: v1
kind: Service
metadata: {name: local}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: pod, annotations: {sluice.dev/reach: pod}}
spec:
  ingressClassName: sluice
  rules:
  - host: pod.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: node}
spec:
  ingressClassName: sluice
  rules:
  - host: cluster.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
  - host: local.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: local, port: {name: http}}}}]}
`

const (
	lossRate     = 60 // requests a second, of each way
	lossPatience = 10 * time.Second
	// lossSlow is more than any answer takes on a busy machine, and less than
	// the second after which a connect that nobody answers is given up.
	lossSlow = 900 * time.Millisecond
	// lossNoticed is when nothing new may go to the lost node any more.
	lossNoticed = 3 * time.Second
)

// TestNodeLossIsNoticedByTheEdge pulls the cable of a node under load. The API
// goes on saying that the node and its pod are ready. Beside it Debian's haproxy
// goes through the same.
func TestNodeLossIsNoticedByTheEdge(t *testing.T) {
	lab.RequireSluice(t)
	lab.RequireHAProxy(t)
	namespace := home.Plane.Namespace(t)
	runWeb(t, namespace, len(home.Nodes))
	pods := readyPods(t, namespace, len(home.Nodes))
	home.Plane.Apply(t, namespace, lossEdge)
	cluster, local := nodePort(readService(t, namespace, "web")), nodePort(readService(t, namespace, "local"))
	startSluice(t, home.Edge, lab.HomeEdge, "nodeport")
	home.Edge.RunHAProxy(t, haproxyFor("pod", 8081, podAddresses(pods))+
		haproxyFor("local", 8082, nodeAddresses(local))+haproxyFor("cluster", 8083, nodeAddresses(cluster)))
	for _, port := range []int{80, 8081, 8082, 8083} {
		home.Forward(t, "tcp", port, lab.HomeEdge, port)
	}

	var ways []*way
	for _, reach := range []string{"pod", "local", "cluster"} {
		ways = append(ways, &way{proxy: "sluice", reach: reach, address: lab.HomePublic + ":80"})
	}
	for number, reach := range []string{"pod", "local", "cluster"} {
		ways = append(ways, &way{proxy: "haproxy", reach: reach, address: fmt.Sprintf("%s:%d", lab.HomePublic, 8081+number)})
	}
	for _, one := range ways {
		expectAnswers(t, func() (string, error) { return body(home.Client.Get(one.address, one.host(), "/")) }, names(pods))
	}
	for _, one := range ways {
		one.load = home.Client.Load(t, lossRate, one.address, one.host(), "/", lossPatience)
	}
	waitForRequests(t, ways[0].load, 2*lossRate)

	lost := home.Nodes[1]
	cut := time.Now()
	lost.CutOff(t)
	waitForRequests(t, ways[0].load, 20*lossRate) // the time that haproxy takes too
	var judged sync.WaitGroup                     // all end at once
	for _, one := range ways {
		judged.Go(func() { one.judge(one.load.Stop(), cut) })
	}
	judged.Wait()
	lost.Connect(t)
	expectStillReady(t, lost, pods)
	t.Logf("%s was cut off 2 s after the start:\n%s", lost.Name, table(ways))
	for _, one := range ways {
		// What kube-proxy forwards to a pod that it believes to be there is
		// kube-proxy's, and haproxy is there to be compared with.
		if one.proxy != "sluice" || one.reach == "cluster" {
			continue
		}
		if one.failed > 0 {
			t.Errorf("by %s %d requests failed, first: %v", one.reach, one.failed, one.first)
		}
		if one.noticed > lossNoticed {
			t.Errorf("by %s a request that began %v after the cut went to the lost node; want none after %v", one.reach, one.noticed, lossNoticed)
		}
	}
}

func nodePort(service *corev1.Service) int { return int(service.Spec.Ports[0].NodePort) }

func names(pods map[string]corev1.Pod) (all []string) {
	for name := range pods {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func podAddresses(pods map[string]corev1.Pod) (all []string) {
	for _, pod := range pods {
		all = append(all, pod.Status.PodIP+":8080")
	}
	return all
}

func nodeAddresses(port int) (all []string) {
	for _, node := range home.Nodes {
		all = append(all, fmt.Sprintf("%s:%d", node.Address(), port))
	}
	return all
}

// haproxyFor is a port of haproxy with these servers behind it.
func haproxyFor(name string, port int, servers []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "listen %s\n\tbind %s:%d\n", name, lab.HomeEdge, port)
	for number, server := range servers {
		fmt.Fprintf(&text, "\tserver s%d %s check\n", number, server)
	}
	return text.String()
}

// way is one of the ways that are compared, and what became of its requests.
type way struct {
	proxy, reach, address string
	load                  *lab.Load

	sent, failed, slow int
	worst, noticed     time.Duration
	first              error
}

func (w *way) host() string { return w.reach + ".example.test" }

// judge counts what became of the samples.
func (w *way) judge(samples []lab.Sample, cut time.Time) {
	for _, one := range samples {
		w.sent++
		w.worst = max(w.worst, one.Took)
		if one.Err != nil {
			w.failed++
			if w.first == nil {
				w.first = one.Err
			}
		}
		if one.Took >= lossSlow || one.Err != nil {
			w.slow++
			w.noticed = max(w.noticed, one.At.Sub(cut))
		}
	}
}

func table(ways []*way) string {
	var text strings.Builder
	fmt.Fprintf(&text, "| proxy | by | requests | failed | slow (%v) | the last slow one began after | the slowest |\n|---|---|---|---|---|---|---|\n", lossSlow)
	for _, w := range ways {
		fmt.Fprintf(&text, "| %s | %s | %d | %d | %d | %.1f s | %.1f s |\n", w.proxy, w.reach, w.sent, w.failed, w.slow,
			w.noticed.Seconds(), w.worst.Seconds())
	}
	return text.String()
}

// expectStillReady shows that nobody told the API.
func expectStillReady(t *testing.T, node *lab.Node, pods map[string]corev1.Pod) {
	t.Helper()
	object, err := home.Plane.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
	if err != nil || object.Status.Conditions[0].Status != corev1.ConditionTrue {
		t.Errorf("node %s: %v, %+v, want ready", node.Name, err, object.Status.Conditions)
	}
	for name, pod := range pods {
		now, err := home.Plane.Client.CoreV1().Pods(pod.Namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || !isReady(now) {
			t.Errorf("pod %s: %v, not ready any more", name, err)
		}
	}
}

// waitForRequests waits until so many more requests have been answered.
func waitForRequests(t *testing.T, load *lab.Load, more int) {
	t.Helper()
	until := load.Done() + more
	lab.Eventually(t, time.Minute, func() error {
		if done := load.Done(); done < until {
			return fmt.Errorf("%d of %d requests done", done, until)
		}
		return nil
	})
}
