package cluster

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice.test/cluster/lab"
)

func TestIngressRoutesHostsAndPaths(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	for _, name := range []string{"site", "cart", "exact", "blog", "fallback"} {
		servePod(t, namespace, name)
	}
	authority := newAuthority(t)
	shop, blog := issue(t, authority, "shop.example.test"), issue(t, authority, "blog.example.test")
	plane.Apply(t, namespace, tlsSecret("shop-tls", shop)+"---"+tlsSecret("blog-tls", blog))
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec:
  ingressClassName: sluice
  defaultBackend: {service: {name: fallback, port: {name: http}}}
  tls:
  - {hosts: [shop.example.test], secretName: shop-tls}
  - {hosts: [blog.example.test], secretName: blog-tls}
  rules:
  - host: shop.example.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}
      - {path: /cart, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}
      - {path: /cart/exact, pathType: Exact, backend: {service: {name: exact, port: {name: http}}}}
  - host: blog.example.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: blog, port: {number: 80}}}}
`)
	e := startEdge(t, "pod")

	for _, one := range []struct{ host, path, want string }{
		{"shop.example.test", "/", "site"},
		{"shop.example.test", "/other", "site"},
		{"shop.example.test", "/cart", "cart"},
		{"shop.example.test", "/cart/", "cart"},
		{"shop.example.test", "/cart/item", "cart"},
		{"shop.example.test", "/cartoon", "site"}, // a prefix is of whole elements
		{"shop.example.test", "/cart/exact", "exact"},
		{"shop.example.test", "/cart/exact/more", "cart"},
		{"blog.example.test", "/cart", "blog"},
	} {
		expectIngress(t, "https://"+one.host+one.path, httpsTo(e.https, one.host, one.path, authority), one.want)
	}
	expectIngress(t, "http://unknown.example.test/", httpTo(e.http, "unknown.example.test", "/"), "fallback")
	e.expectIngressAddress(t, namespace, "front")

	for host, pair := range map[string]lab.Pair{"shop.example.test": shop, "blog.example.test": blog} {
		served, err := lab.Certificate(e.https, host)
		if err != nil {
			t.Fatal(err)
		}
		if served.SerialNumber.Cmp(pair.Serial) != 0 {
			t.Errorf("for %s the certificate of %v is served", host, served.DNSNames)
		}
	}

	// Hosts with TLS are moved there.
	answer, err := lab.Get(e.http, "shop.example.test", "/cart")
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status < 301 || answer.Status > 308 {
		t.Errorf("http://shop.example.test answered %s, want a redirect", answer)
	}
}

// oneHost is an Ingress, of our class by name, with one plain host and path.
func oneHost(name, host, path, service string) string {
	return fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %s}
spec:
  ingressClassName: sluice
  rules:
  - host: %s
    http:
      paths:
      - {path: %s, pathType: Prefix, backend: {service: {name: %s, port: {number: 80}}}}
`, name, host, path, service)
}

func TestIngressChangesAndGoes(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	e := startEdge(t, "pod")
	servePod(t, namespace, "old")
	servePod(t, namespace, "new")
	const host = "plain.example.test"

	plane.Apply(t, namespace, oneHost("plain", host, "/before", "old"))
	expectIngress(t, "http://"+host+"/before", httpTo(e.http, host, "/before"), "old")
	e.expectIngressAddress(t, namespace, "plain")

	plane.Apply(t, namespace, oneHost("plain", host, "/", "new"))
	expectIngress(t, "http://"+host+"/after", httpTo(e.http, host, "/after"), "new")
	open, err := lab.DialUpgrade(e.http, host)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	plane.Delete(t, namespace, oneHost("plain", host, "/", "new"))
	expectStatus(t, httpTo(e.http, host, "/after"), 404)
	if err := open.Echo("still here"); err != nil {
		t.Errorf("an upgraded connection was cut when its route went: %v", err)
	}
	t.Logf("Ingress answered http://%s/after with 404 after it was deleted", host)
}

