package cover_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
)

// ports returns the service of a range of TCP ports.
func ports(from, to uint16) policy.Service {
	return policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: from, To: to}}
}

// icmp returns the service of an ICMP type and code.
func icmp(typ, code int16) policy.Service {
	return policy.Service{Protocol: policy.ICMP, Type: typ, Code: code}
}

// A kind is one kind of packet.
type kind struct {
	protocol  uint8
	port      uint16
	typ, code uint8
}

// set returns the set of that kind alone.
func (k kind) set() cover.Set {
	s := policy.Service{Protocol: policy.Protocol(k.protocol)}
	if s.Protocol.HasPorts() {
		s.Ports = policy.Ports{From: k.port, To: k.port}
	}
	if s.Protocol.HasTypes() {
		s.Type, s.Code = int16(k.typ), int16(k.code)
	}
	return cover.Of(s)
}

// kinds are enough kinds of packets to tell apart all sets that drawService
// makes: every value that it names, and its neighbours.
var kinds = func() []kind {
	var all []kind
	for _, p := range []uint8{0, 2, 5, 7, 16, 18, 47, 57, 59, 255} {
		all = append(all, kind{protocol: p})
	}
	for _, p := range []uint8{6, 17} {
		for _, port := range []uint16{0, 1, 2, 3, 4, 5, 6, 7, 8, 65534, 65535} {
			all = append(all, kind{protocol: p, port: port})
		}
	}
	for _, p := range []uint8{1, 58} {
		for _, typ := range []uint8{0, 1, 2, 3, 255} {
			for _, code := range []uint8{0, 1, 2, 255} {
				all = append(all, kind{protocol: p, typ: typ, code: code})
			}
		}
	}
	return all
}()

// drawService draws a service whose bounds lie among kinds.
func drawService(t *rapid.T) policy.Service {
	s := policy.Service{Protocol: rapid.SampledFrom([]policy.Protocol{policy.AllProtocols, policy.TCP, policy.UDP, policy.ICMP, policy.ICMPv6, 2, 47}).Draw(t, "protocol")}
	switch {
	case s.Protocol.HasPorts():
		bounds := rapid.SliceOfN(rapid.SampledFrom([]uint16{0, 1, 3, 4, 5, 7, 65535}), 2, 2).Draw(t, "ports")
		slices.Sort(bounds)
		s.Ports = policy.Ports{From: bounds[0], To: bounds[1]}
	case s.Protocol.HasTypes():
		s.Type = rapid.SampledFrom([]int16{policy.AnyICMP, 0, 1, 2}).Draw(t, "type")
		s.Code = rapid.SampledFrom([]int16{policy.AnyICMP, 0, 1}).Draw(t, "code")
	}
	return s
}

// Of is Service.Contains.
func TestSetOfAService(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawService(t)
		for _, k := range kinds {
			if got, want := cover.Of(s).Overlaps(k.set()), s.Contains(k.protocol, k.port, k.typ, k.code); got != want {
				t.Fatalf("%s has %+v: got %v, want %v", s, k, got, want)
			}
		}
	})
	for _, s := range []policy.Service{ports(2, 1), icmp(256, 0), icmp(0, 256), {Protocol: 256}, {Protocol: -2}} {
		if !cover.Of(s).Empty() {
			t.Errorf("%+v: got %v, want nothing", s, cover.Of(s))
		}
	}
}

// The operations do what they say to every kind of packet, and their results are
// in the one form that Equal compares.
func TestSetOperations(t *testing.T) {
	draw := func(t *rapid.T) cover.Set {
		var s cover.Set
		for range rapid.IntRange(0, 4).Draw(t, "services") {
			if rapid.Bool().Draw(t, "remove") {
				s = s.Minus(cover.Of(drawService(t)))
			} else {
				s = s.Union(cover.Of(drawService(t)))
			}
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw(t), draw(t)
		both, either, rest := a.Intersect(b), a.Union(b), a.Minus(b)
		contains := true
		for _, k := range kinds {
			inA, inB := a.Overlaps(k.set()), b.Overlaps(k.set())
			contains = contains && (inA || !inB)
			for _, c := range []struct {
				name      string
				set       cover.Set
				has, want bool
			}{
				{"intersect", both, both.Contains(k.set()), inA && inB},
				{"union", either, either.Contains(k.set()), inA || inB},
				{"minus", rest, rest.Contains(k.set()), inA && !inB},
			} {
				if c.has != c.want {
					t.Fatalf("%s of %v and %v: %+v is in it: %v, want %v", c.name, a.Words(), b.Words(), k, c.has, c.want)
				}
			}
		}
		if a.Contains(b) != contains {
			t.Fatalf("%v contains %v: got %v, want %v", a.Words(), b.Words(), a.Contains(b), contains)
		}
		if !rest.Union(both).Equal(a) || a.Overlaps(b) == both.Empty() {
			t.Fatalf("%v and %v: what both have and what one has do not add up", a.Words(), b.Words())
		}
	})
}

func TestWords(t *testing.T) {
	of := func(services ...policy.Service) cover.Set {
		var s cover.Set
		for _, service := range services {
			s = s.Union(cover.Of(service))
		}
		return s
	}
	for _, c := range []struct {
		set  cover.Set
		want string
	}{
		{nil, ""},
		{cover.All(), "all"},
		{of(ports(443, 443), ports(8080, 8090)), "tcp 443, tcp 8080-8090"},
		{of(ports(0, 65535)), "tcp"},
		{of(icmp(8, policy.AnyICMP), icmp(3, 4)), "icmp destination-unreachable/4, icmp echo-request"},
		{of(icmp(-1, -1), policy.Service{Protocol: 47}), "icmp, 47"},
		{of(policy.Service{Protocol: 2}, policy.Service{Protocol: 3}), "protocols 2-3"},
		{cover.All().Minus(of(ports(22, 22))), "0, icmp, protocols 2-5, tcp 0-21, tcp 23-65535, protocols 7-16, udp, protocols 18-57, icmpv6, protocols 59-255"},
		{of(ports(65535, 65535), policy.Service{Protocol: 7}), "tcp 65535, 7"},
	} {
		if got := strings.Join(c.set.Words(), ", "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
