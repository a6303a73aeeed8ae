package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newProber returns what sends probes to one service, and the outcome that an
// answer of that service is.
func newProber(s service, to netip.Addr) (prober, string, error) {
	target := netip.AddrPortFrom(to, s.port)
	switch s.protocol {
	case "tcp":
		return tcpProber{target}, outcomeOpen, nil
	case "udp":
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
		return newUDPProber(conn), outcomeReply, err
	}
	p, err := newICMPProber(netip.Addr{}, to)
	return p, outcomeReply, err
}

// attemptOf says what became of a probe that ended with err after took.
func attemptOf(sequence int, err error, answer string, took time.Duration) attempt {
	a := attempt{Sequence: sequence, Outcome: answer, RTT: float64(took.Microseconds()) / 1000}
	var timeout net.Error
	switch {
	case err == nil:
	case errors.Is(err, syscall.ECONNREFUSED):
		a.Outcome = outcomeRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return attempt{Sequence: sequence, Outcome: outcomeSilence}
	default:
		return attempt{Sequence: sequence, Outcome: outcomeError, Error: err.Error()}
	}
	return a
}

// A tcpProber makes a connection for each probe, and closes it.
type tcpProber struct{ target netip.AddrPort }

func (p tcpProber) probe(_ int, timeout time.Duration) error {
	conn, err := net.DialTimeout("tcp", p.target.String(), timeout)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (tcpProber) Close() error { return nil }

// A udpProber sends datagrams to a server that answers with what it was sent.
type udpProber struct {
	conn  *net.UDPConn
	token string // tells the answers to this probe from those to others
}

func newUDPProber(conn *net.UDPConn) *udpProber { return &udpProber{conn: conn, token: rand.Text()} }

func (p *udpProber) probe(sequence int, timeout time.Duration) error {
	if err := p.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	want := append([]byte(p.token), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(want[len(p.token):], uint32(sequence))
	if _, err := p.conn.Write(want); err != nil {
		return err
	}
	buffer := make([]byte, 2048)
	for {
		n, err := p.conn.Read(buffer)
		if err != nil {
			return err
		}
		if !isLateAnswer(buffer[:n], want, len(p.token)) {
			return nil
		}
	}
}

// isLateAnswer reports whether a datagram echoes an earlier probe of ours. Any
// other answer is one: not every server echoes.
func isLateAnswer(got, want []byte, token int) bool {
	return len(got) >= len(want) && string(got[len(got)-len(want):][:token]) == string(want[:token]) &&
		string(got[len(got)-len(want):]) != string(want)
}

func (p *udpProber) Close() error { return p.conn.Close() }

// An icmpProber sends echo requests (RFC 792, RFC 4443 section 4.1), through an
// unprivileged ping socket where net.ipv4.ping_group_range lets us, as it does in
// the instances of vswitch, and through a raw one otherwise.
type icmpProber struct {
	conn           net.PacketConn
	to             net.Addr
	request, reply byte   // types of the messages
	id             uint16 // of the echo; the kernel sets and checks that of a ping socket
	raw            bool
	token          [8]byte // tells our echoes from those of another ping with the same id
}

// ICMP and ICMPv6 types of an echo, and the length of its header.
const (
	echoReply    = 0
	echoRequest  = 8
	echoReply6   = 129
	echoRequest6 = 128
	echoHeader   = 8 // bytes: type, code, checksum, identifier, sequence number
)

// newICMPProber returns what sends echo requests to an address, from the given one
// or, if that is the zero Addr, from the one that the kernel takes.
func newICMPProber(from, to netip.Addr) (*icmpProber, error) {
	p := &icmpProber{id: uint16(os.Getpid()), request: echoRequest, reply: echoReply}
	family, protocol, raw, any := unix.AF_INET, unix.IPPROTO_ICMP, "ip4:icmp", "0.0.0.0"
	if to.Is6() {
		p.request, p.reply = echoRequest6, echoReply6
		family, protocol, raw, any = unix.AF_INET6, unix.IPPROTO_ICMPV6, "ip6:ipv6-icmp", "::"
	}
	if from.IsValid() {
		any = from.String()
	}
	_, _ = rand.Read(p.token[:]) // it never fails: crypto/rand ends the program instead
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	switch {
	case err == nil:
		f := os.NewFile(uintptr(fd), "ping socket")
		defer f.Close()
		if from.IsValid() {
			if _, err := bindTo(fd, from); err != nil {
				return nil, err
			}
		}
		p.conn, err = net.FilePacketConn(f)
		p.to = &net.UDPAddr{IP: to.AsSlice()}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		p.raw = true
		p.conn, err = net.ListenPacket(raw, any)
		p.to = &net.IPAddr{IP: to.AsSlice()}
	}
	return p, err
}

func (p *icmpProber) probe(sequence int, timeout time.Duration) error {
	if err := p.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	request := p.echo(uint16(sequence))
	if _, err := p.conn.WriteTo(request, p.to); err != nil {
		return err
	}
	buffer := make([]byte, 2048)
	for {
		n, _, err := p.conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if p.answers(buffer[:n], request) {
			return nil
		}
	}
}

// echo returns an echo request. The kernel computes the checksum of ICMPv6 itself,
// which covers the addresses.
func (p *icmpProber) echo(sequence uint16) []byte {
	b := make([]byte, echoHeader+len(p.token))
	b[0] = p.request
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], sequence)
	copy(b[echoHeader:], p.token[:])
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	return b
}

// answers reports whether got is the reply to request. A raw socket hears all
// ICMP of the namespace.
func (p *icmpProber) answers(got, request []byte) bool {
	if len(got) != len(request) || got[0] != p.reply || got[1] != 0 {
		return false
	}
	if p.raw && binary.BigEndian.Uint16(got[4:]) != p.id {
		return false
	}
	return string(got[6:]) == string(request[6:])
}

func (p *icmpProber) Close() error { return p.conn.Close() }

// checksum returns the Internet checksum (RFC 1071) of b, which has an even
// length and a checksum field of zero.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
