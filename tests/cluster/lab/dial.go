package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DialContext dials an IPv4 address and port, over "tcp" or "udp", from inside.
// A socket belongs to the namespace it is made in, wherever it is used: so one
// thread inside makes them all, and waiting for connections takes none.
func (s *Space) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, fmt.Errorf("dial %s %s from %s: %w", network, address, s.Name, err)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(err)
	}
	kind := unix.SOCK_STREAM
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	descriptor, err := s.socket(kind)
	if err != nil {
		return fail(err)
	}
	err = unix.Connect(descriptor, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	// Only now: an unconnected socket would look as if its connection had ended.
	file := os.NewFile(uintptr(descriptor), address)
	defer file.Close()
	if err == unix.EINPROGRESS {
		err = awaitConnect(ctx, file)
	}
	if err != nil {
		return fail(err)
	}
	return net.FileConn(file)
}

// awaitConnect waits until a connect that is in progress has ended.
func awaitConnect(ctx context.Context, file *os.File) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var result error
	err = raw.Write(func(descriptor uintptr) (ended bool) {
		code, err := unix.GetsockoptInt(int(descriptor), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err != nil {
			result = err
			return true
		}
		_, err = unix.Getpeername(int(descriptor))
		return err == nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return result
}

// socket makes a socket inside, on the thread that stays there.
func (s *Space) socket(kind int) (descriptor int, err error) {
	s.begin.Do(func() {
		s.orders = make(chan func())
		go func() {
			if err := s.Run(func() error {
				for order := range s.orders {
					order()
				}
				return nil
			}); err != nil {
				panic(err) // it was entered before, to make its loopback
			}
		}()
	})
	done := make(chan struct{})
	s.orders <- func() {
		descriptor, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		close(done)
	}
	<-done
	return descriptor, err
}
