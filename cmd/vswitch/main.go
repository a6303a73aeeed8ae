// Command vswitch runs a VPC of network namespaces on this machine: the daemon
// that forwards, and the commands that talk to it.
package main

import "os"

func main() {
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
