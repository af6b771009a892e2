// Command controlplane is the control plane of a Kubernetes cluster in one
// binary, and what its nodes run for Services: etcd, kube-apiserver,
// kube-controller-manager and kube-proxy, each the released code of its own
// project, taken as a Go module. One binary because they share most of their
// packages, which halves both the build and the link.
//
//	controlplane etcd        --data DIR --client URL --peer URL
//	controlplane apiserver   …flags of kube-apiserver
//	controlplane controllers …flags of kube-controller-manager
//	controlplane proxy       …flags of kube-proxy
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
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
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
	case "proxy":
		runCommand(kubeproxy.NewProxyCommand(), flags)
	default:
		usage()
	}
}

func runCommand(command *cobra.Command, flags []string) {
	command.SetArgs(flags)
	os.Exit(cli.Run(command))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: controlplane etcd|apiserver|controllers|proxy FLAGS")
	os.Exit(2)
}
