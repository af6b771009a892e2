package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WriteDoor writes a script by which people outside run a command on a host of
// the homelab for as long as it stands, and returns its path:
//
//	on client curl http://203.0.113.1/
//
// The lab's kubeconfig is in its environment.
func (h *Home) WriteDoor() (string, error) {
	var places strings.Builder
	for _, space := range h.spaces() {
		fmt.Fprintf(&places, "%s) net=%s ;;\n", space.Name, space.path())
	}
	// Without root the lab stands in a user namespace, which comes first.
	user := ""
	if self, err := os.Readlink("/proc/self"); err == nil && inUserNamespace() {
		user = fmt.Sprintf("--user=/proc/%s/ns/user --preserve-credentials ", self)
	}
	root, err := above("go.mod")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "on")
	script := fmt.Sprintf(`#!/bin/sh
# on PLACE COMMAND...: runs a command on a host of the lab that stands now.
export KUBECONFIG=%s
case "$1" in
%s*) echo "on PLACE COMMAND..., where PLACE is one of: %s" >&2; exit 2 ;;
esac
shift
exec nsenter %s--net="$net" "$@"
`, h.Plane.Kubeconfig, places.String(), strings.Join(h.names(), " "), user)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(script), 0o755)
}

func (h *Home) spaces() []*Space {
	all := []*Space{h.Client, h.Router, h.Edge, h.lan}
	for _, node := range h.Nodes {
		all = append(all, node.Space)
	}
	return all
}

func (h *Home) names() (names []string) {
	for _, space := range h.spaces() {
		names = append(names, space.Name)
	}
	return names
}

// inUserNamespace tells whether the lab is root of its own making only.
func inUserNamespace() bool {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && len(strings.Fields(string(mapping))) == 3 && strings.Fields(string(mapping))[2] != "4294967295"
}
