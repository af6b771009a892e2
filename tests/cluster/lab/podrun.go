package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podRun is a pod on its node, from its start to its end.
type podRun struct {
	kubelet *kubelet
	node    *Node
	pod     *corev1.Pod

	asked chan time.Duration // to end within so long
	gone  chan struct{}      // closed when the API forgot it
}

// takeDown is how long a pod's network stays after its process, as that of a
// container does until its runtime has called the network plugin: the process'
// last packets, which end its connections, still find their way.
const takeDown = 300 * time.Millisecond

// live is the life of a pod.
func (r *podRun) live() {
	address := r.node.podAddress()
	process, space, err := r.start(address)
	if space != nil {
		defer space.close()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "lab: pod %s/%s: %v\n", r.pod.Namespace, r.pod.Name, err)
		return
	}
	defer func() {
		process.kill()
		time.Sleep(takeDown)
	}()
	if err := r.tellReady(process, address); err != nil {
		fmt.Fprintf(os.Stderr, "lab: pod %s/%s does not get ready: %v\n%s", r.pod.Namespace, r.pod.Name, err, process.tail(5))
	}
	select {
	case <-r.kubelet.done:
	case <-r.gone:
	case grace := <-r.asked:
		r.end(process, grace)
		r.kubelet.remove(r.pod)
	}
}

// start makes the pod's network, as Flannel's CNI plugin does, and its process.
func (r *podRun) start(address string) (*process, *Space, error) {
	space, err := newSpace(r.pod.Name)
	if err != nil {
		return nil, nil, err
	}
	// Names of links are short; that of the pod may not be.
	link := "veth" + string(r.pod.UID)[:8]
	if err := r.node.ip(
		fmt.Sprintf("link add %s mtu 1450 type veth peer name eth0 mtu 1450 netns %s", link, space.path()),
		fmt.Sprintf("link set %s master cni0 up", link),
	); err != nil {
		return nil, space, err
	}
	// A pod may talk to itself through its Service.
	if err := r.node.bridge("link set dev " + link + " hairpin on"); err != nil {
		return nil, space, err
	}
	if err := space.ip(
		fmt.Sprintf("address add %s/24 dev eth0", address), "link set eth0 up",
		fmt.Sprintf("route add default via %s", r.node.gateway()),
	); err != nil {
		return nil, space, err
	}
	order, err := json.Marshal(orderOf(r.pod))
	if err != nil {
		return nil, space, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, space, err
	}
	log := r.kubelet.home.Plane.path("pods.log")
	process, err := space.start(r.pod.Name, log, self, []string{podVariable + "=" + string(order)})
	return process, space, err
}

// orderOf is what a pod's containers say of their ports.
func orderOf(pod *corev1.Pod) podOrder {
	order := podOrder{Name: pod.Name}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			speaks := "http"
			switch {
			case port.Protocol == corev1.ProtocolUDP:
				speaks = portUDP
			case port.Name == portEcho, port.Name == portProxied:
				speaks = port.Name
			}
			order.Ports = append(order.Ports, podPort{Speaks: speaks, Number: port.ContainerPort})
		}
	}
	return order
}

// tellReady asks the pod as a readiness probe does, and tells the API.
func (r *podRun) tellReady(process *process, address string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: r.node.DialContext}}
	for _, port := range orderOf(r.pod).Ports {
		if port.Speaks != "http" {
			continue
		}
		url := fmt.Sprintf("http://%s:%d/", address, port.Number)
		if err := r.kubelet.home.Plane.await(process, func() error { return healthy(client, url) }); err != nil {
			return err
		}
	}
	now := metav1.Now()
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: &now, HostIP: r.node.Address(),
		PodIP: address, PodIPs: []corev1.PodIP{{IP: address}},
		Conditions: append(readiness(true),
			corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now}),
	}
	for _, container := range r.pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = r.kubelet.home.Plane.Client.CoreV1().Pods(r.pod.Namespace).Patch(
		context.Background(), r.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// end asks the process to stop, and insists when the grace period is over.
func (r *podRun) end(process *process, grace time.Duration) {
	over := time.After(grace)
	wait := func(until <-chan time.Time) (ended bool) {
		select {
		case <-process.exited:
			return true
		case <-r.gone:
			return true
		case <-r.kubelet.done:
			return true
		case <-until:
			return false
		}
	}
	if !wait(time.After(min(preStop(r.pod), grace))) {
		process.signalGroup(syscall.SIGTERM)
		wait(over)
	}
	k := r.kubelet
	k.mutex.Lock()
	k.ended[r.pod.Name] = time.Now()
	k.mutex.Unlock()
	process.kill()
}

// preStop is how long the containers sleep before they are asked to stop.
func preStop(pod *corev1.Pod) (longest time.Duration) {
	for _, container := range pod.Spec.Containers {
		if life := container.Lifecycle; life != nil && life.PreStop != nil && life.PreStop.Sleep != nil {
			longest = max(longest, time.Duration(life.PreStop.Sleep.Seconds)*time.Second)
		}
	}
	return longest
}