func TestIngressWithoutClassIsOursIfWeAreTheDefault(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	e := startEdge(t, "pod")
	servePod(t, namespace, "site")
	plane.Apply(t, "", `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: sluice
  annotations: {ingressclass.kubernetes.io/is-default-class: "true"}
spec: {controller: sluice.dev/ingress}
`)
	// To apply the class without the annotation takes it away again. Not in
	// t.Cleanup, where the test's context has ended.
	defer plane.Apply(t, "", ingressClass)
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: classless}
spec:
  rules:
  - host: classless.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	expectIngress(t, "http://classless.example.test/", httpTo(e.http, "classless.example.test", "/"), "site")
	e.expectIngressAddress(t, namespace, "classless")
}

func TestRotatedSecretServesNewConnections(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	servePod(t, namespace, "site")
	const host = "rotate.example.test"
	authority := newAuthority(t)
	before, after := issue(t, authority, host), issue(t, authority, host)
	plane.Apply(t, namespace, tlsSecret("rotate-tls", before))
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: rotate}
spec:
  ingressClassName: sluice
  tls: [{hosts: [rotate.example.test], secretName: rotate-tls}]
  rules:
  - host: rotate.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	e := startEdge(t, "pod")
	expectIngress(t, "https://"+host+"/", httpsTo(e.https, host, "/", authority), "site")
	open, served, err := lab.DialUpgradeTLS(e.https, host, authority)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if served.SerialNumber.Cmp(before.Serial) != 0 {
		t.Fatal("the first certificate is not the one of the Secret")
	}

	plane.Apply(t, namespace, tlsSecret("rotate-tls", after))
	lab.Eventually(t, noticeTimeout, func() error {
		served, err := lab.Certificate(e.https, host)
		if err == nil && served.SerialNumber.Cmp(after.Serial) != 0 {
			err = fmt.Errorf("the old certificate is still served")
		}
		return err
	})
	if err := open.Echo("still here"); err != nil {
		t.Errorf("a connection was cut by the new certificate: %v", err)
	}
	t.Logf("Secret rotated: new certificate on new connections, the old connection lives")
}

func TestBrokenObjectsSpoilNothingElse(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	servePod(t, namespace, "site")
	e := startEdge(t, "pod")
	authority := newAuthority(t)
	pair := issue(t, authority, "good.example.test")

	plane.Apply(t, namespace, tlsSecret("garbage-tls", lab.Pair{Certificate: []byte("not a certificate"), Key: []byte("nor a key")}))
	plane.Apply(t, namespace, tlsSecret("good-tls", pair))
	plane.Apply(t, namespace, oneHost("to-nowhere", "nowhere.example.test", "/", "no-such-service"))
	plane.Apply(t, namespace, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: with-garbage}
spec:
  ingressClassName: sluice
  tls: [{hosts: [garbage.example.test], secretName: garbage-tls}]
  rules:
  - host: garbage.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: good}
spec:
  ingressClassName: sluice
  tls: [{hosts: [good.example.test], secretName: good-tls}]
  rules:
  - host: good.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]}
`)
	expectIngress(t, "https://good.example.test/", httpsTo(e.https, "good.example.test", "/", authority), "site")
	e.expectIngressAddress(t, namespace, "good")
	e.expectProblem(t, "to-nowhere")
	e.expectProblem(t, "garbage")
	if problems, err := e.Metrics("sluice_problems", nil); err != nil || problems < 2 {
		t.Errorf("sluice_problems adds up to %v, %v; want at least 2", problems, err)
	}
	// Whether that is no route or no backend is not for this story to say.
	answer, err := lab.Get(e.http, "nowhere.example.test", "/")
	if err != nil || (answer.Status != 404 && answer.Status != 503) {
		t.Errorf("an Ingress to nowhere answered %s, %v; want 404 or 503", answer, err)
	}

	t.Log("mended, it works, and is no problem any more")
	if err := plane.Client.NetworkingV1().Ingresses(namespace).Delete(t.Context(), "with-garbage", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	plane.Apply(t, namespace, oneHost("to-nowhere", "nowhere.example.test", "/", "site"))
	expectIngress(t, "http://nowhere.example.test/", httpTo(e.http, "nowhere.example.test", "/"), "site")
	lab.Eventually(t, noticeTimeout, func() error {
		problems, err := e.Metrics("sluice_problems", nil)
		if err == nil && problems != 0 {
			err = fmt.Errorf("sluice_problems still adds up to %v", problems)
		}
		return err
	})
}
