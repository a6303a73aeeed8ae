package port

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
)

// devNetTun is the clone device of the tun driver, at the path that songgao/water
// opens too.
const devNetTun = "/dev/net/tun"

// Limits of the tun driver (linux/if.h, drivers/net/tun.c).
const (
	maxName   = unix.IFNAMSIZ - 1 // bytes; water cuts longer names off without a word
	maxQueues = 256 - 1           // MAX_TAP_QUEUES, less the one that the bootstrap descriptor takes
)

// Flags of the interface (linux/if_tun.h). tapFlags must be set at the end:
// OpenTAP verifies them. IFF_TUN_EXCL holds for the creation only: an interface
// that exists already is somebody else's, and its flows are not ours to take.
const (
	tapFlags  = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
	bootFlags = tapFlags | unix.IFF_TUN_EXCL
)

// Features for TUNSETOFFLOAD (linux/if_tun.h). USO came with Linux 6.2, and the
// driver takes it for both families or not at all.
const (
	baseOffloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	usoOffloads  = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// OpenTAP creates the TAP interface name in the network namespace of the calling
// thread, which the caller has locked, and returns one TAP for each of its 1 to
// 255 queues, in the order in which Steer numbers them. The interface is down and has a random address: MAC, MTU, queue
// length and state are the caller's. It vanishes with its last queue, and keeps
// its network namespace alive until then, even if that loses its name.
//
// OpenTAP fails if a link of that name exists, and if the kernel cannot do what
// the switch relies on: it never returns a lesser device. On an error nothing of
// the interface remains.
func OpenTAP(name string, queues int) (_ []*TAP, err error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if queues < 1 || queues > maxQueues {
		return nil, fmt.Errorf("tap %s: %d queues: must be 1 to %d", name, queues, maxQueues)
	}

	// Whoever attaches first decides the flags of the interface, and water cannot
	// ask for IFF_VNET_HDR. So a bootstrap descriptor of ours creates it, and
	// water's queues join an interface that has the flag.
	boot, err := bootstrap(name)
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	var taps []*TAP
	defer func() {
		if err != nil {
			for _, t := range taps {
				t.Close()
			}
		}
	}()
	for i := range queues {
		t, err := attach(name)
		if err != nil {
			if i == 0 {
				unix.Close(boot)
			}
			return nil, fmt.Errorf("tap %s: queue %d: %w", name, i, advise(err))
		}
		taps = append(taps, t)
		if i > 0 {
			continue
		}
		// At once, because the driver gives the number of a queue that goes to the
		// one that came last.
		if err := dismiss(boot, name); err != nil {
			return nil, fmt.Errorf("tap %s: bootstrap descriptor: %w", name, err)
		}
	}
	offloads, err := negotiate(taps[0].FD())
	if err != nil {
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	for i, t := range taps {
		if err := verify(t.FD(), name); err != nil {
			return nil, fmt.Errorf("tap %s: queue %d: %w", name, i, err)
		}
		t.offloads = offloads
	}
	if queues > 1 {
		if err := steer(taps[0].FD()); err != nil {
			return nil, fmt.Errorf("tap %s: %w", name, advise(err))
		}
	}
	return taps, nil
}

// checkName reports what the kernel, or water, would not take as it stands. A
// percent sign is a pattern to the kernel: each queue would become an interface
// of its own.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("tap: name is empty")
	case len(name) > maxName:
		return fmt.Errorf("tap %s: name has %d bytes: at most %d", name, len(name), maxName)
	case name == "." || name == "..":
		return fmt.Errorf("tap %s: name is reserved", name)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("/:%", c) >= 0 {
			return fmt.Errorf("tap %q: name has %q", name, c)
		}
	}
	return nil
}

