package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// startTimeout is generous: CI is slow, and a part that dies is noticed at once.
const startTimeout = 90 * time.Second

// ControlPlane is a running etcd, kube-apiserver and kube-controller-manager.
type ControlPlane struct {
	// Client may do everything.
	Client kubernetes.Interface
	// Kubeconfig is the file that gives the same rights to others.
	Kubeconfig string

	directory string // certificates, kubeconfigs, data, logs
	binary    string
	ground    *ground
	authority *Authority
	config    *rest.Config
	dynamic   dynamic.Interface
	mapper    *restmapper.DeferredDiscoveryRESTMapper

	etcd, api, controllers *process
}

// Start runs a control plane from the binary of cmd/controlplane on its ground
// with its files in directory, and waits until all of it is ready.
func Start(directory, binary string, g *ground) (*ControlPlane, error) {
	p := &ControlPlane{directory: directory, binary: binary, ground: g}
	start := time.Now()
	for _, step := range []func() error{
		p.writeCredentials, p.connect, p.startEtcd, p.startAPI, p.startControllers, p.addNodes,
	} {
		if err := step(); err != nil {
			err = fmt.Errorf("%w\n%s", err, p.logTails())
			p.Close()
			return nil, err
		}
	}
	fmt.Fprintf(os.Stderr, "lab: control plane ready after %v\n", time.Since(start).Round(time.Millisecond))
	return p, nil
}

// Close kills every part.
func (p *ControlPlane) Close() {
	for _, part := range []*process{p.controllers, p.api, p.etcd} {
		if part != nil {
			part.kill()
		}
	}
}

// StopAPI kills the API server with SIGKILL: its clients get no goodbye. Should
// the story end before it has called StartAPI, the stories after it get one.
func (p *ControlPlane) StopAPI(t testing.TB) {
	t.Helper()
	p.api.kill()
	t.Cleanup(func() {
		if p.api.running() == nil {
			return
		}
		if err := p.StartAPI(); err != nil {
			t.Errorf("start the API server again: %v", err)
		}
	})
}

// StartAPI starts it again, on the same port and data, and waits until ready.
// The controllers are started anew: those that saw the API server go try again
// at intervals that grow to half a minute, each of their watches by itself, and
// a story would wait for them instead of for sluice.
func (p *ControlPlane) StartAPI() error {
	if err := p.startAPI(); err != nil {
		return err
	}
	p.controllers.kill()
	return p.startControllers()
}

func (p *ControlPlane) path(name string) string { return filepath.Join(p.directory, name) }

func (p *ControlPlane) start(name string, arguments ...string) (*process, error) {
	return startProcess(name, p.path(name+".log"), p.binary, nil, append([]string{name}, arguments...)...)
}

// writeCredentials makes everything that proves someone's identity: the
// authority, the server's and the administrator's certificates, the key that
// signs the tokens of ServiceAccounts.
func (p *ControlPlane) writeCredentials() error {
	authority, err := NewAuthority("sluice-lab")
	if err != nil {
		return err
	}
	p.authority = authority
	if err := os.WriteFile(p.path("ca.crt"), authority.PEM, 0o600); err != nil {
		return err
	}
	serving, err := authority.IssueServer("kubernetes", "kubernetes.default.svc", "127.0.0.1", p.ground.api, p.ground.advertised)
	if err != nil {
		return err
	}
	if err := writePair(p.path("serving"), serving); err != nil {
		return err
	}
	// The API server lets this group do everything, with no role to look up.
	admin, err := authority.issueClient("lab-admin", "system:masters")
	if err != nil {
		return err
	}
	tokenKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(tokenKey)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(tokenKey.Public())
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.path("tokens.key"), private, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(p.path("tokens.pub"), encodePEM("PUBLIC KEY", public), 0o600); err != nil {
		return err
	}
	p.Kubeconfig, err = p.writeKubeconfig("admin", &clientcmdapi.AuthInfo{
		ClientCertificateData: admin.Certificate, ClientKeyData: admin.Key,
	})
	return err
}

// writeKubeconfig writes a kubeconfig for one user and returns its path.
func (p *ControlPlane) writeKubeconfig(user string, credentials *clientcmdapi.AuthInfo) (string, error) {
	authority, err := os.ReadFile(p.path("ca.crt"))
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{
		Server:                   fmt.Sprintf("https://%s:%d", p.ground.api, apiPort),
		CertificateAuthorityData: authority,
	}
	config.AuthInfos[user] = credentials
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: user}
	config.CurrentContext = "lab"
	path := p.path(user + ".kubeconfig")
	return path, clientcmd.WriteToFile(*config, path)
}

