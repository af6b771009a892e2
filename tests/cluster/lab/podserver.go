package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// podVariable makes of this program the only process of a pod; it says which.
const podVariable = "LAB_POD"

// The names of container ports that do not speak HTTP.
const (
	portEcho    = "echo"    // TCP: greets with the pod's name, then echoes
	portProxied = "proxied" // TCP: wants a PROXY header, and greets with the client's address besides
	portUDP     = "udp"     // UDP: answers with the pod's name before what was said
)

// podOrder is what the pod serves: its name, and its ports by what they speak.
type podOrder struct {
	Name  string
	Ports []podPort
}

type podPort struct {
	Speaks string // "http" or a name from above
	Number int32
}

// servePod is the program of a pod. When it is asked to stop it behaves as
// servers should: it takes no new connections, closes idle ones, and ends when
// the others have.
func servePod(order string) error {
	var pod podOrder
	if err := json.Unmarshal([]byte(order), &pod); err != nil {
		return fmt.Errorf("%s: %w", podVariable, err)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	var open sync.WaitGroup // conversations
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Done()
		answerWith(pod.Name)(w, r)
	})}
	var closers []io.Closer
	for _, port := range pod.Ports {
		address := fmt.Sprintf(":%d", port.Number)
		if port.Speaks == portUDP {
			socket, err := net.ListenPacket("udp4", address)
			if err != nil {
				return err
			}
			closers = append(closers, socket)
			go answerDatagrams(socket, pod.Name)
			continue
		}
		listener, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		if port.Speaks == "http" {
			go func() { _ = server.Serve(listener) }()
			continue
		}
		closers = append(closers, listener)
		go acceptEach(listener, &open, func(connection net.Conn) { greet(connection, pod.Name, port.Speaks == portProxied) })
	}
	<-stop.Done()
	for _, one := range closers {
		_ = one.Close()
	}
	// Whoever stays is killed by the kubelet.
	err := server.Shutdown(context.Background())
	open.Wait()
	if err == nil {
		os.Exit(0)
	}
	return err
}

func acceptEach(listener net.Listener, open *sync.WaitGroup, each func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return // closed
		}
		open.Go(func() {
			defer connection.Close()
			each(connection)
		})
	}
}

// greet says who serves, and whom if a PROXY header tells, and echoes.
func greet(connection net.Conn, name string, proxied bool) {
	greeting := name
	if proxied {
		client, err := readProxyHeader(connection)
		if err != nil {
			client = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		greeting += " " + client
	}
	if _, err := fmt.Fprintln(connection, greeting); err == nil {
		_, _ = io.Copy(connection, connection)
	}
}

func answerDatagrams(socket net.PacketConn, name string) {
	buffer := make([]byte, 2048)
	for {
		length, client, err := socket.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		_, _ = socket.WriteTo(append([]byte(name+" "), buffer[:length]...), client)
	}
}
