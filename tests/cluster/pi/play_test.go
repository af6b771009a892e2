package pi

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"sluice.test/cluster/lab"
)

// TestPlay keeps a homelab up with a sluice beside the router, until Ctrl-C.
func TestPlay(t *testing.T) {
	if os.Getenv("LAB_PLAY") == "" {
		t.Skip("for people; make lab runs it")
	}
	interrupted, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	startSluice(t, home.Edge, lab.HomeEdge, "auto")
	for _, port := range []int{80, 443} {
		home.Forward(t, "tcp", port, lab.HomeEdge, port)
	}
	on, err := home.WriteDoor()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(on)
	example, err := filepath.Abs("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf(`
The homelab stands: client - router - switch - edge (sluice), pi-1 ... pi-4. Ctrl-C takes it down.

  kubeconfig   %[2]s
  a shell      %[1]s PLACE COMMAND...   (PLACE: client router edge lan pi-1 ... pi-4)

  %[1]s lan kubectl apply -f %[3]s
  %[1]s lan kubectl get pods,services,ingresses -o wide
  %[1]s client curl -si -H 'Host: hello.example.test' http://%[4]s/
  %[1]s edge curl -s http://127.0.0.1:9650/api/v1/backends
  %[1]s lan kubectl rollout restart deployment hello
  %[1]s lan ip link set pi-2 down     (pulls a node's cable; up puts it back)
  %[1]s pi-1 nft list ruleset

`, on, home.Plane.Kubeconfig, example, lab.HomePublic)
	<-interrupted.Done()
}
