// Package conformance asks others' tests whether sluice speaks HTTP/2 as it is
// written, and carries gRPC as it is meant. README.md says how to run them.
package conformance
