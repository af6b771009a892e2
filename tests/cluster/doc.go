// Package cluster holds the stories that sluice has to get right in front of a
// real Kubernetes API server. README.md says how to run them; package lab is
// what they stand on.
package cluster