// connect makes the clients; nothing is sent yet.
func (p *ControlPlane) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1 // a story never waits for its own client
	config.Timeout = 20 * time.Second
	p.config = config
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	p.Client = clients
	p.dynamic, err = dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	p.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(clients.Discovery()))
	return nil
}

func (p *ControlPlane) startEtcd() (err error) {
	client := fmt.Sprintf("http://127.0.0.1:%d", etcdClientPort)
	p.etcd, err = p.start("etcd",
		"--data", p.path("etcd"),
		"--client", client,
		"--peer", fmt.Sprintf("http://127.0.0.1:%d", etcdPeerPort),
	)
	if err != nil {
		return err
	}
	return p.await(p.etcd, func() error { return healthy(http.DefaultClient, client+"/health") })
}

func (p *ControlPlane) startAPI() (err error) {
	p.api, err = p.start("apiserver",
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", etcdClientPort),
		"--bind-address="+p.ground.bind,
		fmt.Sprintf("--secure-port=%d", apiPort),
		"--advertise-address="+p.ground.advertised,
		"--tls-cert-file="+p.path("serving.crt"),
		"--tls-private-key-file="+p.path("serving.key"),
		"--client-ca-file="+p.path("ca.crt"),
		"--anonymous-auth=false",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+p.path("tokens.pub"),
		"--service-account-signing-key-file="+p.path("tokens.key"),
		"--service-cluster-ip-range=10.96.0.0/16",
		// ServiceAccount wants an account for every pod, made by a controller
		// that does not run; TaintNodesByCondition taints nodes until a
		// controller that does not run lifts it.
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
	)
	if err != nil {
		return err
	}
	transport, err := rest.HTTPClientFor(p.config)
	if err != nil {
		return err
	}
	return p.await(p.api, func() error { return healthy(transport, p.config.Host+"/readyz") })
}

// startControllers runs only what a load balancer can tell the effect of.
func (p *ControlPlane) startControllers() (err error) {
	enabled := []string{
		"deployment-controller",              // Deployments to ReplicaSets
		"replicaset-controller",              // ReplicaSets to Pods
		"endpointslice-controller",           // Service and Pods to EndpointSlices
		"endpointslice-mirroring-controller", // hand-made Endpoints to EndpointSlices
		"garbage-collector-controller",       // a Service's EndpointSlices go with it
		"namespace-controller",               // a Namespace's objects go with it
		// the ConfigMap that users take the authority's certificate from
		"root-ca-certificate-publisher-controller",
	}
	p.controllers, err = p.start("controllers",
		"--kubeconfig="+p.Kubeconfig,
		"--controllers="+strings.Join(enabled, ","),
		"--leader-elect=false",
		"--root-ca-file="+p.path("ca.crt"),
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", controllersPort),
		"--tls-cert-file="+p.path("serving.crt"),
		"--tls-private-key-file="+p.path("serving.key"),
	)
	if err != nil {
		return err
	}
	// It trusts the same authority, and asks nobody in for /healthz.
	tlsConfig, err := rest.TLSConfigFor(p.config)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: tlsConfig}}
	defer client.CloseIdleConnections()
	return p.await(p.controllers, func() error {
		return healthy(client, fmt.Sprintf("https://127.0.0.1:%d/healthz", controllersPort))
	})
}

// await polls check as long as the process runs.
func (p *ControlPlane) await(part *process, check func() error) error {
	var died error
	err := poll(startTimeout, func() error {
		if died = part.running(); died != nil {
			return nil // no use to wait on
		}
		return check()
	})
	if died != nil {
		return died
	}
	if err != nil {
		return fmt.Errorf("%s is not ready after %v: %w", part.name, startTimeout, err)
	}
	return nil
}

// logTails is what each part said last.
func (p *ControlPlane) logTails() string {
	var all strings.Builder
	for _, part := range []*process{p.etcd, p.api, p.controllers} {
		if part != nil {
			all.WriteString(part.tail(25))
		}
	}
	return all.String()
}

// healthy is nil if url answers 200.
func healthy(client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}
