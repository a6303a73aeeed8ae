package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ports of the flood. The source port runs through floodSources values, then the
// destination port takes its next one, of floodSinks.
const (
	floodSource  = 4096
	floodSources = 50_000
	floodSink    = 6001
	floodSinks   = 20
	mostFlows    = floodSources * floodSinks
)

const (
	floodFrame = 64      // bytes, with the Ethernet header, without the frame check sequence
	floodBatch = 64      // frames in one system call
	floodTurns = 16      // batches between two looks at the clock
	openRate   = 100_000 // new flows a second; of a million the first is 10 s old at the end, a third of the time that UDP flows live (SEM 2.3)

	// warmPerFlow is how long a flood of live flows runs, for each flow, before it
	// counts: until each has come back several times, as live flows have.
	warmPerFlow = 8 * time.Microsecond
)

// Offsets into a frame of the flood.
const (
	ipAt  = 14
	udpAt = ipAt + 20
)

// discard binds the UDP ports of the flood to sockets that are never read and
// hold next to nothing. The kernel drops what does not fit in without a word,
// where a closed port would have it answer with ICMP. Unlike a rule of a packet
// filter it needs nothing installed; it costs the receiver the way up to its
// socket, the same for all targets.
func discard() error {
	for i := range floodSinks {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0); err != nil { // the kernel makes it its least
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: floodSink + i}); err != nil {
			return fmt.Errorf("udp port %d: %w", floodSink+i, err)
		}
	}
	return nil
}

// A message is one of several for sendmmsg(2): struct mmsghdr.
type message struct {
	header unix.Msghdr
	_      uint32 // msg_len, the bytes sent
}

// A generator sends batches of UDP frames.
type generator struct {
	frames   [floodBatch][floodFrame]byte
	parts    [floodBatch]unix.Iovec
	messages [floodBatch]message
	flows    int
	next     int // the flow of the next frame
}

// newGenerator returns a generator of frames from one host to another.
func newGenerator(source, hop net.HardwareAddr, from, to netip.Addr, flows int) (*generator, error) {
	if flows < 1 || flows > mostFlows {
		return nil, fmt.Errorf("%d flows: must be 1 to %d", flows, mostFlows)
	}
	if !from.Is4() || !to.Is4() {
		return nil, fmt.Errorf("addresses %s and %s: not IPv4", from, to)
	}
	g := &generator{flows: flows}
	for i := range g.frames {
		f := g.frames[i][:]
		copy(f[0:6], hop)
		copy(f[6:12], source)
		binary.BigEndian.PutUint16(f[12:], 0x0800) // IPv4
		ip, udp := f[ipAt:udpAt], f[udpAt:]
		ip[0] = 0x45 // version 4, 5 words of header
		binary.BigEndian.PutUint16(ip[2:], floodFrame-ipAt)
		ip[8] = 64 // time to live
		ip[9] = unix.IPPROTO_UDP
		copy(ip[12:16], from.AsSlice())
		copy(ip[16:20], to.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], headerChecksum(ip))
		binary.BigEndian.PutUint16(udp[4:], floodFrame-udpAt) // the checksum stays 0: none (RFC 768)
		g.parts[i] = unix.Iovec{Base: &f[0]}
		g.parts[i].SetLen(len(f))
		g.messages[i].header.Iov = &g.parts[i]
		g.messages[i].header.SetIovlen(1)
	}
	g.address()
	return g, nil
}

// headerChecksum returns the checksum of an IPv4 header whose checksum field is 0
// (RFC 791).
func headerChecksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// address gives the frames of the batch the ports of the next flows.
func (g *generator) address() {
	for i := range g.frames {
		binary.BigEndian.PutUint16(g.frames[i][udpAt:], uint16(floodSource+g.next%floodSources))
		binary.BigEndian.PutUint16(g.frames[i][udpAt+2:], uint16(floodSink+g.next/floodSources))
		g.next = (g.next + 1) % g.flows
	}
}

// send hands one batch to the kernel. Frames that a full queue refuses are lost,
// as they would be on a wire: what counts is what arrives.
func (g *generator) send(packets socket) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(packets), uintptr(unsafe.Pointer(&g.messages)), floodBatch, 0, 0, 0)
	switch errno {
	case 0, unix.ENOBUFS, unix.EAGAIN, unix.EINTR:
		return nil
	}
	return fmt.Errorf("sendmmsg: %w", errno)
}

// flood sends frames out of t.Device to the peer for t.Duration, as fast as one
// processor, the first, can, and returns the seconds that it took.
func flood(t task) (float64, error) {
	return emit(t, func(g *generator, packets socket) (float64, error) { return g.run(packets, t.Duration) })
}

// openFlows sends one frame of each of t.Flows flows, and returns the seconds that
// it took.
func openFlows(t task) (float64, error) { return emit(t, (*generator).open) }

// emit has a generator of t.Flows flows send by the given method.
func emit(t task, send func(*generator, socket) (float64, error)) (float64, error) {
	way, err := routeTo(t.Device, t.Peer)
	if err != nil {
		return 0, err
	}
	g, err := newGenerator(way.source, way.hop, way.from, way.to, t.Flows)
	if err != nil {
		return 0, err
	}
	packets, err := packetSocket(way.device)
	if err != nil {
		return 0, err
	}
	defer packets.close()

	type result struct {
		seconds float64
		err     error
	}
	done := make(chan result, 1)
	go func() { // its thread is bound to one processor, and so ends with it
		runtime.LockOSThread()
		seconds, err := send(g, packets)
		done <- result{seconds, err}
	}()
	r := <-done
	return r.seconds, r.err
}

// open sends a frame of each flow, openRate of them a second.
func (g *generator) open(packets socket) (float64, error) {
	began := time.Now()
	for sent := 0; sent < g.flows; sent += floodBatch {
		for time.Since(began) < time.Duration(sent)*time.Second/openRate {
			time.Sleep(time.Millisecond)
		}
		if err := g.send(packets); err != nil {
			return 0, err
		}
		g.address()
	}
	return time.Since(began).Seconds(), nil
}

// run sends for the given time, on the first processor.
func (g *generator) run(packets socket, length time.Duration) (float64, error) {
	var first unix.CPUSet
	first.Set(0)
	if err := unix.SchedSetaffinity(0, &first); err != nil {
		return 0, fmt.Errorf("processor 0: %w", err)
	}
	began := time.Now()
	for time.Since(began) < length {
		for range floodTurns {
			if err := g.send(packets); err != nil {
				return 0, err
			}
			if g.flows > 1 {
				g.address()
			}
		}
	}
	return time.Since(began).Seconds(), nil
}

// packetSocket returns a socket that puts frames on the device as they are, past
// its queueing discipline, and receives none.
func packetSocket(device int) (socket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: device}); err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return socket(fd), nil
}
