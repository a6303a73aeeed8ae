package port

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

func TestOpenTAPRefusesBadArguments(t *testing.T) {
	cases := []struct {
		name   string
		queues int
		want   string
	}{
		{"", 1, "name is empty"},
		{"vst-port-sixteen", 1, "at most 15"},
		{".", 1, "reserved"},
		{"..", 1, "reserved"},
		{"vst/0", 1, `'/'`},
		{"vst:0", 1, `':'`},
		{"vst%d", 1, `'%'`},
		{"vst 0", 1, `' '`},
		{"vst\t0", 1, `'\t'`},
		{"vst\x000", 1, `'\x00'`},
		{"vst\x7f", 1, `'\x7f'`},
		{"vst-port-0", 0, "1 to 255"},
		{"vst-port-0", -1, "1 to 255"},
		{"vst-port-0", 256, "1 to 255"},
	}
	for _, c := range cases { // all refused before the kernel is asked: no root needed
		taps, err := OpenTAP(c.name, c.queues)
		if err == nil || taps != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("OpenTAP(%q, %d) = %v, %v, want an error with %q", c.name, c.queues, taps, err, c.want)
		}
	}
}

func TestOpenTAPLongestNameAndMostQueues(t *testing.T) {
	isolate(t)
	const name = "vst-port-fiftee"
	taps := openUp(t, name, maxQueues)
	if len(taps) != maxQueues || taps[0].Name() != name {
		t.Fatalf("%d queues of %q, want %d of %q", len(taps), taps[0].Name(), maxQueues, name)
	}
	vm := newInstance(t, name)
	if s := taps[maxQueues-1].Write(experimental(100, 1)); s != OK {
		t.Errorf("Write on the last queue: %v", s)
	}
	vm.receive(t)
}

func TestOpenTAPRefusesANameInUse(t *testing.T) {
	isolate(t)
	first := openUp(t, "vst-port-0", 1)[0]
	vm := newInstance(t, "vst-port-0")
	persistent := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "vst-port-1"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_MULTI_QUEUE_DEFAULTS, Queues: 1}
	if err := netlink.LinkAdd(persistent); err != nil {
		t.Fatal(err)
	}
	for _, fd := range persistent.Fds {
		fd.Close()
	}

	// Ours, an administrator's persistent TAP, and a link of another kind.
	for _, name := range []string{"vst-port-0", "vst-port-1", "lo"} {
		taps, err := OpenTAP(name, 1)
		if !errors.Is(err, unix.EBUSY) || taps != nil {
			t.Errorf("OpenTAP(%q) = %v, %v, want EBUSY", name, taps, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "tap "+name+": ") || !strings.Contains(err.Error(), "choose another name") {
			t.Errorf("OpenTAP(%q): %v: names no remedy", name, err)
		}
		link(t, name) // it is still there, persistent or not
	}
	vm.send(t, experimental(100, 1)) // and the first one has lost no flow
	read(t, first)
}

// A thread without CAP_NET_ADMIN, which is not root either.
func TestOpenTAPWithoutRights(t *testing.T) {
	isolate(t)
	keep := ^uintptr(0)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, keep, 65534, keep); errno != 0 { // of this thread alone
		t.Fatal(errno)
	}
	taps, err := OpenTAP("vst-port-0", 1)
	if !errors.Is(err, os.ErrPermission) || taps != nil {
		t.Fatalf("OpenTAP = %v, %v, want a permission error", taps, err)
	}
	if !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("%v: does not say which right is missing", err)
	}
}

