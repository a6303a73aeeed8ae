package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Ports of host B's servers.
const (
	sinkPort  = 5001 // takes bytes, and says at the end how many
	echoPort  = 5002 // gives messages back
	greetPort = 5003 // gives one byte back and waits for the end, one connection at a time
)

const (
	blockSize   = 128 << 10 // bytes in one write of a bulk transfer
	messageSize = 16        // bytes of a message in a ping-pong
	warmUp      = 200       // messages of a ping-pong that do not count
)

// serve listens on a TCP port and hands each connection to handle, on a goroutine
// of its own if concurrent.
func serve(number uint16, concurrent bool, handle func(socket)) error {
	s, err := tcpSocket()
	if err != nil {
		return err
	}
	if err := unix.Bind(int(s), &unix.SockaddrInet4{Port: int(number)}); err != nil {
		return fmt.Errorf("tcp port %d: %w", number, err)
	}
	if err := unix.Listen(int(s), 1024); err != nil {
		return fmt.Errorf("tcp port %d: %w", number, err)
	}
	go func() {
		for {
			c, err := s.accept()
			if err != nil {
				panic(err) // the listener cannot end before its process does
			}
			if concurrent {
				go handle(c)
			} else {
				handle(c)
			}
		}
	}()
	return nil
}

// drain reads to the end of the stream and answers with its length, 8 bytes. A
// client that breaks off notices by itself that no answer comes.
func drain(c socket) {
	defer c.close()
	block := make([]byte, blockSize)
	for total := uint64(0); ; {
		n, err := c.read(block)
		if err != nil {
			return
		}
		if n == 0 {
			_ = c.write(binary.BigEndian.AppendUint64(nil, total))
			return
		}
		total += uint64(n)
	}
}

// echo gives back what it reads.
func echo(c socket) {
	defer c.close()
	if c.noDelay() != nil {
		return
	}
	message := make([]byte, messageSize)
	for c.readFull(message) == nil && c.write(message) == nil {
	}
}

// greet gives one byte back and waits for the client to close.
func greet(c socket) {
	defer c.close()
	var b [1]byte
	if c.readFull(b[:]) == nil && c.write(b[:]) == nil {
		_, _ = c.read(b[:])
	}
}

// dial connects to a server of the peer.
func dial(peer string, number uint16) (socket, error) {
	to, err := destination(peer, number)
	if err != nil {
		return -1, err
	}
	s, err := tcpSocket()
	if err != nil {
		return -1, err
	}
	if err := s.connect(&to); err != nil {
		return -1, errors.Join(err, s.close())
	}
	return s, nil
}

// destination returns a server of the peer in the kernel's form.
func destination(peer string, number uint16) (unix.RawSockaddrInet4, error) {
	a, err := netip.ParseAddr(peer)
	if err != nil {
		return unix.RawSockaddrInet4{}, err
	}
	if !a.Is4() {
		return unix.RawSockaddrInet4{}, fmt.Errorf("address %s: not IPv4", a)
	}
	return inet(netip.AddrPortFrom(a, number)), nil
}

// bulk sends to the peer over t.Streams connections for t.Duration and returns
// Gbit/s: the bytes that the peer has read, in the time until it had read them.
func bulk(t task) (float64, error) {
	streams := make([]socket, t.Streams)
	for i := range streams {
		s, err := dial(t.Peer, sinkPort)
		if err != nil {
			return 0, err
		}
		defer s.close()
		streams[i] = s
	}
	type result struct {
		bytes uint64
		err   error
	}
	results := make(chan result, len(streams))
	began := time.Now()
	for _, s := range streams {
		go func() {
			bytes, err := s.fill(began.Add(t.Duration))
			results <- result{bytes, err}
		}()
	}
	var total uint64
	for range streams {
		r := <-results
		if r.err != nil {
			return 0, r.err
		}
		total += r.bytes
	}
	return float64(total) * 8 / 1e9 / time.Since(began).Seconds(), nil
}

// fill writes until the given time and returns how many bytes the sink has read.
func (s socket) fill(until time.Time) (uint64, error) {
	block := make([]byte, blockSize)
	for time.Now().Before(until) {
		if err := s.write(block); err != nil {
			return 0, err
		}
	}
	if err := unix.Shutdown(int(s), unix.SHUT_WR); err != nil {
		return 0, fmt.Errorf("shutdown: %w", err)
	}
	var answer [8]byte
	if err := s.readFull(answer[:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(answer[:]), nil
}

// pingPong sends the peer a message, waits for it to come back, and so on, and
// returns the median round trip in microseconds.
func pingPong(t task) (float64, error) {
	s, err := dial(t.Peer, echoPort)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.noDelay(); err != nil {
		return 0, err
	}
	trips := make([]time.Duration, 0, 1<<20)
	message := make([]byte, messageSize)
	for began, now := time.Now(), time.Now(); now.Sub(began) < t.Duration; {
		if err := s.write(message); err != nil {
			return 0, err
		}
		if err := s.readFull(message); err != nil {
			return 0, err
		}
		back := time.Now()
		trips = append(trips, back.Sub(now))
		now = back
	}
	if len(trips) <= warmUp {
		return 0, fmt.Errorf("only %d round trips in %v", len(trips), t.Duration)
	}
	trips = trips[warmUp:]
	slices.Sort(trips)
	return float64(trips[len(trips)/2].Nanoseconds()) / 1e3, nil
}

// reconnect opens one connection after the other, exchanges a byte over each, and
// returns how many a second. It closes with a RST: closed properly they would wait
// for 60 s (TIME-WAIT), and the ports would run out.
func reconnect(t task) (float64, error) {
	to, err := destination(t.Peer, greetPort)
	if err != nil {
		return 0, err
	}
	count, began := 0, time.Now()
	for time.Since(began) < t.Duration {
		if err := transact(&to); err != nil {
			return 0, fmt.Errorf("connection %d: %w", count, err)
		}
		count++
	}
	return float64(count) / time.Since(began).Seconds(), nil
}

// transact is one connection: a byte there, a byte back, and a RST.
func transact(to *unix.RawSockaddrInet4) (err error) {
	s, err := tcpSocket()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := unix.SetsockoptLinger(int(s), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return err
	}
	if err := s.connect(to); err != nil {
		return err
	}
	b := [1]byte{'x'}
	if err := s.write(b[:]); err != nil {
		return err
	}
	return s.readFull(b[:])
}
