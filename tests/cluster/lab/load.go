package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// closeEvery is how many requests a connection of a Load serves: enough of them
// are kept, and enough of them are new.
const closeEvery = 10

// mostUnderway is how many requests of a Load may wait at once: enough for all
// that hang while a node is lost. What is above it fails, so that a lab which
// hangs as a whole ends in a report.
const mostUnderway = 2000

var errCrowded = errors.New("not sent: too many wait for their answers")

// Load is GETs at a steady rate, whether or not the ones before were answered,
// on connections that are kept for some requests, as browsers do. It sends
// nothing twice: what is lost counts as failed.
type Load struct {
	open          func() (net.Conn, error)
	request       string
	patience      time.Duration
	stop, stopped chan struct{}

	mutex   sync.Mutex
	idle    []*kept
	samples []Sample
}

// Sample is one request of a Load.
type Sample struct {
	// At is when it was to be sent, Took the time until the whole answer or the
	// failure.
	At   time.Time
	Took time.Duration
	// Err says what went wrong; an answer other than 200 is wrong too.
	Err error
}

type kept struct {
	net.Conn
	reader *bufio.Reader
	served int
}

// Load begins to send perSecond requests a second from inside, until Stop or
// the end of the test. A request may take as long as patience.
func (s *Space) Load(t testing.TB, perSecond int, address, host, path string, patience time.Duration) *Load {
	t.Helper()
	l := &Load{
		open: func() (net.Conn, error) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return s.DialContext(ctx, "tcp", address)
		},
		request:  fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host),
		patience: patience,
		stop:     make(chan struct{}), stopped: make(chan struct{}),
	}
	go l.send(time.Second / time.Duration(perSecond))
	t.Cleanup(func() { l.Stop() })
	return l
}

func (l *Load) send(every time.Duration) {
	defer close(l.stopped)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var underway sync.WaitGroup
	defer underway.Wait()
	room := make(chan struct{}, mostUnderway)
	// A ticker drops ticks when the machine is busy; the rate is kept all the same.
	for next := time.Now(); ; {
		select {
		case <-l.stop:
			return
		case now := <-ticker.C:
			for ; next.Before(now); next = next.Add(every) {
				select {
				case room <- struct{}{}:
				default:
					l.record(now, errCrowded)
					continue
				}
				underway.Go(func() {
					l.record(now, l.once())
					<-room
				})
			}
		}
	}
}

// once sends one request and reads its answer.
func (l *Load) once() (err error) {
	connection, err := l.take()
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if keep {
			l.mutex.Lock()
			defer l.mutex.Unlock()
			l.idle = append(l.idle, connection)
		} else {
			connection.Close()
		}
	}()
	if err := connection.SetDeadline(time.Now().Add(l.patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(connection, l.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(connection.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	connection.served++
	keep = !response.Close && connection.served < closeEvery
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d %q", response.StatusCode, body)
	}
	return nil
}

func (l *Load) take() (*kept, error) {
	l.mutex.Lock()
	if last := len(l.idle) - 1; last >= 0 {
		defer l.mutex.Unlock()
		connection := l.idle[last]
		l.idle = l.idle[:last]
		return connection, nil
	}
	l.mutex.Unlock()
	connection, err := l.open()
	if err != nil {
		return nil, err
	}
	return &kept{Conn: connection, reader: bufio.NewReader(connection)}, nil
}

func (l *Load) record(at time.Time, err error) {
	sample := Sample{At: at, Took: time.Since(at), Err: err}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.samples = append(l.samples, sample)
}

// Done is how many requests have ended so far.
func (l *Load) Done() int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.samples)
}

// Stop ends the load, waits for the last answers, and tells all that happened,
// the oldest first.
func (l *Load) Stop() []Sample {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	<-l.stopped
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, connection := range l.idle {
		connection.Close()
	}
	l.idle = nil
	slices.SortFunc(l.samples, func(a, b Sample) int { return a.At.Compare(b.At) })
	return l.samples
}

// Failures are the samples that went wrong.
func Failures(samples []Sample) (failed []Sample) {
	for _, one := range samples {
		if one.Err != nil {
			failed = append(failed, one)
		}
	}
	return failed
}
