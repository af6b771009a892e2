package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// haproxyDefaults is what Debian's package installs as its configuration, but
// for logs and the rights of its process.
const haproxyDefaults = `
defaults
	mode http
	timeout connect 5000
	timeout client  50000
	timeout server  50000
`

// RequireHAProxy skips the test, loudly, if there is no haproxy to compare with.
func RequireHAProxy(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		skip(t, "haproxy is missing (package haproxy)")
	}
}

// RunHAProxy runs it inside with sections after Debian's defaults. It ends with
// the test.
func (s *Space) RunHAProxy(t testing.TB, sections string) {
	t.Helper()
	directory, err := os.MkdirTemp(os.Getenv(insideVariable), "haproxy-")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(directory, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(haproxyDefaults+sections), 0o600); err != nil {
		t.Fatal(err)
	}
	running, err := s.start("haproxy", filepath.Join(directory, "haproxy.log"), "haproxy", nil, "-db", "-f", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.running(); err != nil {
			t.Errorf("%v\n%s", err, running.tail(20))
		}
		running.kill()
	})
}
