package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Nodes is how many nodes the cluster has: node-1, node-2, …
const Nodes = 4

// The ports that every Pod listens on.
const (
	PodHTTPPort = 8080
	PodEchoPort = 9090
)

// NodeName is the name of the node with a number from 1 to Nodes.
func NodeName(number int) string { return fmt.Sprintf("node-%d", number) }

// NodeAddress is that node's internal address.
func NodeAddress(number int) string { return fmt.Sprintf("198.51.100.%d", number) }

var podsOnNode [Nodes + 1]atomic.Int32

// podAddress is an address from the node's range that no pod had before.
func podAddress(node int) string {
	return fmt.Sprintf("10.244.%d.%d", node-1, 9+podsOnNode[node].Add(1))
}

// addNodes makes the objects, Ready for good: what watches over that does not
// run.
func (p *ControlPlane) addNodes() error {
	ctx := context.Background()
	for _, place := range p.ground.nodes {
		node, err := p.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: place.name},
			Spec:       corev1.NodeSpec{PodCIDR: place.pods, PodCIDRs: []string{place.pods}},
		}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		node.Status = corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: place.address},
				{Type: corev1.NodeHostName, Address: node.Name},
			},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}
		if _, err := p.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// Pod is a pod: an object in the API, and servers that answer on its address
// with its name. There is no kubelet, so the story says what becomes of it.
type Pod struct {
	Name, Namespace, Address string

	plane   *ControlPlane
	servers []*Backend
}

// RunPod makes a pod with the label app on a node, serves on its address
// (HTTP on PodHTTPPort, echo on PodEchoPort), and says that it is ready.
func (p *ControlPlane) RunPod(t testing.TB, namespace, name, app string, node int) *Pod {
	t.Helper()
	pod := &Pod{Name: name, Namespace: namespace, Address: podAddress(node), plane: p}
	pod.servers = []*Backend{
		ServeHTTP(t, fmt.Sprintf("%s:%d", pod.Address, PodHTTPPort), name),
		ServeEcho(t, fmt.Sprintf("%s:%d", pod.Address, PodEchoPort), name),
	}
	if _, err := p.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			NodeName: NodeName(node),
			Containers: []corev1.Container{{
				Name: "server", Image: "none",
				Ports: []corev1.ContainerPort{
					{Name: "http", ContainerPort: PodHTTPPort},
					{Name: "echo", ContainerPort: PodEchoPort},
				},
			}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod.patchStatus(t, corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: pod.Address, PodIPs: []corev1.PodIP{{IP: pod.Address}},
		Conditions: readiness(true),
	})
	return pod
}

// SetReady tells the readiness that a kubelet's probe would find.
func (pod *Pod) SetReady(t testing.TB, ready bool) {
	t.Helper()
	pod.patchStatus(t, corev1.PodStatus{Conditions: readiness(ready)})
}

// Terminate asks the pod to go, as a rolling update does. The object stays, and
// the servers answer, until Remove: the endpoint is terminating, yet serving.
func (pod *Pod) Terminate(t testing.TB) {
	t.Helper()
	pod.delete(t, 600)
}

// Remove ends the pod, object and servers.
func (pod *Pod) Remove(t testing.TB) {
	t.Helper()
	pod.delete(t, 0)
	for _, server := range pod.servers {
		server.Close()
	}
}

func (pod *Pod) delete(t testing.TB, graceSeconds int64) {
	t.Helper()
	options := *metav1.NewDeleteOptions(graceSeconds)
	if err := pod.plane.Client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, options); err != nil {
		t.Fatal(err)
	}
}

func (pod *Pod) patchStatus(t testing.TB, status corev1.PodStatus) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pod.plane.Client.CoreV1().Pods(pod.Namespace).Patch(
		t.Context(), pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status",
	); err != nil {
		t.Fatal(err)
	}
}

func readiness(ready bool) []corev1.PodCondition {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return []corev1.PodCondition{
		{Type: corev1.ContainersReady, Status: status},
		{Type: corev1.PodReady, Status: status},
	}
}
