package cluster

import (
	"fmt"
	"testing"
	"time"

	"sluice.test/cluster/lab"
)

func TestAPIServerOutageCostsNoRequest(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	e := startEdge(t, "pod")
	ask := httpTo(e.address+":80", "any.example.test", "/")
	expectBackends(t, ask, first.Name, second.Name)

	const perSecond = 50
	traffic := lab.Flow(t, perSecond, e.address+":80", "any.example.test", "/")
	waitForRequests(t, traffic, 2*perSecond)

	t.Log("API server killed")
	plane.StopAPI(t)
	lab.Eventually(t, noticeTimeout, func() error {
		up, err := e.Metrics("sluice_source_up", cluster)
		if err == nil && up != 0 {
			err = fmt.Errorf("sluice_source_up is %v without an API server", up)
		}
		return err
	})
	e.expectTold(t, "API server https://127.0.0.1:6443 cannot be reached", "start it")
	e.expectLogged(t, "cluster home cannot be followed; what was last heard of it is served on")
	if _, err := e.APIText("/readyz"); err != nil {
		t.Errorf("an API server that is away takes traffic away: %v", err)
	}
	waitForRequests(t, traffic, 5*perSecond)
	if stale, err := e.Metrics("sluice_source_stale_seconds", cluster); err != nil || stale <= 0 {
		t.Errorf("sluice_source_stale_seconds is %v, %v; want more than 0", stale, err)
	}

	if err := plane.StartAPI(); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	t.Log("API server started again; now a third pod")
	third := plane.RunPod(t, namespace, "third", "web", 3)
	ready := func(node string) endpoint { return endpoint{node: node, ready: true, serving: true} }
	// How fast the cluster's own controller comes back is not sluice's merit.
	expectEndpoints(t, namespace, "web", map[string]endpoint{
		first.Address: ready("node-1"), second.Address: ready("node-2"), third.Address: ready("node-3"),
	})
	sliced := time.Now()
	lab.Eventually(t, 60*time.Second, func() error {
		answer, err := ask()
		if err == nil && answer.Body != third.Name {
			err = fmt.Errorf("the new pod has not answered yet")
		}
		return err
	})
	t.Logf("new pod in EndpointSlice %v after the restart, in the traffic %v later",
		sliced.Sub(restarted).Round(time.Millisecond), time.Since(sliced).Round(time.Millisecond))
	waitForRequests(t, traffic, 2*perSecond)
	e.expectLogged(t, "cluster home is followed again")

	sent, failures := traffic.Stop()
	t.Logf("%d requests at %d/s, %d failed", sent, perSecond, len(failures))
	if len(failures) > 0 {
		t.Errorf("failed: first %v", failures[0])
	}
	// Writing works again too.
	plane.Apply(t, namespace, oneHost("after", "after.example.test", "/", "web"))
	expectStatus(t, httpTo(e.http, "after.example.test", "/"), 200)
	e.expectIngressAddress(t, namespace, "after")
}

// waitForRequests waits until so many more requests have been answered.
func waitForRequests(t *testing.T, traffic *lab.Traffic, more int) {
	t.Helper()
	until := traffic.Sent() + more
	lab.Eventually(t, time.Minute, func() error {
		if sent := traffic.Sent(); sent < until {
			return fmt.Errorf("%d of %d requests sent", sent, until)
		}
		return nil
	})
}
