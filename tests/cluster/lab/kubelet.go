package lab

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// kubelet stands for the scheduler and for the kubelets of all nodes: it gives
// each pod a node, runs it there, tells its status, and ends it as kubelets do:
// preStop, SIGTERM, the grace period, SIGKILL. It talks to the API from the
// switch, so a node without a cable goes on being told as it was.
type kubelet struct {
	home *Home
	stop context.CancelFunc
	done <-chan struct{} // when stopped
	runs sync.WaitGroup

	mutex  sync.Mutex
	pods   map[types.UID]*podRun
	places map[types.UID]*Node  // of all pods that have one
	ended  map[string]time.Time // by pod name: when its process was killed, or had ended
}

func startKubelet(h *Home) *kubelet {
	ctx, stop := context.WithCancel(context.Background())
	k := &kubelet{home: h, stop: stop, done: ctx.Done(), pods: map[types.UID]*podRun{},
		places: map[types.UID]*Node{}, ended: map[string]time.Time{}}
	factory := informers.NewSharedInformerFactory(h.Plane.Client, 0)
	pods := factory.Core().V1().Pods().Informer()
	_, _ = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { k.see(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { k.see(object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				k.forget(pod.UID)
			}
		},
	})
	factory.Start(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), pods.HasSynced)
	return k
}

// see takes up what the API says of a pod. It is called for one pod at a time.
func (k *kubelet) see(pod *corev1.Pod) {
	if pod.Spec.NodeName == "" {
		if pod.DeletionTimestamp == nil {
			k.bind(pod)
		}
		return
	}
	node := k.node(pod.Spec.NodeName)
	if node == nil {
		return
	}
	k.mutex.Lock()
	k.places[pod.UID] = node
	run := k.pods[pod.UID]
	if run == nil && pod.DeletionTimestamp == nil {
		run = &podRun{kubelet: k, node: node, pod: pod, asked: make(chan time.Duration, 1), gone: make(chan struct{})}
		k.pods[pod.UID] = run
		k.runs.Go(run.live)
	}
	k.mutex.Unlock()
	if pod.DeletionTimestamp == nil {
		return
	}
	if run == nil { // never ran
		k.remove(pod)
		return
	}
	select {
	case run.asked <- time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second:
	default: // told before
	}
}

// forget kills a pod that the API does not know any more.
func (k *kubelet) forget(pod types.UID) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	delete(k.places, pod)
	if run := k.pods[pod]; run != nil {
		close(run.gone)
		delete(k.pods, pod)
	}
}

// bind gives a pod the node with the fewest pods.
func (k *kubelet) bind(pod *corev1.Pod) {
	k.mutex.Lock()
	node := k.emptiest()
	k.places[pod.UID] = node
	k.mutex.Unlock()
	err := k.home.Plane.Client.CoreV1().Pods(pod.Namespace).Bind(context.Background(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
	}, metav1.CreateOptions{})
	// A pod that is gone meanwhile, or bound by an earlier call, needs nothing.
	late := apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
	if err != nil && !late {
		fmt.Fprintf(os.Stderr, "lab: pod %s/%s finds no node: %v\n", pod.Namespace, pod.Name, err)
	}
}

func (k *kubelet) emptiest() *Node {
	pods := map[*Node]int{}
	for _, node := range k.places {
		pods[node]++
	}
	return slices.MinFunc(k.home.Nodes, func(a, b *Node) int { return pods[a] - pods[b] })
}

func (k *kubelet) node(name string) *Node {
	for _, node := range k.home.Nodes {
		if node.Name == name {
			return node
		}
	}
	return nil
}

// remove says that nothing of a pod is left.
func (k *kubelet) remove(pod *corev1.Pod) {
	options := *metav1.NewDeleteOptions(0)
	options.Preconditions = metav1.NewUIDPreconditions(string(pod.UID))
	err := k.home.Plane.Client.CoreV1().Pods(pod.Namespace).Delete(context.Background(), pod.Name, options)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		fmt.Fprintf(os.Stderr, "lab: pod %s/%s cannot be removed: %v\n", pod.Namespace, pod.Name, err)
	}
}

// Killed tells when the process of a pod was killed, or found to have ended by
// itself.
func (h *Home) Killed(pod string) (at time.Time, ok bool) {
	h.kubelet.mutex.Lock()
	defer h.kubelet.mutex.Unlock()
	at, ok = h.kubelet.ended[pod]
	return at, ok
}

// close kills all pods.
func (k *kubelet) close() {
	k.stop()
	k.runs.Wait()
}