// bootstrap creates the interface and returns the descriptor that holds it.
func bootstrap(name string) (int, error) {
	fd, err := unix.Open(devNetTun, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, advise(fmt.Errorf("open %s: %w", devNetTun, err))
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(bootFlags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return -1, advise(fmt.Errorf("create: %w", err))
	}
	return fd, nil
}

// dismiss closes the bootstrap descriptor. It is a queue too: alive and unread it
// would swallow its share of the flows. Detached, it cannot, even where a child
// that is being started holds a copy until its exec is through.
func dismiss(boot int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_DETACH_QUEUE)
		err = unix.IoctlIfreq(boot, unix.TUNSETQUEUE, ifr)
	}
	return errors.Join(err, unix.Close(boot))
}

// advise adds to an error of bootstrap what its reader can do about it.
func advise(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: needs root or CAP_NET_ADMIN, and access to %s", err, devNetTun)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: no tun driver here: try `modprobe tun`, then `mkdir -p /dev/net && mknod %s c 10 200`", err, devNetTun)
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: a link of that name exists in this namespace: delete it or choose another name", err)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("%w: raise the limit of open files (ulimit -n)", err)
	}
	return err
}

// attach opens one more queue of the interface with songgao/water.
//
// water opens its descriptor without O_CLOEXEC and puts it into Go's poller. So
// nothing may be forked from before the open until a duplicate with
// FD_CLOEXEC has taken over and the original is closed, which also takes it out
// of the poller; the read lock makes forks wait. An open that fails inside water
// leaks one descriptor, which holds no interface: OpenTAP checks beforehand
// what could make it fail.
func attach(name string) (*TAP, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	queue, err := water.New(water.Config{
		DeviceType:             water.TAP,
		PlatformSpecificParams: water.PlatformSpecificParams{Name: name, MultiQueue: true},
	})
	if err != nil {
		return nil, err
	}
	fd, err := duplicate(queue)
	if err := errors.Join(err, queue.Close()); err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	t := &TAP{name: name}
	t.fd.Store(int32(fd))
	return t, nil
}

// duplicate returns a second descriptor for the queue, with FD_CLOEXEC. It
// shares the first one's O_NONBLOCK. It returns -1 with an error.
func duplicate(queue *water.Interface) (int, error) {
	file, ok := queue.ReadWriteCloser.(*os.File)
	if !ok {
		return -1, fmt.Errorf("water holds a %T, not a file", queue.ReadWriteCloser)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	dup, dupErr := -1, error(nil)
	err = raw.Control(func(fd uintptr) {
		dup, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err := errors.Join(err, dupErr); err != nil {
		return -1, fmt.Errorf("duplicate: %w", err)
	}
	return dup, nil
}

// negotiate sets the header's layout and the offloads of the whole interface
// through one of its queues. Only USO may be missing.
func negotiate(fd int) (Offloads, error) {
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, wire.VirtioSize); err != nil {
		return Offloads{}, fmt.Errorf("virtio header of %d bytes: %w", wire.VirtioSize, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return Offloads{}, fmt.Errorf("little-endian virtio header: %w", err)
	}
	err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, baseOffloads|usoOffloads)
	uso := err == nil
	if errors.Is(err, unix.EINVAL) { // before Linux 6.2
		err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, baseOffloads)
	}
	if err != nil {
		return Offloads{}, fmt.Errorf("checksum and TSO offloads: %w", err)
	}
	return Offloads{Checksum: true, TSO4: true, TSO6: true, USO: uso}, nil
}

// verify reports whether the descriptor is a queue of the TAP interface name
// with every flag that frames depend on: without IFF_VNET_HDR, the first 12
// bytes of each frame would be taken for a header.
func verify(fd int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	if got := ifr.Uint16(); got&tapFlags != tapFlags {
		return fmt.Errorf("flags are %#x, need %#x: the kernel refused the virtio header or a second queue", got, tapFlags)
	}
	if got := ifr.Name(); got != name {
		return fmt.Errorf("belongs to %s", got)
	}
	return nil
}