// A machine without the device node, played in a mount namespace of the test's.
func TestOpenTAPWithoutTheDriver(t *testing.T) {
	isolate(t)
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("vst-port-empty", "/dev/net", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	taps, err := OpenTAP("vst-port-0", 1)
	if !errors.Is(err, os.ErrNotExist) || taps != nil {
		t.Fatalf("OpenTAP = %v, %v, want ENOENT", taps, err)
	}
	if !strings.Contains(err.Error(), "modprobe tun") || !strings.Contains(err.Error(), "mknod") {
		t.Errorf("%v: names no remedy", err)
	}
}

// However few descriptors are left, and so whichever step fails: the error says
// so, no descriptor leaks and no link stays.
func TestOpenTAPOutOfDescriptors(t *testing.T) {
	isolate(t)
	warmUp(t)
	const queues = 2
	for spare := 0; ; spare++ {
		before := len(descriptors())
		var taps []*TAP
		var err error
		withSpareDescriptors(t, spare, func() { taps, err = OpenTAP("vst-port-0", queues) })
		if err == nil {
			for _, tap := range taps {
				tap.Close()
			}
			// The bootstrap descriptor, or later the queue before; water's and its duplicate.
			if spare < 3 {
				t.Errorf("OpenTAP needed only %d descriptors: the test has not seen each step fail", spare)
			}
			return
		}
		if spare > 10 {
			t.Fatalf("with %d descriptors to spare: %v", spare, err)
		}
		if !errors.Is(err, unix.EMFILE) || !strings.Contains(err.Error(), "ulimit -n") {
			t.Errorf("with %d descriptors to spare: %v, want EMFILE and a remedy", spare, err)
		}
		if after := len(descriptors()); after != before {
			t.Errorf("with %d descriptors to spare: %d are open, %d were before", spare, after, before)
		}
		if _, err := netlink.LinkByName("vst-port-0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
			t.Errorf("with %d descriptors to spare: the link is there afterwards (%v)", spare, err)
		}
	}
}

// withSpareDescriptors calls f while the process can open no more than spare
// descriptors.
func withSpareDescriptors(t *testing.T, spare int, f func()) {
	t.Helper()
	highest := 0
	for fd := range descriptors() {
		highest = max(highest, fd)
	}
	var fill []int // every number below highest, and spare more
	for last := -1; last < highest+spare; {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fill, last = append(fill, fd), fd
	}
	defer func() {
		for _, fd := range fill {
			unix.Close(fd)
		}
	}()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	tight := limit
	tight.Cur = uint64(fill[len(fill)-1] + 1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	for range spare {
		unix.Close(fill[len(fill)-1])
		fill = fill[:len(fill)-1]
	}
	f()
}

// warmUp lets the runtime open what it keeps for itself (its poller), so that
// descriptors can be counted.
func warmUp(t *testing.T) {
	t.Helper()
	taps, err := OpenTAP("vst-port-warm", 1)
	if err != nil {
		t.Fatal(err)
	}
	taps[0].Close()
}

func TestOpenTAPKeepsOneDescriptorAQueue(t *testing.T) {
	isolate(t)
	warmUp(t)
	before, watched := len(descriptors()), polled(t)
	for _, queues := range []int{1, 2, 5} {
		taps, err := OpenTAP("vst-port-0", queues)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(descriptors()) - before; got != queues {
			t.Errorf("%d queues hold %d descriptors", queues, got)
		}
		if got := polled(t); got != watched {
			t.Errorf("%d queues: the runtime's poller watches %d descriptors, %d before: queues must leave it", queues, got, watched)
		}
		for _, tap := range taps {
			flags, err := unix.FcntlInt(uintptr(tap.FD()), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("descriptor %d has flags %#x, %v: want O_NONBLOCK", tap.FD(), flags, err)
			}
			if err := tap.Close(); err != nil {
				t.Error(err)
			}
		}
		if got := len(descriptors()); got != before {
			t.Errorf("after Close %d descriptors are open, %d were before", got, before)
		}
		if _, err := netlink.LinkByName("vst-port-0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
			t.Errorf("the link is there after its last queue was closed (%v)", err)
		}
	}
}

// Children started at any moment, also amid OpenTAP, have no queue, with which
// the interface would outlive us.
func TestOpenTAPChildrenInheritNothing(t *testing.T) {
	isolate(t)
	openUp(t, "vst-port-0", 1)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { // opens and closes without a pause, in a namespace of its own
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			var taps []*TAP
			taps, err = OpenTAP(fmt.Sprintf("vst-port-1%d", i), 2)
			for _, tap := range taps {
				tap.Close()
			}
		}
		stopped <- err
	}()
	for range 200 { // at any moment at which a fork is possible
		syscall.ForkLock.Lock()
		for fd, what := range descriptors() {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if what == devNetTun && err == nil && flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("descriptor %d would be inherited by a child forked now", fd)
			}
		}
		syscall.ForkLock.Unlock()
	}
	for range 10 {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err != nil || strings.Contains(string(out), devNetTun) || !strings.Contains(string(out), "/proc/") {
			t.Errorf("a child has these descriptors, want none of %s: %v\n%s", devNetTun, err, out)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A neighbour is a second network namespace, alive until end is called and its
// thread has ended.
type neighbour struct {
	run chan func() error // what is to run in the namespace
	ran chan error
	tid int
}

// newNeighbour makes a namespace with a thread in it.
func newNeighbour(t *testing.T) *neighbour {
	t.Helper()
	n := &neighbour{run: make(chan func() error), ran: make(chan error)}
	go n.live()
	if err := <-n.ran; err != nil {
		t.Fatalf("unshare: %v", err)
	}
	t.Cleanup(n.end)
	return n
}

// live is the neighbour's goroutine. It never unlocks its thread, which so ends with
// it. The process's first thread would not: while this one is kept from it, another
// goroutine gets another thread.
func (n *neighbour) live() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			n.live()
		}()
		<-ended
		runtime.UnlockOSThread()
		return
	}
	n.tid = unix.Gettid()
	n.ran <- unix.Unshare(unix.CLONE_NEWNET)
	for f := range n.run {
		n.ran <- f()
	}
}

// do calls f on the neighbour's thread.
func (n *neighbour) do(t *testing.T, f func() error) {
	t.Helper()
	n.run <- f
	if err := <-n.ran; err != nil {
		t.Fatalf("in the other namespace: %v", err)
	}
}

