package pi

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"sluice.test/cluster/lab"
)

// rolling is how much goes on meanwhile: requests a second, and connections that
// never end by themselves, upgraded ones and of raw TCP.
func rolling() (rate, tunnels, raw int) {
	if os.Getenv("LAB_HEAVY") != "" {
		return 1000, 200, 20
	}
	return 200, 20, 20
}

// rollingEdge is an Ingress and a Service of raw TCP.
const rollingEdge = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: sluice
  rules:
  - host: web.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: raw}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  selector: {app: web}
  ports: [{name: echo, port: 2200, targetPort: echo}]
`

// TestRollingReplacementCostsNothing restarts a Deployment as kubectl does,
// under load. Its pods end as well-made ones do: a pause, then no new
// connections, then SIGKILL. Whoever asks gets an answer, and who holds a
// connection keeps it until its pod is killed.
func TestRollingReplacementCostsNothing(t *testing.T) {
	lab.RequireSluice(t)
	for _, reach := range []string{"pod", "nodeport"} {
		t.Run(reach, func(t *testing.T) { replaceUnderLoad(t, reach) })
	}
}

func replaceUnderLoad(t *testing.T, reach string) {
	rate, tunnels, raws := rolling()
	namespace := home.Plane.Namespace(t)
	before := runWeb(t, namespace, len(home.Nodes))
	home.Plane.Apply(t, namespace, rollingEdge)
	startSluice(t, home.Edge, lab.HomeEdge, reach)
	home.Forward(t, "tcp", 80, lab.HomeEdge, 80)
	home.Forward(t, "tcp", 2200, lab.HomeEdge, 2200)
	const web, raw, host = lab.HomePublic + ":80", lab.HomePublic + ":2200", "web.example.test"
	ask := func() (string, error) { return body(home.Client.Get(web, host, "/")) }
	expectAnswers(t, ask, before)

	talks := &talks{stop: make(chan struct{})}
	t.Cleanup(talks.end)
	for range tunnels {
		talks.keep(func() (*lab.Conversation, error) { return home.Client.DialUpgrade(web, host) })
	}
	for range raws {
		talks.keep(func() (*lab.Conversation, error) { return home.Client.DialEcho(raw) })
	}
	load := home.Client.Load(t, rate, web, host, "/", 5*time.Second)
	waitForRequests(t, load, 2*rate)

	start := time.Now()
	restart := fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"restarted": %q}}}}}`, start)
	if _, err := home.Plane.Client.AppsV1().Deployments(namespace).Patch(
		t.Context(), "web", types.StrategicMergePatchType, []byte(restart), metav1.PatchOptions{},
	); err != nil {
		t.Fatal(err)
	}
	after := replaced(t, namespace, before)
	took := time.Since(start)
	expectAnswers(t, ask, after)
	waitForRequests(t, load, 2*rate)

	samples := load.Stop()
	talks.end()
	failed := lab.Failures(samples)
	t.Logf("%d pods replaced in %v: of %d requests at %d/s %d failed; %d long connections were opened, %d were cut with their pods, %d before",
		len(before), took.Round(time.Millisecond), len(samples), rate, len(failed), talks.opened, len(talks.cuts), len(talks.early()))
	for _, one := range failed[:min(5, len(failed))] {
		t.Errorf("failed %v after the start, after %v: %v", one.At.Sub(start), one.Took, one.Err)
	}
	for _, one := range talks.early() {
		t.Errorf("a connection was cut %v after the start, its pod %s not being killed yet: %v", one.at.Sub(start), one.pod, one.err)
	}
	for _, err := range talks.refused {
		t.Errorf("a long connection could not be opened: %v", err)
	}
	// Each of the pods had some, so the replacement must have cut as many as there are.
	if len(talks.cuts) < tunnels+raws {
		t.Errorf("%d of %d connections were cut by the end of all pods", len(talks.cuts), tunnels+raws)
	}
}

// replaced waits until none of the pods is left and as many others are ready.
func replaced(t *testing.T, namespace string, before []string) []string {
	t.Helper()
	old := map[string]bool{}
	for _, name := range before {
		old[name] = true
	}
	lab.Eventually(t, 2*time.Minute, func() error {
		list, err := home.Plane.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range list.Items {
			if old[pod.Name] {
				return fmt.Errorf("pod %s is still there", pod.Name)
			}
		}
		return nil
	})
	return names(readyPods(t, namespace, len(before)))
}

// talks are conversations that go on and on; one that is cut is opened anew.
type talks struct {
	stop chan struct{}
	all  sync.WaitGroup

	mutex   sync.Mutex
	opened  int
	cuts    []cut
	refused []error
}

// cut is the end of a conversation that we did not end.
type cut struct {
	pod string
	at  time.Time
	err error
}

func (k *talks) keep(open func() (*lab.Conversation, error)) {
	k.all.Go(func() {
		for !k.ended() {
			talk, err := open()
			k.mutex.Lock()
			if err == nil {
				k.opened++
			} else {
				k.refused = append(k.refused, err)
			}
			k.mutex.Unlock()
			if err != nil {
				return
			}
			if err := k.talk(talk); err != nil {
				k.mutex.Lock()
				k.cuts = append(k.cuts, cut{talk.Greeting, time.Now(), err})
				k.mutex.Unlock()
			}
			talk.Close()
		}
	})
}

// talk says a line again and again, until it is cut or all is over.
func (k *talks) talk(talk *lab.Conversation) error {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-k.stop:
			return nil
		case <-every.C:
			if err := talk.Echo("still there"); err != nil {
				return err
			}
		}
	}
}

func (k *talks) ended() bool {
	select {
	case <-k.stop:
		return true
	default:
		return false
	}
}

func (k *talks) end() {
	if !k.ended() {
		close(k.stop)
	}
	k.all.Wait()
}

// early are the cuts whose pod was not at its end.
func (k *talks) early() (early []cut) {
	for _, one := range k.cuts {
		if killed, ok := home.Killed(one.pod); !ok || one.at.Before(killed) {
			early = append(early, one)
		}
	}
	return early
}
