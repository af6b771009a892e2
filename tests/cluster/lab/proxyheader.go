package lab

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// proxySignature begins a PROXY header of version 2.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// readProxyHeader reads a PROXY header of either version, not a byte more, and
// tells the client's address and port.
func readProxyHeader(from io.Reader) (string, error) {
	// The shortest header of all is longer than the signature.
	start := make([]byte, len(proxySignature))
	if _, err := io.ReadFull(from, start); err != nil {
		return "", err
	}
	if string(start) == proxySignature {
		return readProxyV2(from)
	}
	line := string(start)
	for !strings.HasSuffix(line, "\r\n") {
		next := make([]byte, 1)
		if _, err := io.ReadFull(from, next); err != nil {
			return "", err
		}
		if line += string(next); len(line) > 107 {
			return "", fmt.Errorf("no PROXY header: %q", line)
		}
	}
	// PROXY TCP4 source destination port port
	words := strings.Fields(line)
	if len(words) != 6 || words[0] != "PROXY" || words[1] != "TCP4" {
		return "", fmt.Errorf("no PROXY header of TCP4: %q", line)
	}
	return words[2] + ":" + words[4], nil
}

func readProxyV2(from io.Reader) (string, error) {
	head := make([]byte, 4) // version and command, family, length
	if _, err := io.ReadFull(from, head); err != nil {
		return "", err
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[2:]))
	if _, err := io.ReadFull(from, rest); err != nil {
		return "", err
	}
	if head[0] != 0x21 || head[1] != 0x11 || len(rest) < 12 {
		return "", fmt.Errorf("no PROXY header of TCP over IPv4: % x % x", head, rest)
	}
	source, _ := netip.AddrFromSlice(rest[:4])
	return netip.AddrPortFrom(source, binary.BigEndian.Uint16(rest[8:])).String(), nil
}
