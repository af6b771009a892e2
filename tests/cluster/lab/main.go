// Package lab is a Kubernetes cluster for tests: a real etcd, kube-apiserver and
// kube-controller-manager as processes, nodes and pods, and sluice at the edge
// of it. With Main nodes are objects and pods are addresses; with MainAtHome
// they are network namespaces, with kube-proxy and Flannel's rules, behind a
// router.
//
// All of it lives in network and PID namespaces made for one run of the test
// binary: no port of the host is taken, no packet leaves, and nothing is left
// running when the test ends or dies.
package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// What the environment may say.
const (
	// sluiceVariable names the binary under test.
	sluiceVariable = "SLUICE_BIN"
	// rightsVariable names a manifest with sluice's ServiceAccount and roles.
	rightsVariable = "SLUICE_RIGHTS"
	// planeVariable names a built cmd/controlplane; it is built if unset.
	planeVariable = "CONTROLPLANE_BIN"
	// requireVariable turns each skip into a failure; CI sets it.
	requireVariable = "LAB_REQUIRE"
	// insideVariable tells the re-executed test that it is inside, and its directory.
	insideVariable = "LAB_INSIDE"
)

func init() {
	// Pdeathsig follows the thread that started the child, so the start in
	// enter must happen on one that lives as long as the process: the main one.
	runtime.LockOSThread()
}

// Main runs the tests of a package inside the lab: it is to be called by
// TestMain. The first call re-executes the test binary in fresh namespaces; the
// second, inside, starts the control plane, hands it to use, and runs the tests.
func Main(m *testing.M, use func(*ControlPlane)) int {
	directory := os.Getenv(insideVariable)
	if directory == "" {
		return enter("ip")
	}
	if err := setUpNetwork(); err != nil {
		return fail(err)
	}
	plane, err := Start(directory, os.Getenv(planeVariable), loopback())
	if err != nil {
		return fail(err)
	}
	use(plane)
	code := m.Run()
	if code != 0 {
		fmt.Fprint(os.Stderr, plane.logTails())
	}
	plane.Close()
	return code
}

// MainAtHome is Main for stories that need a network: in a homelab.
func MainAtHome(m *testing.M, use func(*Home)) int {
	if os.Getenv(podVariable) != "" {
		return fail(servePod(os.Getenv(podVariable)))
	}
	directory := os.Getenv(insideVariable)
	if directory == "" {
		return enter("ip", "bridge", "nft")
	}
	g := homeGround()
	home, err := newHome(g)
	if err != nil {
		return fail(err)
	}
	plane, err := Start(directory, os.Getenv(planeVariable), g)
	if err != nil {
		return fail(err)
	}
	defer plane.Close()
	defer home.close()
	if err := home.furnish(plane); err != nil {
		return fail(err)
	}
	use(home)
	code := m.Run()
	if code != 0 {
		fmt.Fprint(os.Stderr, plane.logTails(), home.logTails())
	}
	return code
}

// enter runs this very test binary again, inside, and waits for it.
func enter(tools ...string) int {
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return skipAll(fmt.Sprintf("the command %s is missing (packages iproute2 and nftables)", tool))
		}
	}
	binary, err := controlPlaneBinary()
	if err != nil {
		return fail(err)
	}
	directory, err := os.MkdirTemp("", "sluice-lab-")
	if err != nil {
		return fail(err)
	}
	self, err := os.Executable()
	if err != nil {
		return fail(err)
	}
	// Ctrl-C reaches both; the inner one says what becomes of it. Not Ignore,
	// which the inner one would inherit.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	inner := exec.Command(self, os.Args[1:]...)
	inner.Env = append(os.Environ(), insideVariable+"="+directory, planeVariable+"="+binary)
	inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
	inner.SysProcAttr = namespaces()

	err = inner.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		// Logs of a green run tell nothing.
		_ = os.RemoveAll(directory)
		return 0
	case errors.As(err, &exit):
		fmt.Fprintln(os.Stderr, "lab: logs are kept in", directory)
		return max(exit.ExitCode(), 1)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC):
		_ = os.RemoveAll(directory)
		return skipAll(fmt.Sprintf("namespaces are not permitted here (%v); run as root", err))
	default:
		return fail(err)
	}
}

// namespaces asks for a network that nobody else sees, and for a PID namespace,
// whose processes the kernel kills together with the first of them.
func namespaces() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attributes
}

// controlPlaneBinary is the one given, or one built beside the tests: go build
// leaves an output alone that is up to date, so only the first run pays.
func controlPlaneBinary() (string, error) {
	if given := os.Getenv(planeVariable); given != "" {
		return filepath.Abs(given)
	}
	root, err := above("go.mod")
	if err != nil {
		return "", err
	}
	output := filepath.Join(root, "bin", "controlplane")
	fmt.Fprintln(os.Stderr, "lab: building the control plane (minutes when cold; set", planeVariable, "to use a built one)")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", output, "sluice.test/cluster/cmd/controlplane")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	return output, build.Run()
}

// above is the nearest directory, from the current one upwards, with a file.
func above(file string) (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for directory := start; ; directory = filepath.Dir(directory) {
		if _, err := os.Stat(filepath.Join(directory, file)); err == nil {
			return directory, nil
		}
		if directory == filepath.Dir(directory) {
			return "", fmt.Errorf("no %s in %s or above", file, start)
		}
	}
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "lab:", err)
	return 1
}

// skipAll leaves out the whole run, so loudly that nobody takes it for a pass.
func skipAll(reason string) int {
	fmt.Fprintf(os.Stderr, "\n######## NOT TESTED: the cluster tests did not run: %s ########\n\n", reason)
	if os.Getenv(requireVariable) != "" {
		return 1
	}
	return 0
}

// skip leaves out one test, or fails it where skips are forbidden.
func skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(requireVariable) != "" {
		t.Fatalf("NOT TESTED, and %s forbids that: %s", requireVariable, reason)
	}
	t.Skipf("######## NOT TESTED: %s ########", reason)
}
