package cluster

import (
	"fmt"
	"os"
	"testing"
	"time"

	"sluice.test/cluster/lab"
)

// TestMeasureChangeToLive prints how long a change of an EndpointSlice takes
// among 1,000 Services. It judges nothing: what is fast depends on the machine.
func TestMeasureChangeToLive(t *testing.T) {
	if os.Getenv("LAB_MEASURE") == "" {
		t.Skip("a measurement; LAB_MEASURE=1 runs it")
	}
	lab.RequireSluice(t)
	const services, changes = 1000, 200
	const measureRest = 100 * time.Millisecond
	namespace := plane.Namespace(t)
	e := startEdge(t, "pod")

	for _, address := range measuredAddresses {
		lab.ServeHTTP(t, fmt.Sprintf("%s:%d", address, lab.PodHTTPPort), address)
	}

	start := time.Now()
	for number := range services {
		plane.Apply(t, namespace, measuredService(number)+"---"+measuredSlice(number, measuredAddresses[0]))
	}
	lab.Eventually(t, 2*time.Minute, func() error {
		up, err := e.Metrics("sluice_backend_up", nil)
		if err == nil && up != services {
			err = fmt.Errorf("%v of %d backends are up", up, services)
		}
		return err
	})
	t.Logf("%d Services and EndpointSlices applied and served in %v", services, time.Since(start).Round(time.Millisecond))

	before, err := e.Histogram("sluice_change_to_live_seconds", nil)
	if err != nil {
		t.Fatal(err)
	}
	for change := range changes {
		plane.Apply(t, namespace, measuredSlice(change, measuredAddresses[1]))
		// A scrape of a thousand pools costs more than the change does and
		// there are few cores: look only when it is likely to be over.
		time.Sleep(measureRest)
		lab.Eventually(t, noticeTimeout, func() error {
			now, err := e.Histogram("sluice_change_to_live_seconds", nil)
			if err == nil && now.Count() <= before.Count()+uint64(change) {
				err = fmt.Errorf("change %d is not live yet", change)
			}
			return err
		})
	}
	after, err := e.Histogram("sluice_change_to_live_seconds", nil)
	if err != nil {
		t.Fatal(err)
	}
	delta := after.Since(before)
	t.Logf(`
%d EndpointSlice changes among %d Services          p50        p99
sluice_change_to_live_seconds (%4d observed)  %8.2fms %8.2fms
(quantiles interpolated within the histogram's buckets: 5, 10, 20, 50, 100 ms)
`, changes, services, delta.Count(), 1000*delta.Quantile(0.5), 1000*delta.Quantile(0.99))
}

// measuredService has no selector: its EndpointSlice is written by hand, so no
// controller's time is in the measurement.
func measuredService(number int) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: s-%[1]d}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  allocateLoadBalancerNodePorts: false
  ports: [{name: http, port: %[2]d}]
`, number, 20000+number)
}

// measuredAddresses are before and after the change. All Services share them:
// a thousand pods would only make this slow.
var measuredAddresses = [2]string{"10.244.0.200", "10.244.1.200"}

func measuredSlice(number int, address string) string {
	return fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s-%[1]d
  labels: {kubernetes.io/service-name: s-%[1]d, endpointslice.kubernetes.io/managed-by: lab}
addressType: IPv4
ports: [{name: http, port: %[2]d}]
endpoints:
- {addresses: [%[3]s], nodeName: node-1, conditions: {ready: true, serving: true, terminating: false}}
`, number, lab.PodHTTPPort, address)
}
