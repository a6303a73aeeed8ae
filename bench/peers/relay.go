package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"vswitch/internal/wire"
	"vswitch/port"
)

// relayBurst is how many frames the relay takes from one TAP before it turns to
// the other.
const relayBurst = 64

// openRelay makes linkA and linkB, TAPs as vswitch has them, and starts a relay
// between them.
func openRelay(task) (float64, error) {
	var taps [2]*port.TAP
	for i, name := range []string{linkA, linkB} {
		queues, err := port.OpenTAP(name, 1)
		if err != nil {
			return 0, err
		}
		taps[i] = queues[0]
	}
	go relay(taps)
	return 0, nil
}

// relay carries frames between two TAPs as they are: one read and one write each,
// in one thread, without a look at them. It is the least that a switch over TAP
// must do, in Go as vswitch is. It returns when a TAP is gone.
func relay(taps [2]*port.TAP) {
	runtime.LockOSThread()
	buffer := make([]byte, wire.MaxFrame)
	polled := [2]unix.PollFd{
		{Fd: int32(taps[0].FD()), Events: unix.POLLIN},
		{Fd: int32(taps[1].FD()), Events: unix.POLLIN},
	}
	for {
		moved := 0
		for from := range taps {
			n, gone := carry(taps[from], taps[1-from], buffer)
			if gone {
				return
			}
			moved += n
		}
		if moved > 0 {
			continue
		}
		// Like socket's calls, this one is no business of the scheduler's.
		_, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&polled)), uintptr(len(polled)), 0, 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			panic(fmt.Sprintf("ppoll: %v", errno)) // unreachable: both descriptors are open
		}
	}
}

// carry moves at most one burst, and returns how many frames, and whether the
// TAP that it reads is gone.
func carry(from, to *port.TAP, buffer []byte) (int, bool) {
	for n := range relayBurst {
		length, status := from.Read(buffer)
		if status != port.OK {
			return n, status == port.Gone
		}
		to.Write(buffer[:length]) // a frame that it refuses is lost, as on a wire
	}
	return relayBurst, false
}
