package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// upgradeProtocol is what ServeHTTP switches to on /upgrade: echo, after the
// name on a line of its own. It stands for websockets, without their framing.
const upgradeProtocol = "lab-echo"

// Backend is a server behind an address of the lab.
type Backend struct {
	// Name is what it answers.
	Name  string
	close func() error
}

// Close stops it, its connections too.
func (b *Backend) Close() { _ = b.close() }

// ServeHTTP answers every request on address with name; the request's path and
// forwarding headers come back as headers, so that a story can look at them. A
// request that asks for an upgrade gets it. It ends with the test at the latest.
func ServeHTTP(t testing.TB, address, name string) *Backend {
	t.Helper()
	server := &http.Server{Handler: answerWith(name)}
	listener := listen(t, address)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return &Backend{Name: name, close: server.Close}
}

// answerWith is what ServeHTTP serves.
func answerWith(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == upgradeProtocol {
			serveUpgrade(w, name)
			return
		}
		w.Header().Set("Seen-Path", r.URL.Path)
		w.Header().Set("Seen-Host", r.Host)
		w.Header().Set("Seen-From", r.RemoteAddr)
		w.Header().Set("Seen-Forwarded-For", r.Header.Get("X-Forwarded-For"))
		fmt.Fprint(w, name)
	}
}

func serveUpgrade(w http.ResponseWriter, name string) {
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n%s\n", upgradeProtocol, name)
	if buffered.Flush() == nil {
		_, _ = io.Copy(connection, buffered)
	}
}

// ServeEcho greets every connection to address with a line that says name, and
// echoes what comes after.
func ServeEcho(t testing.TB, address, name string) *Backend {
	t.Helper()
	listener := listen(t, address)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer connection.Close()
				if _, err := fmt.Fprintln(connection, name); err == nil {
					_, _ = io.Copy(connection, connection)
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return &Backend{Name: name, close: listener.Close}
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Conversation is a connection to an echo, either raw or upgraded.
type Conversation struct {
	// Greeting is the name of the backend at the other end.
	Greeting string

	connection net.Conn
	reader     *bufio.Reader
}

// Close hangs up.
func (c *Conversation) Close() { _ = c.connection.Close() }

// Echo says a line and wants it back.
func (c *Conversation) Echo(line string) error {
	if err := c.connection.SetDeadline(deadline()); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c.connection, line); err != nil {
		return err
	}
	back, err := c.reader.ReadString('\n')
	if err != nil {
		return err
	}
	if back != line+"\n" {
		return fmt.Errorf("said %q, heard %q", line, back)
	}
	return nil
}
