package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// requestTimeout is far above what any answer inside one machine takes.
const requestTimeout = 5 * time.Second

func deadline() time.Time { return time.Now().Add(requestTimeout) }

// Answer is what came back for a request.
type Answer struct {
	Status int
	Body   string
	Header http.Header
}

func (a Answer) String() string { return fmt.Sprintf("%d %q", a.Status, a.Body) }

// Get asks address for path with the Host header host, on a new connection.
// Redirects are answers.
func Get(address, host, path string) (Answer, error) {
	return get(newTransport(direct, address, nil), "http", host, path)
}

// Get is Get from inside a space.
func (s *Space) Get(address, host, path string) (Answer, error) {
	return get(newTransport(s.DialContext, address, nil), "http", host, path)
}

// GetTLS is Get over TLS with host as the server name; the certificate must
// verify against the authority.
func GetTLS(address, host, path string, authority *Authority) (Answer, error) {
	return get(newTransport(direct, address, clientTLS(host, authority)), "https", host, path)
}

// Certificate is the certificate served on address to clients that ask for
// host. It is verified by nobody.
func Certificate(address, host string) (*x509.Certificate, error) {
	dialer := &net.Dialer{Deadline: deadline()}
	connection, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0], nil
}

func clientTLS(host string, authority *Authority) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	return &tls.Config{ServerName: host, RootCAs: roots}
}

// dial opens a connection to an address; net.Dialer's and Space's DialContext do.
type dial func(ctx context.Context, network, address string) (net.Conn, error)

var direct dial = (&net.Dialer{}).DialContext

// newTransport dials address whatever the URL says, and keeps no connection.
func newTransport(open dial, address string, config *tls.Config) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   config,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return open(ctx, network, address)
		},
	}
}

func get(transport *http.Transport, scheme, host, path string) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+path, nil)
	if err != nil {
		return Answer{}, err
	}
	// RoundTrip rather than a Client: redirects are not followed.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return Answer{Status: response.StatusCode, Body: string(body), Header: response.Header}, err
}

// DialEcho opens a conversation with the raw echo at address.
func DialEcho(address string) (*Conversation, error) {
	return dialEcho(direct, address)
}

// DialEcho is DialEcho from inside a space.
func (s *Space) DialEcho(address string) (*Conversation, error) {
	return dialEcho(s.DialContext, address)
}

func dialEcho(open dial, address string) (*Conversation, error) {
	connection, err := openTCP(open, address)
	if err != nil {
		return nil, err
	}
	return converse(connection, bufio.NewReader(connection))
}

// DialUpgrade opens a conversation through an HTTP upgrade.
func DialUpgrade(address, host string) (*Conversation, error) {
	return dialUpgrade(direct, address, host)
}

// DialUpgrade is DialUpgrade from inside a space.
func (s *Space) DialUpgrade(address, host string) (*Conversation, error) {
	return dialUpgrade(s.DialContext, address, host)
}

func dialUpgrade(open dial, address, host string) (*Conversation, error) {
	connection, err := openTCP(open, address)
	if err != nil {
		return nil, err
	}
	return upgrade(connection, host)
}

func openTCP(open dial, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return open(ctx, "tcp", address)
}

// DialUpgradeTLS is DialUpgrade over TLS. It tells the served certificate too.
func DialUpgradeTLS(address, host string, authority *Authority) (*Conversation, *x509.Certificate, error) {
	config := clientTLS(host, authority)
	config.NextProtos = []string{"http/1.1"} // upgrades are of HTTP/1.1
	connection, err := tls.DialWithDialer(&net.Dialer{Deadline: deadline()}, "tcp", address, config)
	if err != nil {
		return nil, nil, err
	}
	conversation, err := upgrade(connection, host)
	return conversation, connection.ConnectionState().PeerCertificates[0], err
}

func upgrade(connection net.Conn, host string) (*Conversation, error) {
	if err := connection.SetDeadline(deadline()); err != nil {
		return nil, err
	}
	fmt.Fprintf(connection, "GET /upgrade HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", host, upgradeProtocol)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		connection.Close()
		return nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		connection.Close()
		return nil, fmt.Errorf("asked for an upgrade, got %s", response.Status)
	}
	return converse(connection, reader)
}

// converse reads the greeting.
func converse(connection net.Conn, reader *bufio.Reader) (*Conversation, error) {
	err := connection.SetDeadline(deadline())
	var greeting string
	if err == nil {
		greeting, err = reader.ReadString('\n')
	}
	if err != nil {
		connection.Close()
		return nil, err
	}
	return &Conversation{Greeting: greeting[:len(greeting)-1], connection: connection, reader: reader}, nil
}

// Traffic is requests at a steady rate.
type Traffic struct {
	stop, stopped chan struct{}

	mutex    sync.Mutex
	sent     int
	failures []error
}

// Flow sends perSecond requests a second, each on a new connection and whether
// or not the ones before were answered, until Stop or the end of the test. An
// answer other than 200 is a failure.
func Flow(t testing.TB, perSecond int, address, host, path string) *Traffic {
	t.Helper()
	f := &Traffic{stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(f.stopped)
		ticker := time.NewTicker(time.Second / time.Duration(perSecond))
		defer ticker.Stop()
		var underway sync.WaitGroup
		defer underway.Wait()
		for {
			select {
			case <-f.stop:
				return
			case <-ticker.C:
				underway.Go(func() { f.record(Get(address, host, path)) })
			}
		}
	}()
	t.Cleanup(func() { f.Stop() })
	return f
}

func (f *Traffic) record(answer Answer, err error) {
	if err == nil && answer.Status != http.StatusOK {
		err = fmt.Errorf("answered %s", answer)
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.sent++
	if err != nil {
		f.failures = append(f.failures, fmt.Errorf("request %d: %w", f.sent, err))
	}
}

// Sent is how many requests have ended so far.
func (f *Traffic) Sent() int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.sent
}

// Stop ends the traffic, waits for the last answers, and tells what happened.
func (f *Traffic) Stop() (sent int, failures []error) {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	<-f.stopped
	return f.sent, f.failures
}