// end ends the thread and waits until it has. A second call does nothing.
func (n *neighbour) end() {
	if n.run == nil {
		return
	}
	close(n.run)
	n.run = nil
	for until := time.Now().Add(deadline); time.Now().Before(until); unix.Poll(nil, 1) {
		if unix.Tgkill(unix.Getpid(), n.tid, 0) == unix.ESRCH {
			return
		}
	}
	panic("a locked thread outlived its goroutine")
}

// The interface lands in the namespace of the calling thread, and its queues
// work from any other. They keep the namespace alive: a lab whose namespaces
// are deleted by somebody else does not hear of it from its TAPs.
func TestOpenTAPUsesTheCallersNamespaceAndKeepsIt(t *testing.T) {
	isolate(t)
	other := newNeighbour(t)
	var tap *TAP
	var stat unix.Stat_t
	other.do(t, func() error {
		taps, err := OpenTAP("vst-port-0", 1)
		if err != nil {
			return err
		}
		tap = taps[0]
		l, err := netlink.LinkByName("vst-port-0")
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetUp(l), unix.Stat("/proc/thread-self/ns/net", &stat))
	})
	defer tap.Close()
	if _, err := netlink.LinkByName("vst-port-0"); !errors.As(err, &netlink.LinkNotFoundError{}) {
		t.Errorf("the link is in this namespace (%v)", err)
	}
	other.end()
	if at, err := tap.Place(); err != nil || at != (Place{"vst-port-0", stat.Dev, stat.Ino}) {
		t.Errorf("the interface is at %v, %v, want namespace %d", at, err, stat.Ino)
	}
	if s := tap.Write(experimental(100, 1)); s != OK {
		t.Errorf("Write: %v, want ok", s)
	}
}

// An interface that was moved into a namespace, unlike one that was opened there,
// goes with it.
func TestTAPMovedIntoANamespaceGoesWithIt(t *testing.T) {
	isolate(t)
	other := newNeighbour(t)
	tap := openUp(t, "vst-port-0", 1)[0]
	before, err := tap.Place()
	if err != nil {
		t.Fatal(err)
	}
	ns := -1
	other.do(t, func() (err error) {
		ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err := netlink.LinkSetNsFd(link(t, "vst-port-0"), ns); err != nil {
		t.Fatal(err)
	}
	unix.Close(ns)
	if after, err := tap.Place(); err != nil || after.Name != before.Name || after.Inode == before.Inode {
		t.Errorf("the interface was at %v, is now at %v, %v", before, after, err)
	}
	if s := tap.Write(experimental(100, 1)); s != Down { // the move took it down
		t.Errorf("Write after the move: %v, want down", s)
	}
	other.end()
	if got := pollIn(t, tap.FD(), deadline); got&unix.POLLERR == 0 {
		t.Fatalf("poll: %#x, want POLLERR", got)
	}
	if _, s := tap.Read(make([]byte, wire.MaxFrame)); s != Gone {
		t.Errorf("Read: %v, want gone", s)
	}
	if s := tap.Write(experimental(100, 1)); s != Gone {
		t.Errorf("Write: %v, want gone", s)
	}
	if at, err := tap.Place(); !errors.Is(err, unix.EBADFD) {
		t.Errorf("Place: %v, %v, want EBADFD", at, err)
	}
}

// What OpenTAP verifies at the end can fail: a descriptor without the virtio
// header, of another interface, or of none, is refused.
func TestVerify(t *testing.T) {
	isolate(t)
	open := func(flags uint16) int {
		fd, err := unix.Open(devNetTun, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if flags != 0 {
			ifr, err := unix.NewIfreq("vst-port-0")
			if err != nil {
				t.Fatal(err)
			}
			ifr.SetUint16(flags)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
				t.Fatal(err)
			}
		}
		return fd
	}
	if err := verify(open(0), "vst-port-0"); err == nil {
		t.Error("a descriptor without an interface was accepted")
	}
	for _, missing := range []uint16{unix.IFF_VNET_HDR, unix.IFF_MULTI_QUEUE} {
		fd := open(tapFlags &^ missing)
		if err := verify(fd, "vst-port-0"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("need %#x", tapFlags)) {
			t.Errorf("without flag %#x: %v, want an error that names the flags", missing, err)
		}
		unix.Close(fd)
	}
	fd := open(tapFlags)
	if err := verify(fd, "vst-port-0"); err != nil {
		t.Errorf("a good queue: %v", err)
	}
	if err := verify(fd, "vst-port-1"); err == nil {
		t.Error("a queue of another interface was accepted")
	}
}

// OpenTAP takes its share of `up`: 100 instances in 10 seconds, for everything.
func BenchmarkOpenTAP(b *testing.B) {
	isolate(b)
	began, n := time.Now(), 0
	for b.Loop() {
		taps, err := OpenTAP("vst-port-0", 1)
		if err != nil {
			b.Fatal(err)
		}
		taps[0].Close()
		n++
	}
	b.ReportMetric(math.Round(time.Since(began).Seconds()*1e6/float64(n)), "µs/open")
}
