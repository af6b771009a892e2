package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"sluice.test/cluster/lab"
)

// The stories of this file are of an operator whose sluice cannot get at the
// cluster: sluice says which thing is wrong and what would be right, and when
// that is mended it goes on by itself.

func TestWrongAccessIsToldAndMended(t *testing.T) {
	lab.RequireSluice(t)
	const nobodyListens = "https://127.0.0.1:6444"
	const plain = "127.0.0.1:6445"
	lab.ServeHTTP(t, plain, "not an API server")
	for _, one := range []struct {
		name  string
		spoil func(*clientcmdapi.Config)
		told  []string
	}{
		{"a wrong token", func(config *clientcmdapi.Config) {
			for _, user := range config.AuthInfos {
				user.Token = "no-token"
			}
		}, []string{"does not accept our credentials (401)", "put a valid token or client certificate into kubeconfig"}},
		{"another cluster's authority", func(config *clientcmdapi.Config) {
			for _, cluster := range config.Clusters {
				cluster.CertificateAuthorityData = newAuthority(t).PEM
			}
		}, []string{"shows a certificate that we cannot trust", "put the cluster's own there"}},
		{"a server that is not there", func(config *clientcmdapi.Config) {
			for _, cluster := range config.Clusters {
				cluster.Server = nobodyListens
			}
		}, []string{nobodyListens, "nothing listens there", "correct `server` in kubeconfig"}},
		{"a name that does not exist", func(config *clientcmdapi.Config) {
			for _, cluster := range config.Clusters {
				cluster.Server = "https://no-such-host.invalid:6443"
			}
		}, []string{"cannot be found by that name", "no-such-host.invalid"}},
		{"a port without TLS", func(config *clientcmdapi.Config) {
			for _, cluster := range config.Clusters {
				cluster.Server = "https://" + plain
			}
		}, []string{plain, "does not speak TLS on that port", "correct `server` in kubeconfig"}},
	} {
		t.Run(strings.ReplaceAll(one.name, " ", "-"), func(t *testing.T) {
			good := plane.Grant(t, lab.SluiceRights())
			config, err := clientcmd.LoadFromFile(good)
			if err != nil {
				t.Fatal(err)
			}
			one.spoil(config)
			path := filepath.Join(t.TempDir(), "kubeconfig")
			if err := clientcmd.WriteToFile(*config, path); err != nil {
				t.Fatal(err)
			}
			e := runEdge(t, "pod", path)
			e.expectTold(t, one.told...)
			ready, err := e.APIText("/readyz")
			if err == nil {
				t.Fatalf("ready without a cluster: %s", ready)
			}
			// The error has the body.
			for _, part := range append(one.told, "waiting for", "cluster home") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("/readyz does not say %q: %v", part, err)
				}
			}
		})
	}
}

