package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Space is a network namespace: a host with a network of its own. It has a name
// for people only: to the kernel it lives as long as somebody holds its
// descriptor or runs in it, so that nothing is left behind however a run ends.
type Space struct {
	// Name is what logs call it.
	Name string

	link *os.File

	begin  sync.Once
	orders chan func() // for the thread inside that makes sockets
}

// newSpace makes a namespace whose loopback is up.
func newSpace(name string) (*Space, error) {
	s := &Space{Name: name}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		s.link, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("a network namespace for %s: %w", name, err)
	}
	return s, s.ip("link set lo up")
}

// spaceHere is the namespace that this process is in.
func spaceHere(name string) (*Space, error) {
	link, err := os.Open("/proc/self/ns/net")
	return &Space{Name: name, link: link}, err
}

// Run does work inside: sockets that it opens and processes that it starts are
// there, and stay there. It must not start goroutines that open more.
func (s *Space) Run(work func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(s.link.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %s: %w", s.Name, err)
		}
		return work()
	})
}

// onThread does work on a thread that ends with it, whatever it did to itself.
func onThread(work func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the runtime ends the thread with the goroutine.
		runtime.LockOSThread()
		done <- work()
	}()
	return <-done
}

// start starts a process inside.
func (s *Space) start(name, logPath, binary string, environment []string, arguments ...string) (started *process, err error) {
	err = s.Run(func() (err error) {
		started, err = startProcess(name, logPath, binary, environment, arguments...)
		return err
	})
	return started, err
}

// ip does what `ip` does for each of the lines.
func (s *Space) ip(lines ...string) error { return s.feed(lines, "ip", "-batch", "-") }

// bridge does what `bridge` does for each of the lines.
func (s *Space) bridge(lines ...string) error { return s.feed(lines, "bridge", "-batch", "-") }

// nft loads rules, all or none.
func (s *Space) nft(rules string) error { return s.feed([]string{rules}, "nft", "-f", "-") }

func (s *Space) feed(lines []string, command ...string) error {
	return s.Run(func() error {
		tool := exec.Command(command[0], command[1:]...)
		tool.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
		var said bytes.Buffer
		tool.Stdout, tool.Stderr = &said, &said
		if err := tool.Run(); err != nil {
			return fmt.Errorf("%s in %s: %w: %s", command[0], s.Name, err, strings.TrimSpace(said.String()))
		}
		return nil
	})
}

// sysctl sets a variable of the namespace, such as net/ipv4/ip_forward.
func (s *Space) sysctl(name, value string) error {
	return s.Run(func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644) })
}

// path is where other processes find it, those outside of the lab too: /proc is
// that of the host, and so are the numbers in it.
func (s *Space) path() string {
	self, err := os.Readlink("/proc/self")
	if err != nil {
		self = "self"
	}
	return fmt.Sprintf("/proc/%s/fd/%d", self, s.link.Fd())
}

// close lets go of it; the kernel removes it with the last process inside.
func (s *Space) close() {
	s.begin.Do(func() {}) // no thread from now on
	if s.orders != nil {
		close(s.orders)
	}
	_ = s.link.Close()
}
