package pi

import (
	"fmt"
	"net"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

// webEdge is an Ingress and Services of sluice's class for the pods of web; one
// Service tells them who the client is.
const webEdge = `
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
metadata: {name: proxied, annotations: {sluice.dev/proxy-protocol: %s}}
spec:
  type: LoadBalancer
  loadBalancerClass: sluice.dev/edge
  selector: {app: web}
  ports: [{name: proxied, port: 2222, targetPort: proxied}]
`

// TestFromTheInternetToPods is the whole way: a client on the internet, the
// router, sluice beside the router or on it, and the pods, by way of kube-proxy
// or straight. Whatever the way, the pods are told who the client is.
func TestFromTheInternetToPods(t *testing.T) {
	lab.RequireSluice(t)
	for _, one := range []struct {
		name, address, reach, header string
		at                           *lab.Space
		lan                          string // what nodes see sluice as
		forwarded                    bool
	}{
		{"beside the router, by node port", lab.HomeEdge, "nodeport", "v1", home.Edge, lab.HomeEdge, true},
		{"beside the router, by pod", lab.HomeEdge, "pod", "v2", home.Edge, lab.HomeEdge, true},
		{"on the router, by node port", lab.HomePublic, "nodeport", "v2", home.Router, lab.HomeRouter, false},
		{"on the router, by pod", lab.HomePublic, "pod", "v1", home.Router, lab.HomeRouter, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			namespace := home.Plane.Namespace(t)
			pods := runWeb(t, namespace, 4)
			home.Plane.Apply(t, namespace, fmt.Sprintf(webEdge, one.header))
			if one.forwarded {
				home.Forward(t, "tcp", 80, one.address, 80)
				home.Forward(t, "tcp", 2222, one.address, 2222)
			}
			startSluice(t, one.at, one.address, one.reach)

			expectAnswers(t, func() (string, error) {
				answer, err := home.Client.Get(lab.HomePublic+":80", "web.example.test", "/")
				if err == nil && answer.Status == 200 {
					if seen := answer.Header.Get("Seen-Forwarded-For"); seen != client {
						t.Errorf("X-Forwarded-For says %q, want %s", seen, client)
					}
					// As docs/reach.md has it: this host, or a node.
					if from, _, _ := net.SplitHostPort(answer.Header.Get("Seen-From")); (from == one.lan) != (one.reach == "pod") {
						t.Errorf("the pod is dialled from %s; sluice is %s", from, one.lan)
					}
				}
				return body(answer, err)
			}, pods)

			// Each is a connection of its own, and so meets every pod.
			expectBackends(t, func() (string, error) {
				conversation, err := home.Client.DialEcho(lab.HomePublic + ":2222")
				if err != nil {
					return "", err
				}
				defer conversation.Close()
				pod, told, _ := strings.Cut(conversation.Greeting, " ")
				if !strings.HasPrefix(told, client+":") {
					t.Errorf("the PROXY header says %q, want a port of %s", told, client)
				}
				return pod, conversation.Echo("hello")
			}, pods...)
			expectPublished(t, namespace)
		})
	}
}

// expectPublished waits until the objects show the router's address.
func expectPublished(t *testing.T, namespace string) {
	t.Helper()
	lab.Eventually(t, noticeTimeout, func() error {
		service := readService(t, namespace, "proxied")
		ingress, err := home.Plane.Client.NetworkingV1().Ingresses(namespace).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		of, at := service.Status.LoadBalancer.Ingress, ingress.Status.LoadBalancer.Ingress
		if len(of) != 1 || of[0].IP != lab.HomePublic || len(at) != 1 || at[0].IP != lab.HomePublic {
			return fmt.Errorf("addresses are %+v of the Service and %+v of the Ingress, want %s", of, at, lab.HomePublic)
		}
		return nil
	})
}
