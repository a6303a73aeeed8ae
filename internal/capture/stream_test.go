package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vswitch/internal/goldenfile"
	vswitch "vswitch/switch"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/internal/wire/wiretest"
	"vswitch/port"
)

// A site is a switch with two instances in two subnets, the second behind a network
// ACL: tcp 23 is denied by a rule, tcp 22 allowed, the rest denied by none.
type site struct {
	t     *testing.T
	sw    *vswitch.Switch
	ports map[string]*port.Memory
	now   int64
}

func newSite(t *testing.T, o port.Offloads) *site {
	t.Helper()
	tcp := func(number int, n uint16, action policy.Verdict, line int) vswitch.NetworkACLEntry {
		return vswitch.NetworkACLEntry{Number: number, Action: action, CIDR: netip.MustParsePrefix("0.0.0.0/0"),
			Service: policy.Service{Protocol: policy.TCP, Ports: policy.Ports{From: n, To: n}}, Origin: vswitch.Origin{File: "/home/ann/vpc.toml", Line: line}}
	}
	c := vswitch.Config{
		VPC: vswitch.VPC{Name: "v", CIDR: netip.MustParsePrefix("10.0.0.0/16")},
		Subnets: []vswitch.Subnet{
			{Name: "public", CIDR: netip.MustParsePrefix("10.0.1.0/24")},
			{Name: "private", CIDR: netip.MustParsePrefix("10.0.2.0/24"), NetworkACL: "private"},
		},
		NetworkACLs: []vswitch.NetworkACL{{Name: "private", Ingress: []vswitch.NetworkACLEntry{tcp(90, 23, policy.Deny, 7), tcp(100, 22, policy.Allow, 8)}}},
		SecurityGroups: []vswitch.SecurityGroup{{Name: "open", Ingress: []vswitch.SecurityGroupRule{
			{Service: policy.AllTraffic, Peer: vswitch.Peer{Kind: vswitch.PeerInternet}},
		}}},
		Instances: []vswitch.Instance{
			{Name: "web1", Subnet: "public", SecurityGroups: []string{"open"}, IP: netip.MustParseAddr("10.0.1.10")},
			{Name: "db1", Subnet: "private", SecurityGroups: []string{"open"}, IP: netip.MustParseAddr("10.0.2.20")},
		},
	}
	s := &site{t: t, ports: map[string]*port.Memory{}, now: int64(time.Hour)}
	sw, err := vswitch.New(c, vswitch.WithClock(func() int64 { return s.now }), vswitch.WithCapacity(1<<10))
	if err != nil {
		t.Fatal(err)
	}
	s.sw = sw
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"web1", "db1"} {
		s.ports[name] = port.NewMemory(256, o)
		if err := sw.Attach(name, s.ports[name]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// send lets web1 send a frame to the router.
func (s *site) send(text string) {
	s.t.Helper()
	full := s.sw.Config()
	i := full.Interface("web1")
	s.now += int64(time.Millisecond)
	s.ports["web1"].Send(wiretest.Bytes(s.t, i.MAC, i.RouterMAC, text))
	s.sw.Step()
}

// capture returns the file of what is sent while a capture runs.
func (s *site) capture(w vswitch.WatchOptions, o Options, texts ...string) []byte {
	s.t.Helper()
	x, err := s.sw.Watch(w)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, text := range texts {
		s.send(text)
	}
	x.Close()
	var b bytes.Buffer
	o.Application = "test"
	if err := Write(context.Background(), &b, x, o); err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// dump returns a pcapng file in words, a line a block, with the times of packets
// since the one before. It reads what any reader of pcapng may rely on.
func dump(t *testing.T, file []byte) string {
	t.Helper()
	var out strings.Builder
	r := NewReader(bytes.NewReader(file))
	var before uint64
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		le := binary.LittleEndian
		switch b.Type() {
		case blockSection:
			fmt.Fprintf(&out, "section %x %d.%d%s\n", le.Uint32(b[8:]), le.Uint16(b[12:]), le.Uint16(b[14:]), options(t, b[24:len(b)-4]))
		case blockInterface:
			fmt.Fprintf(&out, "interface link %d snap %d%s\n", le.Uint16(b[8:]), le.Uint32(b[12:]), options(t, b[16:len(b)-4]))
		case blockPacket:
			at := uint64(le.Uint32(b[12:]))<<32 | uint64(le.Uint32(b[16:]))
			n := le.Uint32(b[20:])
			var f wire.Frame
			data := append(make([]byte, wire.VirtioSize), b[28:28+n]...)
			what := f.Parse(data, wire.MaxDatagram).String()
			if known, err := wiretest.Decode(data); err == nil {
				what = known.String()
			}
			if before == 0 {
				before = at
			}
			fmt.Fprintf(&out, "packet on %d +%d ns %d of %d bytes: %s%s\n", le.Uint32(b[8:]), at-before, n, le.Uint32(b[24:]), what, options(t, b[28+(n+3)&^3:len(b)-4]))
			before = at
		case blockStatistics:
			fmt.Fprintf(&out, "statistics of %d%s\n", le.Uint32(b[8:]), options(t, b[20:len(b)-4]))
		default:
			t.Fatalf("a block of type %d", b.Type())
		}
	}
}

// options returns options in words: text as it is, numbers in hexadecimal, times
// left out.
func options(t *testing.T, b []byte) (words string) {
	t.Helper()
	for {
		code, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if code == optionEnd {
			if n != 0 || len(b) != 0 {
				t.Fatalf("%d bytes behind the end of the options", len(b))
			}
			return words
		}
		value := b[:n]
		switch {
		case n == 8 && (code == statisticsStart || code == statisticsEnd):
			words += fmt.Sprintf(" %d=time", code)
		case n > 2 && value[n-1] >= ' ' && value[n-1] < 0x7f && value[0] >= ' ':
			words += fmt.Sprintf(" %d=%q", code, value)
		default:
			words += fmt.Sprintf(" %d=%x", code, value)
		}
		b = b[(n+3)&^3:]
	}
}

const (
	allowed = "10.0.1.10:40000 > 10.0.2.20:22 tcp S seq=1 csum=partial"
	telnet  = "10.0.1.10:40000 > 10.0.2.20:23 tcp S seq=1"
	web     = "10.0.1.10:40000 > 10.0.2.20:80 tcp S seq=1"
	nowhere = "10.0.1.10:40000 > 10.0.9.9:80 tcp S seq=1"
	broken  = "10.0.1.10:40000 > 10.0.2.20:22 tcp SF seq=1"
	asks    = "arp who-has 10.0.1.1 tell 10.0.1.10"
)

// TestFile is a whole file: two interfaces, frames that pass, that the platform
// answers, and that are dropped, each with its comment; and one of drops alone.
func TestFile(t *testing.T) {
	all := port.Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true}
	goldenfile.Compare(t, "testdata/file.golden", dump(t, newSite(t, all).capture(vswitch.WatchOptions{}, Options{}, asks, allowed, telnet, web, nowhere, broken)))
	goldenfile.Compare(t, "testdata/dropped.golden", dump(t, newSite(t, all).capture(vswitch.WatchOptions{Instances: []string{"web1"}, Dropped: true, Snap: 40},
		Options{Snap: 40, Filter: "tcp"}, allowed, telnet)))
}

// TestSuperframes: as they are they have the checksum of one long packet, and in
// segments each is complete; either way the receiver gets what its port takes.
func TestSuperframes(t *testing.T) {
	const super = "10.0.1.10:40000 > 10.0.2.20:22 tcp A seq=2 ack=1 win=500 len=3000 gso=1448"
	all := port.Offloads{Checksum: true, TSO4: true, TSO6: true, USO: true}
	goldenfile.Compare(t, "testdata/superframe.golden", dump(t, newSite(t, all).capture(vswitch.WatchOptions{}, Options{}, allowed, super)))
	goldenfile.Compare(t, "testdata/segments.golden", dump(t, newSite(t, all).capture(vswitch.WatchOptions{}, Options{Segments: true, Snap: 1000}, allowed, super)))
	goldenfile.Compare(t, "testdata/cut.golden", dump(t, newSite(t, port.Offloads{}).capture(vswitch.WatchOptions{}, Options{}, allowed, super)))
}

// TestCount: a capture of so many frames has so many, and ends by itself.
func TestCount(t *testing.T) {
	s := newSite(t, port.Offloads{})
	for _, n := range []uint64{1, 3, 4} {
		x, err := s.sw.Watch(vswitch.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			s.send(nowhere)
		}
		var b bytes.Buffer
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // of a capture that misses its end
		err = Write(ctx, &b, x, Options{Count: n})
		if ctx.Err() != nil || err != nil {
			t.Errorf("a capture of %d frames did not end by itself: %v", n, err)
		}
		cancel()
		text := dump(t, b.Bytes())
		if got := strings.Count(text, "\npacket "); got != int(n) || strings.Count(text, "\nstatistics ") != 2 {
			t.Errorf("want %d frames and the counts of 2 ports, got\n%s", n, text)
		}
	}
}

// A watched writer tells of each write.
type watchedWriter struct {
	bytes.Buffer
	wrote chan int // the length so far
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	w.wrote <- w.Len()
	return n, err
}

// TestEnd: the interfaces are written before any frame; a capture ends with its
// context and with its switch, completely; and with its writer.
func TestEnd(t *testing.T) {
	for _, how := range []string{"context", "switch"} {
		s := newSite(t, port.Offloads{})
		x, err := s.sw.Watch(vswitch.WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w := &watchedWriter{wrote: make(chan int, 100)}
		done := make(chan error)
		go func() { done <- Write(ctx, w, x, Options{}) }()
		if n := <-w.wrote; n == 0 {
			t.Error("nothing was written before frames came")
		}
		if how == "context" {
			cancel()
		} else if err := s.sw.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		text := dump(t, w.Bytes())
		if strings.Count(text, "\ninterface ") != 2 || strings.Count(text, "\nstatistics ") != 2 {
			t.Errorf("ended by its %s, the file is\n%s", how, text)
		}
		<-x.Done()
	}
	s := newSite(t, port.Offloads{})
	x, err := s.sw.Watch(vswitch.WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(context.Background(), failing{}, x, Options{}); !errors.Is(err, errFull) {
		t.Errorf("a writer that fails: %v", err)
	}
	<-x.Done()
}

var errFull = errors.New("full")

// failing is a writer on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// TestLosses: what a capture loses is in its file.
func TestLosses(t *testing.T) {
	s := newSite(t, port.Offloads{})
	x, err := s.sw.Watch(vswitch.WatchOptions{Instances: []string{"web1"}, Memory: 1 << 12})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.send(nowhere)
	}
	x.Close()
	var b bytes.Buffer
	if err := Write(context.Background(), &b, x, Options{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(dump(t, b.Bytes()), "\nstatistics "); n != 2 {
		t.Errorf("the losses are told %d times, want once when they are noticed and once in the end", n)
	}
	f, err := NewFiles(filepath.Join(t.TempDir(), "x"), nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	frames, lost, err := f.Copy(&b)
	if err := errors.Join(err, f.Close()); err != nil || frames == 0 || lost == 0 || frames+lost != 100 {
		t.Errorf("%d frames, %d lost, %v", frames, lost, err)
	}
}

// TestRing: each file is complete in itself, the names are tcpdump's, the oldest is
// overwritten, and the newest frames are there.
func TestRing(t *testing.T) {
	frames := make([]string, 40)
	for i := range frames {
		frames[i] = fmt.Sprintf("10.0.1.10:%d > 10.0.9.9:80 tcp S seq=1", 1000+i)
	}
	file := newSite(t, port.Offloads{}).capture(vswitch.WatchOptions{Instances: []string{"web1"}}, Options{}, frames...)
	for _, c := range []struct {
		size  int64
		count int
		want  string // names of the files
		last  string // where the last frame is
	}{
		{0, 0, "x", "x"},
		{1500, 0, "x x1 x2 x3 x4 x5", "x5"},
		{1500, 3, "x0 x1 x2", "x2"},
		{1500, 11, "x00 x01 x02 x03 x04 x05", "x05"},
	} {
		dir := t.TempDir()
		f, err := NewFiles(filepath.Join(dir, "x"), nil, c.size, c.count)
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := f.Copy(bytes.NewReader(file))
		if err := errors.Join(err, f.Close()); err != nil || n != 40 {
			t.Fatalf("%d frames, %v", n, err)
		}
		var got []string
		total := 0
		for _, name := range f.Names() {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			text := dump(t, content)
			base := filepath.Base(name)
			got = append(got, base)
			total += strings.Count(text, "\npacket ")
			if !strings.HasPrefix(text, "section ") || strings.Count(text, "\ninterface ") != 1 {
				t.Errorf("%s begins with\n%.200s", name, text)
			}
			if strings.Contains(text, ":1039 >") != (base == c.last) {
				t.Errorf("the last frame is in %s: %v", base, base != c.last)
			}
		}
		if strings.Join(got, " ") != c.want || total > 40 || (c.count != 3) != (total == 40) {
			t.Errorf("-C %d -W %d: %d frames in %v, want %s", c.size, c.count, total, got, c.want)
		}
	}
}

// FuzzReader: any bytes end in an error, and not in a panic.
func FuzzReader(f *testing.F) {
	var b bytes.Buffer
	w, err := NewWriter(&b, "test")
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(w.Interface(Interface{Name: "a"}), w.Packet(&Packet{Data: make([]byte, 5), Length: 9, Comments: []string{"x"}}), w.Statistics(Statistics{Lost: 7})); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, content []byte) {
		files := Files{name: "-", file: keptOpen{io.Discard}}
		if _, _, err := files.Copy(bytes.NewReader(content)); err == nil && len(content) > 0 && len(content) < 20 {
			t.Errorf("%x is a file", content)
		}
	})
}
