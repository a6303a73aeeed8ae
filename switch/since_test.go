package vswitch_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
)

// deliver sends a frame and returns the instance that received it, or "".
func (v *vpc) deliver(from string, src, dst wire.MAC, text string) string {
	v.t.Helper()
	if !v.ports[from].Send(wiretest.Bytes(v.t, src, dst, text)) {
		v.fatalf("the port of %s does not send", from)
	}
	v.sw.Step()
	to := ""
	b := make([]byte, wire.MaxFrame)
	for name, p := range v.ports {
		if _, ok := p.Receive(b); ok {
			to = name
		}
	}
	return to
}

// sinces returns since when each instance is judged as it is.
func (v *vpc) sinces() map[string]uint32 {
	all := map[string]uint32{}
	for _, m := range members {
		all[m.name], _ = v.sw.Since(m.name)
	}
	return all
}

// A change begins a new generation of the interfaces that are judged differently
// after it, and of no others.
func TestSinceFollowsChanges(t *testing.T) {
	everybody := []string{"p1", "a1", "a2", "b1", "b2", "m1"}
	block := netip.MustParsePrefix
	rule := func(p vswitch.Peer) []vswitch.SecurityGroupRule {
		return []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: p}}
	}
	allow := func(number int, origin int) []vswitch.NetworkACLEntry {
		return []vswitch.NetworkACLEntry{{Number: number, Action: policy.Allow, Service: policy.AllTraffic, CIDR: block("0.0.0.0/0"), Origin: vswitch.Origin{File: "f", Line: origin}}}
	}
	for _, c := range []struct {
		name   string
		before func(*vswitch.Config)
		change func(*vswitch.Config)
		want   []string
	}{
		{"nothing", nil, func(*vswitch.Config) {}, nil},
		{"an ingress rule", nil, func(c *vswitch.Config) {
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerInternet})
		}, []string{"b1"}},
		{"an egress rule", nil, func(c *vswitch.Config) {
			c.SecurityGroup("g-a1").Egress = rule(vswitch.Peer{Kind: vswitch.PeerInternet})
		}, []string{"a1"}},
		{"the description of a rule, and where it stands", func(c *vswitch.Config) {
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerInternet})
		}, func(c *vswitch.Config) {
			r := &c.SecurityGroup("g-b1").Ingress[0]
			r.Description, r.Line = "words", 7
		}, nil},
		{"a group that others name as a peer", func(c *vswitch.Config) {
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "g-a1"})
		}, func(c *vswitch.Config) {
			c.SecurityGroup("g-a1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerInternet})
		}, []string{"a1"}},
		{"groups in another order", nil, func(c *vswitch.Config) { slices.Reverse(c.SecurityGroups) }, nil},
		{"another group", nil, func(c *vswitch.Config) {
			c.SecurityGroups = append([]vswitch.SecurityGroup{{Name: "new"}}, c.SecurityGroups...)
		}, nil},
		{"a membership", nil, func(c *vswitch.Config) { c.Instance("a2").SecurityGroups = []string{"g-a2", "g-a1"} }, []string{"a2"}},
		{"the order of memberships", func(c *vswitch.Config) { c.Instance("a2").SecurityGroups = []string{"g-a2", "g-a1"} },
			func(c *vswitch.Config) { c.Instance("a2").SecurityGroups = []string{"g-a1", "g-a2"} }, []string{"a2"}},
		{"a group replaced by its equal", func(c *vswitch.Config) {
			c.SecurityGroups = append(c.SecurityGroups, vswitch.SecurityGroup{Name: "twin"})
		}, func(c *vswitch.Config) { c.Instance("a2").SecurityGroups = []string{"twin"} }, []string{"a2"}},
		{"a prefix list", func(c *vswitch.Config) {
			c.PrefixLists = []vswitch.PrefixList{{Name: "office", CIDRs: []netip.Prefix{block("192.0.2.0/24")}}}
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerPrefixList, Name: "office"})
		}, func(c *vswitch.Config) { c.PrefixLists[0].CIDRs = []netip.Prefix{block("192.0.3.0/24")} }, []string{"b1"}},
		{"a prefix list that nobody names", func(c *vswitch.Config) {
			c.PrefixLists = []vswitch.PrefixList{{Name: "office", CIDRs: []netip.Prefix{block("192.0.2.0/24")}}}
		}, func(c *vswitch.Config) { c.PrefixLists[0].CIDRs = []netip.Prefix{block("192.0.3.0/24")} }, nil},
		{"the address of an instance that a rule names", func(c *vswitch.Config) {
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerInstance, Name: "a1"})
		}, func(c *vswitch.Config) { c.Instance("a1").IP = netip.MustParseAddr("10.0.1.99") }, []string{"a1", "b1"}},
		{"an address more", nil, func(c *vswitch.Config) {
			c.Instance("b2").ExtraIPs = []netip.Addr{netip.MustParseAddr("10.0.2.77")}
		}, []string{"b2"}},
		{"another network ACL", func(c *vswitch.Config) {
			c.NetworkACLs = []vswitch.NetworkACL{{Name: "x", Ingress: allow(1, 1), Egress: allow(1, 1)}}
		}, func(c *vswitch.Config) { c.Subnet("A").NetworkACL = "x" }, []string{"a1", "a2"}},
		{"a network ACL's rule", func(c *vswitch.Config) {
			c.NetworkACLs = []vswitch.NetworkACL{{Name: "x", Ingress: allow(1, 1), Egress: allow(1, 1)}}
			c.Subnet("B").NetworkACL = "x"
		}, func(c *vswitch.Config) { c.NetworkACLs[0].Egress = nil }, []string{"b1", "b2"}},
		{"where a network ACL's rule stands", func(c *vswitch.Config) {
			c.NetworkACLs = []vswitch.NetworkACL{{Name: "x", Ingress: allow(1, 1), Egress: allow(1, 1)}}
			c.Subnet("B").NetworkACL = "x"
		}, func(c *vswitch.Config) { c.NetworkACLs[0].Egress = allow(1, 2) }, nil},
		{"a route", func(c *vswitch.Config) {
			c.RouteTables = []vswitch.RouteTable{{Name: "r"}}
			c.Subnet("A").RouteTable = "r"
		}, func(c *vswitch.Config) {
			c.RouteTables[0].Routes = []vswitch.Route{{Destination: block("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetBlackhole}}}
		}, []string{"a1", "a2"}},
		{"the target of a route", func(c *vswitch.Config) {
			c.RouteTables = []vswitch.RouteTable{{Name: "main", Routes: []vswitch.Route{{Destination: block("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: "m1"}}}}}
		}, func(c *vswitch.Config) {
			c.RouteTables[0].Routes = []vswitch.Route{{Destination: block("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: "p1"}}}
		}, everybody},
		{"where a route stands", func(c *vswitch.Config) {
			c.RouteTables = []vswitch.RouteTable{{Name: "main", Routes: []vswitch.Route{{Destination: block("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetBlackhole}}}}}
		}, func(c *vswitch.Config) {
			c.RouteTables = []vswitch.RouteTable{{Name: "main", Routes: []vswitch.Route{{Destination: block("203.0.113.0/24"), Target: vswitch.Target{Kind: vswitch.TargetBlackhole}, Origin: vswitch.Origin{File: "f", Line: 9}}}}}
		}, nil},
		{"the source/dest check", nil, func(c *vswitch.Config) { c.Instance("m1").DisableSourceDestCheck = true }, []string{"m1"}},
		{"the timeouts of an instance", nil, func(c *vswitch.Config) { c.Instance("m1").Conntrack.UDP = 45 * time.Second }, []string{"m1"}},
		{"strict tracking", nil, func(c *vswitch.Config) { c.Conntrack.Strict = true }, everybody},
		{"the allowance", nil, func(c *vswitch.Config) { c.Conntrack.Max = 9 }, everybody},
		{"the MTU", nil, func(c *vswitch.Config) { c.VPC.MTU = 1500 }, everybody},
		{"a subnet without IPv6", nil, func(c *vswitch.Config) {
			c.Subnet("B").CIDR6 = netip.Prefix{}
			c.Instance("b1").IP6, c.Instance("b2").IP6 = netip.Addr{}, netip.Addr{}
		}, everybody}, // its router has one address less, to which nobody could send
		{"another subnet", nil, func(c *vswitch.Config) {
			c.Subnets = append(c.Subnets, vswitch.Subnet{Name: "new", CIDR: block("10.0.9.0/24")})
		}, everybody}, // its router's address belongs to nobody else any more
		{"a subnet's block", nil, func(c *vswitch.Config) { c.Subnet("A").CIDR = block("10.0.1.0/25") }, []string{"a1", "a2"}},
		{"a subnet's name", nil, func(c *vswitch.Config) {
			c.Subnet("A").Name = "renamed"
			c.Instance("a1").Subnet, c.Instance("a2").Subnet = "renamed", "renamed"
		}, []string{"a1", "a2"}}, // its router has another MAC
		{"the primary block", func(c *vswitch.Config) { c.VPC.CIDRs = []netip.Prefix{block("10.1.0.0/20")} },
			func(c *vswitch.Config) {
				c.VPC.CIDR, c.VPC.CIDRs = block("10.1.0.0/20"), []netip.Prefix{block("10.0.0.0/16")}
			}, everybody},
		{"the peer of a rule that keeps its id", func(c *vswitch.Config) {
			c.SecurityGroup("g-b1").Ingress = rule(vswitch.Peer{Kind: vswitch.PeerSecurityGroup, Name: "g-a1"})
			c.SecurityGroup("g-b1").Ingress[0].ID = "sgr-01234567890123456"
		}, func(c *vswitch.Config) { c.SecurityGroup("g-b1").Ingress[0].Peer.Name = "g-a2" }, []string{"b1"}},
		{"another block of the VPC", nil, func(c *vswitch.Config) { c.VPC.CIDRs = []netip.Prefix{block("10.1.0.0/16")} }, everybody},
		{"another instance", nil, func(c *vswitch.Config) {
			c.Instances = append(c.Instances, vswitch.Instance{Name: "new", Subnet: "A"})
		}, nil},
		{"an instance that moves", nil, func(c *vswitch.Config) {
			in := c.Instance("b2")
			in.Subnet, in.IP, in.IP6 = "P", netip.Addr{}, netip.Addr{}
		}, []string{"b2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVPC(t, 1<<10)
			config := v.config
			if c.before != nil {
				c.before(&config)
				v.must(v.sw.Apply(config, nil))
			}
			before := v.sinces()
			config = cloneConfig(&config)
			for i := range config.SecurityGroups {
				config.SecurityGroups[i].Ingress = slices.Clone(config.SecurityGroups[i].Ingress)
			}
			config.PrefixLists = slices.Clone(config.PrefixLists)
			config.RouteTables = slices.Clone(config.RouteTables)
			c.change(&config)
			v.must(v.sw.Apply(config, nil))
			var got []string
			for _, m := range members {
				if since, _ := v.sw.Since(m.name); since != before[m.name] {
					if since != v.sw.Status().Generation {
						t.Errorf("%s: since %d, which is not now", m.name, since)
					}
					got = append(got, m.name)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("a new generation of %v, want %v", got, c.want)
			}
		})
	}
}

// Ports come and go without a new generation of anybody.
func TestSinceOutlivesDevices(t *testing.T) {
	v := newVPC(t, 1<<10)
	before := v.sinces()
	v.must(v.sw.Detach("b1"))
	v.must(v.sw.Attach("b1", &treadmill{}))
	for name, since := range v.sinces() {
		if since != before[name] {
			t.Errorf("%s: since %d, want %d", name, since, before[name])
		}
	}
}

// As long as neither interface of a packet has a new generation, the verdict on it
// is the same: random packets in random VPCs, before and after random changes.
func TestSinceIsTrue(t *testing.T) {
	seen := &tally{}
	kept, allowed := 0, 0
	for seed := range uint64(120) {
		w := newWorld(seed, seen, false)
		packets := w.randomPackets(150)
		for range 12 {
			sw := w.twins[0].sw
			type verdict struct {
				to string
				r  policy.Reason
			}
			before, since := make([]verdict, len(packets)), map[string]uint32{}
			for i, p := range packets {
				if since[p.from], _ = sw.Since(p.from); since[p.from] != 0 {
					before[i].to, before[i].r = sw.Judge(p.from, p.bytes)
				}
			}
			for _, in := range w.config.Instances {
				since[in.Name], _ = sw.Since(in.Name)
			}
			w.change()
			if w.mismatch != "" {
				t.Fatalf("seed %d: %s", seed, w.mismatch)
			}
			stays := func(name string) bool {
				now, ok := sw.Since(name)
				return ok && now == since[name]
			}
			for i, p := range packets {
				// An entry is only ever made for what is allowed.
				if before[i].to == "" || !stays(p.from) || !stays(before[i].to) {
					continue
				}
				kept++
				if to, r := sw.Judge(p.from, p.bytes); to != before[i].to || r != policy.None {
					t.Fatalf("seed %d: %s sends %x: it went to %s, and now to %q (%s), but neither has a new generation\n%s",
						seed, p.from, p.bytes, before[i].to, to, r, w.report())
				}
			}
			for _, b := range before {
				if b.to != "" {
					allowed++
				}
			}
		}
		w.close()
	}
	if kept < 5000 || allowed-kept < 500 {
		t.Errorf("of %d packets that were allowed, the interfaces of %d kept their generations: that tests little", allowed, kept)
	}
}

// A packet that an instance sends.
type packet struct {
	from  string
	bytes []byte
}

// randomPackets returns packets between the instances of a world, to the router's
// MAC or to a neighbour's.
func (w *world) randomPackets(n int) []packet {
	var packets []packet
	c := w.twins[0].sw.Config()
	for len(packets) < n {
		t := w.newTalk()
		f := w.say(t, 0)
		w.finishFrame(f)
		from, other := c.Interface(t.ends[0].name), c.Interface(t.ends[1].name)
		f.SrcMAC, f.DstMAC = from.MAC, from.RouterMAC
		if w.one(3) {
			f.DstMAC = other.MAC
		}
		packets = append(packets, packet{t.ends[0].name, f.Bytes()})
	}
	return packets
}

// A hundred reloads cost no frame, and no flow its entry unless its own rules
// changed.
func TestReloadsKeepFlows(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	frame := func() {
		t.Helper()
		a1 := v.iface("a1")
		if to := v.deliver("a1", a1.MAC, a1.RouterMAC, "10.0.1.10:5000 > 10.0.2.20:53 udp len=10"); to != "b1" {
			t.Fatalf("delivered to %q", to)
		}
	}
	frame()
	frame()
	before := v.sw.Status().FlowCache
	for i := range 100 {
		v.authorize("m1", "in", []string{"tcp", itoa(1 + i%50), "10.0.1.0/24"})
		if i%10 == 0 {
			v.config.SecurityGroup("g-m1").Ingress = nil
		}
		v.dirty = true
		v.apply()
		frame()
	}
	after := v.sw.Status()
	if hits, misses := after.FlowCache.Hits-before.Hits, after.FlowCache.Misses-before.Misses; hits != 100 || misses != 0 {
		t.Errorf("%d hits and %d misses in 100 frames with a reload before each", hits, misses)
	}
	v.authorize("b1", "in", []string{"tcp", "9999", "10.0.1.0/24"})
	v.apply()
	frame()
	if n := v.sw.Status().FlowCache.Misses - after.FlowCache.Misses; n != 1 {
		t.Errorf("%d misses after a change of the receiver's group, want 1", n)
	}
	v.config.SecurityGroup("g-a1").Egress = []vswitch.SecurityGroupRule{{Service: policy.AllTraffic, Peer: vswitch.Peer{Kind: vswitch.PeerInternet}}}
	v.dirty = true
	v.apply()
	frame()
	if n := v.sw.Status().FlowCache.Misses - after.FlowCache.Misses; n != 2 {
		t.Errorf("%d misses after a change of the sender's group too, want 2", n)
	}
}

// An entry whose receiver has gone is worth nothing.
func TestEntryOfRemovedInstance(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	a1 := v.iface("a1")
	const text = "10.0.1.10:5000 > 10.0.2.20:53 udp len=10"
	for range 2 {
		if to := v.deliver("a1", a1.MAC, a1.RouterMAC, text); to != "b1" {
			t.Fatalf("delivered to %q", to)
		}
	}
	v.config.Instances = slices.DeleteFunc(slices.Clone(v.config.Instances), func(in vswitch.Instance) bool { return in.Name == "b1" })
	v.must(v.sw.Apply(v.config, nil))
	delete(v.ports, "b1")
	if to := v.deliver("a1", a1.MAC, a1.RouterMAC, text); to != "" {
		t.Errorf("delivered to %q", to)
	}
	if st := v.sw.Status(); st.Panics != 0 || st.Totals.Drops[policy.Unassigned] != 1 {
		t.Errorf("%d panics, %d drops as %s; want none and 1", st.Panics, st.Totals.Drops[policy.Unassigned], policy.Unassigned)
	}
}

// When the number of generations begins anew, nothing that was remembered counts.
func TestGenerationsBeginAnew(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.open()
	v.sw.LastGeneration()
	a1 := v.iface("a1")
	const text = "10.0.1.10:5000 > 10.0.2.20:53 udp len=10"
	for range 2 {
		if to := v.deliver("a1", a1.MAC, a1.RouterMAC, text); to != "b1" {
			t.Fatalf("delivered to %q", to)
		}
	}
	before := v.sw.Status()
	if before.FlowCache.Hits == 0 {
		t.Fatal("no hit")
	}
	v.must(v.sw.Apply(v.config, nil))
	if to := v.deliver("a1", a1.MAC, a1.RouterMAC, text); to != "b1" {
		t.Fatalf("delivered to %q", to)
	}
	after := v.sw.Status()
	v.deliver("a1", a1.MAC, a1.RouterMAC, text)
	if v.sw.Status().FlowCache.Hits == after.FlowCache.Hits {
		t.Error("nothing is remembered from then on")
	}
	if after.Generation != 1 || after.FlowCache.Hits != before.FlowCache.Hits || after.FlowCache.Used != 1 {
		t.Errorf("generation %d, %d more hits, %d entries used; want 1, none and 1", after.Generation, after.FlowCache.Hits-before.FlowCache.Hits, after.FlowCache.Used)
	}
}
