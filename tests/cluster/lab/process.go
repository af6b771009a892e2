package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a child that writes its output to a file. It never outlives the
// test: Main puts the test into a PID namespace of its own, and the kernel
// kills all of that namespace when the test dies, however it dies.
type process struct {
	name    string
	command *exec.Cmd
	logPath string
	exited  chan struct{} // closed when the child is gone
	result  error         // why; valid once exited is closed
}

// startProcess starts a child with more in its environment, whose output is
// appended to logPath, so that the log of a restarted process reads on from the
// one before.
func startProcess(name, logPath, binary string, environment []string, arguments ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()

	command := exec.Command(binary, arguments...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), environment...)
	// A group of its own: Ctrl-C reaches the test alone, and kill reaches the
	// children of the child too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, command: command, logPath: logPath, exited: make(chan struct{})}
	go func() {
		p.result = command.Wait()
		close(p.exited)
	}()
	return p, nil
}

// signalGroup reaches the process and all it started.
func (p *process) signalGroup(signal syscall.Signal) {
	// The only possible failure is that nobody is left to hear it.
	_ = syscall.Kill(-p.command.Process.Pid, signal)
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	p.signalGroup(syscall.SIGKILL)
	<-p.exited
}

// stop asks with SIGTERM, and insists with SIGKILL once patience is over. It
// reports how the process ended.
func (p *process) stop(patience time.Duration) error {
	p.signalGroup(syscall.SIGTERM)
	select {
	case <-p.exited:
		return p.result
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s did not stop within %v of SIGTERM", p.name, patience)
	}
}

// running is nil as long as the process runs.
func (p *process) running() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s has ended: %v", p.name, p.result)
	default:
		return nil
	}
}

// tail is the end of the log, for a failed test.
func (p *process) tail(lines int) string {
	content, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return fmt.Sprintf("--- end of %s ---\n%s\n", p.logPath, strings.Join(all[max(0, len(all)-lines):], "\n"))
}
