package graph

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	vswitch "vswitch/switch"
)

// exchange is one request and its reply, with %s for the two addresses.
type exchange struct {
	set            cover.Set
	request, reply string
	only           int // 4 or 6: of one family; 0: of both
}

// tested are exchanges of all kinds. The client's port is one of Linux's.
var tested = []exchange{
	{ports(policy.TCP, policy.Ports{From: 80, To: 80}), "%s:40000 > %s:80 tcp S", "%s:80 > %s:40000 tcp SA ack=1", 0},
	{ports(policy.TCP, policy.Ports{From: 5432, To: 5432}), "%s:40000 > %s:5432 tcp S", "%s:5432 > %s:40000 tcp SA ack=1", 0},
	{ports(policy.UDP, policy.Ports{From: 53, To: 53}), "%s:40000 > %s:53 udp len=8", "%s:53 > %s:40000 udp len=8", 0},
	{icmp(policy.ICMP, 8), "%s > %s icmp echo-request id=7", "%s > %s icmp echo-reply id=7", 4},
	{icmp(policy.ICMPv6, 128), "%s > %s icmpv6 echo-request id=7", "%s > %s icmpv6 echo-reply id=7", 6},
	{cover.Of(policy.Service{Protocol: 47}), "%s > %s proto 47 len=8", "%s > %s proto 47 len=8", 0},
}

func drawService(t *rapid.T, list string) policy.Service {
	services := []policy.Service{
		policy.AllTraffic,
		{Protocol: policy.TCP, Ports: policy.AllPorts},
		{Protocol: policy.TCP, Ports: policy.Ports{From: 80, To: 80}},
		{Protocol: policy.TCP, Ports: policy.Ports{From: 1024, To: 65535}},
		{Protocol: policy.UDP, Ports: policy.AllPorts},
		{Protocol: policy.UDP, Ports: policy.Ports{From: 53, To: 53}},
		{Protocol: policy.UDP, Ports: policy.Ports{From: 1024, To: 65535}},
		{Protocol: policy.ICMP, Type: policy.AnyICMP, Code: policy.AnyICMP},
		{Protocol: policy.ICMP, Type: 8, Code: policy.AnyICMP},
		{Protocol: policy.ICMP, Type: 0, Code: policy.AnyICMP},
		{Protocol: policy.ICMPv6, Type: policy.AnyICMP, Code: policy.AnyICMP},
		{Protocol: 47},
	}
	return rapid.SampledFrom(services).Draw(t, list)
}

// drawBlock draws a block of the family that a service needs.
func drawBlock(t *rapid.T, s policy.Service) netip.Prefix {
	v4 := []string{"0.0.0.0/0", "10.0.1.0/24", "10.0.2.0/24", "10.0.1.10/32", "10.0.2.11/32"}
	v6 := []string{"::/0", "fd00:0:0:1::/64", "fd00:0:0:2::10/128"}
	blocks := append(v4, v6...)
	switch s.Protocol {
	case policy.ICMP:
		blocks = v4
	case policy.ICMPv6:
		blocks = v6
	}
	return netip.MustParsePrefix(rapid.SampledFrom(blocks).Draw(t, "block"))
}

// drawVPC draws a VPC of two subnets with two instances each.
func drawVPC(t *rapid.T) vswitch.Config {
	c := vswitch.Config{VPC: vswitch.VPC{Name: "vst-graph", CIDR: netip.MustParsePrefix("10.0.0.0/16"), CIDR6: netip.MustParsePrefix("fd00::/56")}}
	names := []string{"g", "h"}
	for _, g := range names {
		group := vswitch.SecurityGroup{Name: g, Ingress: []vswitch.SecurityGroupRule{}, Egress: []vswitch.SecurityGroupRule{}}
		for _, list := range []*[]vswitch.SecurityGroupRule{&group.Ingress, &group.Egress} {
			seen := map[string]bool{}
			for range rapid.IntRange(0, 4).Draw(t, "rules") {
				r := vswitch.SecurityGroupRule{Service: drawService(t, "service")}
				switch r.Peer = (vswitch.Peer{Prefix: drawBlock(t, r.Service)}); rapid.IntRange(0, 4).Draw(t, "peer") {
				case 0, 1:
					r.Peer = vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: rapid.SampledFrom(names).Draw(t, "group")}
				case 2:
					r.Peer = vswitch.Peer{Kind: vswitch.PeerInternet}
				}
				if key := r.Service.String() + r.Peer.String(); !seen[key] {
					seen[key] = true
					*list = append(*list, r)
				}
			}
		}
		c.SecurityGroups = append(c.SecurityGroups, group)
	}
	for i, s := range []string{"a", "b"} {
		subnet := vswitch.Subnet{Name: s, CIDR: netip.MustParsePrefix(fmt.Sprintf("10.0.%d.0/24", i+1)), CIDR6: netip.MustParsePrefix(fmt.Sprintf("fd00:0:0:%d::/64", i+1))}
		if rapid.Bool().Draw(t, "nacl") {
			subnet.NetworkACL = s
			c.NetworkACLs = append(c.NetworkACLs, drawACL(t, s))
		}
		c.Subnets = append(c.Subnets, subnet)
		for n := 10; n <= 11; n++ {
			c.Instances = append(c.Instances, vswitch.Instance{
				Name: fmt.Sprintf("%s%d", s, n), Subnet: s, IP: netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i+1, n)), IP6: netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%d::%d", i+1, n)),
				SecurityGroups: rapid.SampledFrom([][]string{{"g"}, {"h"}, {"g", "h"}}).Draw(t, "groups"),
			})
		}
	}
	if n := rapid.IntRange(-4, 3).Draw(t, "appliance"); n >= 0 {
		target := vswitch.Target{Kind: vswitch.TargetInstance, Name: c.Instances[n].Name}
		c.RouteTables = []vswitch.RouteTable{{Name: "r", Routes: []vswitch.Route{{Destination: netip.MustParsePrefix("10.0.2.0/24"), Target: target}}}}
		c.Subnets[0].RouteTable = "r"
	}
	return c
}

