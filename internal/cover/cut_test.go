package cover_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"vswitch/internal/cover"
	"vswitch/internal/policy"
)

func TestCut(t *testing.T) {
	tcp := func(from, to uint16) cover.Set {
		return cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: from, To: to}})
	}
	edges := cover.EdgesOf(tcp(80, 80), tcp(0, 1023)).Join(cover.EdgesOf(tcp(100, 65535)), cover.EdgesOf())
	for _, c := range []struct {
		set  cover.Set
		want []string
	}{
		{tcp(0, 65535), []string{"tcp 0-79", "tcp 80", "tcp 81-99", "tcp 100-1023", "tcp 1024-65535"}},
		{tcp(80, 80), []string{"tcp 80"}},
		{tcp(22, 90).Union(tcp(1023, 1024)), []string{"tcp 22-79", "tcp 80", "tcp 81-90", "tcp 1023", "tcp 1024"}},
		{nil, nil},
	} {
		var got []string
		for _, part := range c.set.Cut(edges) {
			got = append(got, part.Words()...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.set.Words(), got, c.want)
		}
	}
}

// The parts are the whole, and no set whose edges they were cut at divides one.
func TestCutPartsAreUndivided(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	random := func() cover.Set {
		at := uint16(r.Uint32())
		switch r.IntN(4) {
		case 0:
			return cover.Of(policy.Service{Protocol: policy.ICMP, Type: int16(r.IntN(256)), Code: policy.AnyICMP})
		case 1:
			return cover.Of(policy.Service{Protocol: policy.ICMP, Type: policy.AnyICMP, Code: int16(r.IntN(256))})
		case 2:
			return cover.Of(policy.Service{Protocol: policy.Protocol(r.IntN(256)), Ports: policy.AllPorts})
		}
		return cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: at / 2, To: at}})
	}
	for range 200 {
		sets := []cover.Set{random(), random(), random()}
		whole := random().Union(random())
		var sum cover.Set
		for _, part := range whole.Cut(cover.EdgesOf(sets...)) {
			if sum.Overlaps(part) {
				t.Fatalf("part %v is there twice", part.Words())
			}
			sum = sum.Union(part)
			for _, s := range sets {
				if s.Overlaps(part) && !s.Contains(part) {
					t.Fatalf("%v divides the part %v", s.Words(), part.Words())
				}
			}
		}
		if !sum.Equal(whole) {
			t.Fatalf("the parts of %v are %v", whole.Words(), sum.Words())
		}
	}
}

func TestFill(t *testing.T) {
	tcp := func(from, to uint16) cover.Set {
		return cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: from, To: to}})
	}
	holes := tcp(10, 19).Union(tcp(30, 39)).Union(cover.Of(policy.Service{})).Union(cover.Of(policy.Service{Protocol: 255}))
	for _, c := range []struct{ set, want cover.Set }{
		{tcp(0, 9).Union(tcp(20, 29)), tcp(0, 29)},
		{tcp(0, 9).Union(tcp(21, 29)), tcp(0, 9).Union(tcp(21, 29))},
		{tcp(20, 29), tcp(20, 29)},
		{cover.Of(policy.Service{Protocol: 254}), cover.Of(policy.Service{Protocol: 254})},
		{nil, nil},
	} {
		if got := c.set.Fill(holes); !got.Equal(c.want) {
			t.Errorf("%v: got %v, want %v", c.set.Words(), got.Words(), c.want.Words())
		}
	}
}

func TestFirstAndLastKind(t *testing.T) {
	s := cover.Of(policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: 22, To: 80}}).
		Union(cover.Of(policy.Service{Protocol: policy.ICMPv6, Type: 3, Code: 1}))
	if got, want := s.First(), (cover.Kind{Protocol: policy.TCP, Port: 22}); got != want {
		t.Errorf("first: got %+v, want %+v", got, want)
	}
	if got, want := s.Last(), (cover.Kind{Protocol: policy.ICMPv6, Type: 3, Code: 1}); got != want {
		t.Errorf("last: got %+v, want %+v", got, want)
	}
}
