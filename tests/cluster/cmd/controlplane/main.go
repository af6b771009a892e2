// Command controlplane is the control plane of a Kubernetes cluster in one
// binary: etcd, kube-apiserver and kube-controller-manager, each the released
// code of its own project, taken as a Go module. One binary because the three
// share most of their packages, which halves both the build and the link.
//
//	controlplane etcd        --data DIR --client URL --peer URL
//	controlplane apiserver   …flags of kube-apiserver
//	controlplane controllers …flags of kube-controller-manager
//
// Each subcommand is a process of its own, so that a test can kill one with
// SIGKILL and start it again on the same port and data.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	kubeapiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kubecontrollermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	part, flags := os.Args[1], os.Args[2:]
	switch part {
	case "etcd":
		if err := runEtcd(flags); err != nil {
			fmt.Fprintln(os.Stderr, "etcd:", err)
			os.Exit(1)
		}
	case "apiserver":
		runCommand(kubeapiserver.NewAPIServerCommand(), flags)
	case "controllers":
		runCommand(kubecontrollermanager.NewControllerManagerCommand(), flags)
	default:
		usage()
	}
}

func runCommand(command *cobra.Command, flags []string) {
	command.SetArgs(flags)
	os.Exit(cli.Run(command))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|apiserver|controllers FLAGS")
	os.Exit(2)
}