func drawACL(t *rapid.T, name string) vswitch.NetworkACL {
	a := vswitch.NetworkACL{Name: name}
	for _, list := range []*[]vswitch.NetworkACLEntry{&a.Ingress, &a.Egress} {
		for n := range rapid.IntRange(0, 5).Draw(t, "entries") {
			e := vswitch.NetworkACLEntry{Number: n + 1, Action: policy.Verdict(min(1, rapid.IntRange(0, 3).Draw(t, "action"))), Service: drawService(t, "entry")}
			e.CIDR = drawBlock(t, e.Service)
			*list = append(*list, e)
		}
	}
	return a
}

// What becomes of a request is what becomes of its packets in a switch: the graph
// computes with sets, but by the same rules.
func becomes(t *rapid.T) {
	r, err := vswitch.NewRehearsal(drawVPC(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cfg := r.Config()
	talk := newTalk(cfg)
	for i := range cfg.Instances {
		for j := range cfg.Instances {
			from, to := &talk.parties[i], &talk.parties[j]
			if i == j {
				continue
			}
			for _, pair := range [][2]netip.Addr{{from.IP, to.IP}, {from.IP6, to.IP6}} {
				if talk.route(from, to, pair[1]).via+talk.route(to, from, pair[0]).via != "" {
					continue // what the appliance does with it, no packet of theirs tells
				}
				out := map[outcome]cover.Set{}
				talk.family(from, to, pair[0], pair[1], func(o outcome, set cover.Set) { out[o] = out[o].Union(set) })
				for _, e := range tested {
					if e.only == 4 && pair[0].Is6() || e.only == 6 && pair[0].Is4() {
						continue
					}
					got := ""
					for o, set := range out {
						if set.Overlaps(e.set) {
							got += string(o.verdict)
						}
					}
					r.Forget()
					if want := fate(t, r, from, to, pair, e); got != want {
						t.Fatalf("%s to %s: "+e.request+": got %q, want %q", from.Name, to.Name, pair[0], pair[1], got, want)
					}
				}
			}
		}
	}
}

// fate sends an exchange: "" if the security groups deny the request.
func fate(t *rapid.T, r *vswitch.Rehearsal, from, to *party, pair [2]netip.Addr, e exchange) string {
	request := send(t, r, from.Name, to.Name, e.request, pair[0], pair[1])
	switch request {
	case policy.None:
	case policy.SGEgress, policy.SGIngress:
		return ""
	default:
		// Whether the receiver's group would allow it, the packet does not tell.
		talk := newTalk(r.Config())
		direct := !talk.route(from, to, pair[1]).dropped
		if talk.allowed(to, policy.Ingress, from, pair[0], direct).Overlaps(e.set) {
			return string(Denied)
		}
		return ""
	}
	if reply := send(t, r, to.Name, from.Name, e.reply, pair[1], pair[0]); reply != policy.None {
		return string(NoReply)
	}
	return string(Allow)
}

// send returns why a packet is dropped.
func send(t *rapid.T, r *vswitch.Rehearsal, from, to, text string, src, dst netip.Addr) policy.Reason {
	a, okA := r.Interface(from)
	b, okB := r.Interface(to)
	if !okA || !okB {
		t.Fatalf("no interface of %s or %s", from, to)
	}
	mac := a.RouterMAC
	if a.Subnet == b.Subnet {
		mac = b.MAC
	}
	trace, err := r.Send(from, bytesOf(t, a.MAC, mac, fmt.Sprintf(text, bracket(src, text), bracket(dst, text))))
	if err != nil {
		t.Fatal(err)
	}
	return trace.Reason()
}

// bracket writes an IPv6 address that a port follows.
func bracket(a netip.Addr, text string) string {
	if a.Is6() && text[2] == ':' {
		return "[" + a.String() + "]"
	}
	return a.String()
}

func bytesOf(t *rapid.T, src, dst wire.MAC, text string) []byte {
	f, err := wiretest.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	f.SrcMAC, f.DstMAC = src, dst
	return f.Bytes()
}

func TestEdgesAreWhatPacketsMeet(t *testing.T) { rapid.Check(t, becomes) }

func FuzzEdgesAreWhatPacketsMeet(f *testing.F) { f.Fuzz(rapid.MakeFuzz(becomes)) }
