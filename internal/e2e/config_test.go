package e2e

import (
	"fmt"
	"strings"
)

// oneSubnet is the smallest lab in which something may pass and something may
// not: alice may talk to port 9000 of bob, and ping it.
const oneSubnet = `
[vpc]
name = "test"
cidr = "10.8.0.0/16"

[subnet.main]
cidr = "10.8.0.0/24"

[security_group.bob]
ingress = [
  { proto = "tcp", ports = 9000, from = "alice" },
  { proto = "icmp", type = "echo-request", from = "alice" },
]

[instance.alice]
subnet = "main"
ip     = "10.8.0.10"

[instance.bob]
subnet = "main"
ip     = "10.8.0.11"
sg     = ["bob"]
`

// carol is one more instance for oneSubnet.
const carol = `
[instance.carol]
subnet = "main"
ip     = "10.8.0.12"
sg     = ["bob"]
`

// twoSubnets has an instance on either side of a network ACL. The flows from
// left to right are tracked: the rule that admits them names a group, not
// everybody.
const twoSubnets = `
[vpc]
name = "test"
cidr = "10.9.0.0/16"
mtu  = 1500

[subnet.left]
cidr = "10.9.1.0/24"

[subnet.right]
cidr = "10.9.2.0/24"
nacl = "edge"

[nacl.edge]
ingress = [
  { rule = 100, action = "allow", proto = "tcp", from = "10.9.1.0/24" },
]
egress = [
  { rule = 100, action = "allow", proto = "tcp", ports = "1024-65535", to = "10.9.1.0/24" },
]

[security_group.left]

[security_group.right]
ingress = [
  { id = "sgr-echo", proto = "tcp", ports = 9000, from = "sg:left" },
  { id = "sgr-other", proto = "tcp", ports = 9001, from = "sg:left" },
]

[instance.left]
subnet = "left"
ip     = "10.9.1.10"
sg     = ["left"]

[instance.right]
subnet = "right"
ip     = "10.9.2.10"
sg     = ["right"]
`

// many returns a lab of n instances in one subnet, which all may ping each other.
func many(n int) string {
	var b strings.Builder
	b.WriteString("[vpc]\nname = \"test\"\ncidr = \"10.7.0.0/16\"\n\n[subnet.main]\ncidr = \"10.7.0.0/22\"\n")
	for i := range n {
		fmt.Fprintf(&b, "\n[instance.i%d]\nsubnet = \"main\"\n", i)
	}
	return b.String()
}
