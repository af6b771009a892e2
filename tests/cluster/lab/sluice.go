package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	// readyTimeout covers the first list of all objects, and the pause after a
	// list that failed.
	readyTimeout = 30 * time.Second
	// stopPatience is more than the drain time that stories configure.
	stopPatience = 15 * time.Second
)

// Sluice is a running sluice.
type Sluice struct {
	// Admin is the URL of its admin port.
	Admin string

	process *process
	client  *http.Client
	stopped bool
}

// RequireSluice skips the test, loudly, if there is no binary to test. A story
// calls it first, before it takes any trouble.
func RequireSluice(t testing.TB) {
	t.Helper()
	if os.Getenv(sluiceVariable) == "" {
		skip(t, sluiceVariable+" names no sluice binary")
	}
}

// RunSluice runs sluice with a configuration, which must say process.admin. It
// ends with the test; if that failed, the end of its log is printed. A sluice
// that dies early, or does not stop when asked, fails the test.
func RunSluice(t testing.TB, configYAML string) *Sluice {
	t.Helper()
	here, err := spaceHere("lab")
	if err != nil {
		t.Fatal(err)
	}
	return here.RunSluice(t, configYAML)
}

// RunSluice is the same inside a space.
func (s *Space) RunSluice(t testing.TB, configYAML string) *Sluice {
	t.Helper()
	RequireSluice(t)
	admin, err := adminOf(configYAML)
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: that is deleted before anyone can look at the log.
	directory, err := os.MkdirTemp(os.Getenv(insideVariable), "sluice-")
	if err != nil {
		t.Fatal(err)
	}
	configPath := filepath.Join(directory, "sluice.yaml")
	if err := os.WriteFile(configPath, []byte(configYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	running, err := s.start("sluice", filepath.Join(directory, "sluice.log"), os.Getenv(sluiceVariable), nil, "run", "--config", configPath)
	if err != nil {
		t.Fatal(err)
	}
	sluice := &Sluice{
		Admin:   "http://" + admin,
		process: running,
		client:  &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.DialContext}},
	}
	t.Cleanup(func() { sluice.end(t) })
	return sluice
}

// ExpectReady waits until it says that it is ready.
func (s *Sluice) ExpectReady(t testing.TB) {
	t.Helper()
	Eventually(t, readyTimeout, func() error {
		if err := s.process.running(); err != nil {
			t.Fatal(err)
		}
		return healthy(s.client, s.Admin+"/readyz")
	})
}

// Log is all that it has logged so far.
func (s *Sluice) Log() (string, error) {
	content, err := os.ReadFile(s.process.logPath)
	return string(content), err
}

// Stop stops it in an orderly way before the test ends.
func (s *Sluice) Stop(t testing.TB) {
	t.Helper()
	s.stopped = true
	if err := s.process.stop(stopPatience); err != nil {
		t.Errorf("sluice, asked to stop: %v", err)
	}
}

func (s *Sluice) end(t testing.TB) {
	if s.stopped {
		// As the story wished.
	} else if err := s.process.running(); err != nil {
		t.Error(err)
	} else if err := s.process.stop(stopPatience); err != nil {
		t.Errorf("sluice, asked to stop: %v", err)
	}
	if t.Failed() {
		t.Log(s.process.tail(80))
	}
}

// adminOf reads process.admin from a configuration.
func adminOf(configYAML string) (string, error) {
	var config struct {
		Process struct {
			Admin string `json:"admin"`
		} `json:"process"`
	}
	if err := yaml.Unmarshal([]byte(configYAML), &config); err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	if config.Process.Admin == "" {
		return "", fmt.Errorf("configuration: process.admin is missing")
	}
	return config.Process.Admin, nil
}

// API is what the admin port answers for a path such as /api/v1/problems, as
// decoded JSON.
func (s *Sluice) API(path string) (any, error) {
	body, err := s.read(path)
	if err != nil {
		return nil, err
	}
	var decoded any
	if err := json.Unmarshal(body, &decoded); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return decoded, nil
}

// APIText is the same as text, for stories that only ask whether something is
// named there.
func (s *Sluice) APIText(path string) (string, error) {
	body, err := s.read(path)
	return string(body), err
}

func (s *Sluice) read(path string) ([]byte, error) {
	response, err := s.client.Get(s.Admin + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", path, response.Status, body)
	}
	return body, nil
}
