package conformance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long anything may take that must come.
const patience = 20 * time.Second

// host is the name that the certificate is for.
const host = "edge.example.test"

// tool is the path of a program that `make tools` built.
func tool(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("CONFORMANCE_TOOLS")
	if folder == "" {
		t.Fatal("CONFORMANCE_TOOLS names no folder; run `make test` in tests/conformance")
	}
	return filepath.Join(folder, name)
}

// freePort is a port of loopback that nobody had a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// pair is a certificate for host and its key, and the authority that signed it, as files.
type pair struct{ ca, cert, key string }

// certificate makes an authority and what it signed for host.
func certificate(t *testing.T) pair {
	t.Helper()
	folder := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber:          big.NewInt(serial),
			Subject:               pkix.Name{CommonName: name},
			NotBefore:             time.Now().Add(-time.Hour),
			NotAfter:              time.Now().Add(24 * time.Hour),
			BasicConstraintsValid: true,
		}
	}
	made := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	signed := func(one, by *x509.Certificate, key, with *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, one, by, &key.PublicKey, with)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	authority, leaf := template(1, "authority"), template(2, host)
	authority.IsCA, leaf.DNSNames = true, []string{host}
	first, second := made(), made()
	key, err := x509.MarshalPKCS8PrivateKey(second)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		ca:   write("ca.crt", "CERTIFICATE", signed(authority, authority, first, first)),
		cert: write("edge.crt", "CERTIFICATE", signed(leaf, authority, second, first)),
		key:  write("edge.key", "PRIVATE KEY", key),
	}
}

// start runs a program until the test ends, and shows what it said if it failed.
func start(t *testing.T, program string, arguments ...string) {
	t.Helper()
	var said bytes.Buffer
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), tail(said.String()))
		}
	})
}

// tail is the end of a long text.
func tail(text string) string {
	const most = 4000
	if len(text) <= most {
		return text
	}
	return "…" + text[len(text)-most:]
}

// await waits until somebody listens on a port of loopback.
func await(t *testing.T, port int) {
	t.Helper()
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			connection.Close()
			return
		}
		if time.Now().After(until) {
			t.Fatalf("nobody listens on port %d after %s", port, patience)
		}
	}
}

// edge is a running sluice with an http and an https listener that lead the same way.
type edge struct {
	http, https int
	ca          string
}

// startEdge runs a sluice whose every request goes to one pool, written as in the file;
// an empty one: to none, so that sluice answers by itself.
func startEdge(t *testing.T, pool string) edge {
	t.Helper()
	sluice := os.Getenv("SLUICE_BIN")
	if sluice == "" {
		t.Fatal("SLUICE_BIN names no sluice; run `make test SLUICE_BIN=/path/to/sluice`")
	}
	own := certificate(t)
	e := edge{http: freePort(t), https: freePort(t), ca: own.ca}
	leads := "pool: site"
	if pool == "" {
		leads, pool = "routes: [{host: nobody.example.test, pool: site}]", "{backends: [127.0.0.1:1], probe: none}"
	}
	folder := t.TempDir()
	text := fmt.Sprintf(`
process: {admin: "unix:%s", workers: 2}
listeners:
  web: {bind: "127.0.0.1:%d", protocol: http, %s}
  secure: {bind: "127.0.0.1:%d", protocol: https, %s, certificates: [{cert: %s, key: %s}]}
pools:
  site: %s
`, filepath.Join(folder, "admin.sock"), e.http, leads, e.https, leads, own.cert, own.key, pool)
	path := filepath.Join(folder, "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, sluice, "run", "--config", path)
	await(t, e.http)
	await(t, e.https)
	return e
}

// startBackend serves HTTP/1.1 and HTTP/2 in the clear on a port that it gives: it reads
// each request whole and answers it.
func startBackend(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("content-type", "text/plain")
		_, _ = io.WriteString(w, strings.Repeat("hello ", 20))
	})}
	server.Protocols = new(http.Protocols)
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().(*net.TCPAddr).Port
}
