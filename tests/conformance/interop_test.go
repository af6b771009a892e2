package conformance

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
)

// cases of https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md
// that need nothing of a cloud.
var cases = []string{
	"empty_unary",
	"large_unary",
	"client_streaming",
	"server_streaming",
	"ping_pong",
	"empty_stream",
	"timeout_on_sleeping_server",
	"cancel_after_begin",
	"cancel_after_first_response",
	"status_code_and_message",
	"special_status_message",
	"custom_metadata",
	"unimplemented_method",
	"unimplemented_service",
	"rpc_soak",
	"channel_soak",
}

// Each case of gRPC's interop suite passes, whatever is spoken on either side.
func TestGRPCInterop(t *testing.T) {
	for _, way := range []struct {
		name           string
		client, server bool
		protocol       string
	}{
		{"h2c to h2c", false, false, "protocol: grpc"},
		{"TLS to h2c", true, false, "protocol: grpc"},
		{"TLS to TLS", true, true, "protocol: grpc, tls: {ca: %s, name: " + host + "}"},
	} {
		t.Run(way.name, func(t *testing.T) {
			port := freePort(t)
			arguments := []string{fmt.Sprintf("-port=%d", port)}
			protocol := way.protocol
			if way.server {
				own := certificate(t)
				arguments = append(arguments, "-use_tls", "-tls_cert_file="+own.cert, "-tls_key_file="+own.key)
				protocol = fmt.Sprintf(way.protocol, own.ca)
			}
			start(t, tool(t, "server"), arguments...)
			await(t, port)
			e := startEdge(t, fmt.Sprintf(`{%s, backends: ["127.0.0.1:%d"]}`, protocol, port))
			for _, name := range cases {
				t.Run(name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					arguments := []string{"-server_host=127.0.0.1", "-test_case=" + name, "-soak_iterations=20"}
					if way.client {
						arguments = append(arguments, fmt.Sprintf("-server_port=%d", e.https),
							"-use_tls", "-use_test_ca", "-ca_file="+e.ca, "-server_host_override="+host)
					} else {
						arguments = append(arguments, fmt.Sprintf("-server_port=%d", e.http))
					}
					said, err := exec.CommandContext(ctx, tool(t, "client"), arguments...).CombinedOutput()
					if err != nil {
						t.Errorf("%s\n%s", err, tail(string(said)))
					}
				})
			}
		})
	}
}