// A kubeconfig that is put right is read again without a restart.
func TestKubeconfigIsReadAgain(t *testing.T) {
	lab.RequireSluice(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	e := runEdge(t, "pod", path)
	e.expectTold(t, path, "No such file")
	content, err := os.ReadFile(plane.Grant(t, lab.SluiceRights()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e.ExpectReady(t)
	e.expectLogged(t, "was read, and is followed")
}

func TestMissingRightIsToldAndMended(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	rights, err := os.ReadFile(lab.SluiceRights())
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := plane.Grant(t, lab.SluiceRights())
	// Not in t.Cleanup, where the test's context has ended.
	defer plane.Apply(t, "", string(rights))

	poor := string(rights)
	for _, resource := range []string{"endpointslices", "services/status"} {
		if !strings.Contains(poor, "["+resource+"]") {
			t.Fatalf("%s: there is no rule for [%s] alone", lab.SluiceRights(), resource)
		}
		poor = strings.Replace(poor, "["+resource+"]", "[none]", 1)
	}
	plane.Apply(t, "", poor)
	// The role reaches the API server's authorizer through a watch, so the first
	// list may still be allowed: tried until it is not.
	var e *edge
	lab.Eventually(t, noticeTimeout, func() error {
		allowed, err := plane.Allowed(t, kubeconfig, "list", "discovery.k8s.io", "endpointslices")
		if err == nil && allowed {
			err = fmt.Errorf("the right is still there")
		}
		return err
	})
	e = runEdge(t, "pod", kubeconfig)
	e.expectTold(t, "may not read endpointslices.discovery.k8s.io (403)", "get, list and watch",
		"system:serviceaccount:kube-system:sluice")

	t.Log("the right to read is given: served, while the status is not")
	plane.Apply(t, "", strings.Replace(string(rights), "[services/status]", "[none]", 1))
	e.ExpectReady(t)
	expectBackends(t, httpTo(e.address+":80", "any.example.test", "/"), first.Name, second.Name)
	e.expectLogged(t, "service/"+namespace+"/web: forbidden (403); give our account the verb patch on services/status")

	t.Log("the right to write is given")
	plane.Apply(t, "", string(rights))
	e.expectServiceAddress(t, namespace, "web")
}

func TestRightsInOneNamespaceAreEnough(t *testing.T) {
	lab.RequireSluice(t)
	namespace := plane.Namespace(t)
	first, second := webPods(t, namespace)
	plane.Apply(t, namespace, webLoadBalancer)
	elsewhere := plane.Namespace(t)
	plane.Apply(t, elsewhere, webLoadBalancer)
	rights, err := os.ReadFile(lab.SluiceRights())
	if err != nil {
		t.Fatal(err)
	}
	// As the manifest's comment says, with an account of its own beside that of
	// the other stories.
	narrow := string(rights)
	for _, change := range [][2]string{
		{"metadata: {name: sluice, namespace: kube-system}\n---", "metadata: {name: narrow, namespace: kube-system}\n---"},
		{"\n- {kind: ServiceAccount, name: sluice,", "\n- {kind: ServiceAccount, name: narrow,"},
		{"\nkind: ClusterRoleBinding\nmetadata: {name: sluice-cluster}", "\nkind: ClusterRoleBinding\nmetadata: {name: narrow}"},
		{"\nkind: ClusterRoleBinding\nmetadata: {name: sluice}", "\nkind: RoleBinding\nmetadata: {name: narrow, namespace: " + namespace + "}"},
	} {
		if !strings.Contains(narrow, change[0]) {
			t.Fatalf("%s: there is no %q", lab.SluiceRights(), change[0])
		}
		narrow = strings.ReplaceAll(narrow, change[0], change[1])
	}
	path := filepath.Join(t.TempDir(), "rights.yaml")
	if err := os.WriteFile(path, []byte(narrow), 0o600); err != nil {
		t.Fatal(err)
	}
	kubeconfig := plane.Grant(t, path)
	if allowed, err := plane.Allowed(t, kubeconfig, "list", "", "secrets"); err != nil || allowed {
		t.Fatalf("may list the Secrets of every namespace (%v)", err)
	}

	plane.Apply(t, "", ingressClass)
	address := lab.EdgeAddress()
	e := &edge{address: address, http: address + ":8080", https: address + ":8443"}
	e.Sluice = lab.RunSluice(t, fmt.Sprintf(`
process: {admin: %q, workers: 2, drain: 5s}
clusters:
  home:
    kubeconfig: %s
    namespaces: [%s]
    reach: pod
    services: {class: sluice.dev/edge, addresses: [%s]}
    ingress: {class: sluice, http: %q, https: %q}
`, lab.AdminAddress(), kubeconfig, namespace, address, e.http, e.https))
	e.ExpectReady(t)
	expectBackends(t, httpTo(e.address+":80", "any.example.test", "/"), first.Name, second.Name)
	e.expectServiceAddress(t, namespace, "web")
}

// expectTold waits until the log and /api/v1/sources say all of these.
func (e *edge) expectTold(t *testing.T, parts ...string) {
	t.Helper()
	e.expectLogged(t, parts...)
	sources, err := e.APIText("/api/v1/sources")
	for _, part := range parts {
		if err == nil && !strings.Contains(sources, part) {
			err = fmt.Errorf("/api/v1/sources does not say %q: %s", part, sources)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// expectLogged waits until one line of the log has all of these, and shows it.
func (e *edge) expectLogged(t *testing.T, parts ...string) {
	t.Helper()
	var found string
	lab.Eventually(t, noticeTimeout, func() error {
		log, err := e.Log()
		if err != nil {
			return err
		}
	lines:
		for line := range strings.Lines(log) {
			for _, part := range parts {
				if !strings.Contains(line, part) {
					continue lines
				}
			}
			found = line
			return nil
		}
		return fmt.Errorf("no line of the log says all of %q", parts)
	})
	t.Logf("logged: %s", found)
}
