package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bulk ADDRESS BYTES sends that many random bytes there and says their SHA-256.
func bulk(args []string) error {
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp", args[0], 3*time.Second)
	if err != nil {
		return err
	}
	sum := sha256.New()
	random := rand.NewChaCha8([32]byte{})
	if _, err := io.CopyBuffer(io.MultiWriter(conn, sum), io.LimitReader(random, size), make([]byte, 1<<18)); err != nil {
		return err
	}
	if err := conn.Close(); err != nil {
		return err
	}
	fmt.Println(hex.EncodeToString(sum.Sum(nil)))
	return nil
}

// sink ADDRESS accepts one connection and says, at its end, the SHA-256 of what
// came in.
func sink(args []string) error {
	listener, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{conn}, make([]byte, 1<<18)); err != nil {
		return err
	}
	fmt.Println(hex.EncodeToString(sum.Sum(nil)))
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// Datagrams of segmentSize bytes travel segmentCount at a time, in bursts.
const (
	segmentSize  = 1200 // bytes of payload
	segmentCount = 40
	bursts       = 50
)

// segments ADDRESS hands the kernel bursts of datagrams to cut apart, one burst
// in a call (udp(7), UDP_SEGMENT), each when the last one has arrived. It says the
// SHA-256 of all of them.
func segments(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	socket, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = socket.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segmentSize)
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("UDP_SEGMENT: %w", err)
	}
	sum := sha256.New()
	random := rand.NewChaCha8([32]byte{})
	burst := make([]byte, segmentCount*segmentSize)
	for range bursts {
		random.Read(burst)
		sum.Write(burst)
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write(burst); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	fmt.Println(hex.EncodeToString(sum.Sum(nil)))
	return nil
}

// datagrams ADDRESS takes the bursts in, one datagram after the other, answers
// each burst, and says the SHA-256 of all of them.
func datagrams(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready")
	sum := sha256.New()
	buffer := make([]byte, 1<<16)
	for i := range bursts * segmentCount {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if n != segmentSize {
			return fmt.Errorf("a datagram of %d bytes, want %d", n, segmentSize)
		}
		sum.Write(buffer[:n])
		if (i+1)%segmentCount == 0 {
			if _, err := conn.WriteTo([]byte("."), from); err != nil {
				return err
			}
		}
	}
	fmt.Println(hex.EncodeToString(sum.Sum(nil)))
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// What travels between two subnets travels in superframes, which pass the switch
// whole, and arrives as it was sent. At 1500 bytes of MTU no frame but a
// superframe is longer than 1514.
func TestSuperframesPass(t *testing.T) {
	f := newFixture()
	f.group("b1").in = []string{f.groupRule("in", []string{"all", "g-a1"})}
	l := startLab(t, f.text("fixture"))
	for _, c := range []struct {
		name, address, source, sink string
		size                        int // bytes in all
	}{
		{"TCP over IPv4", "10.0.2.20:9000", "bulk", "sink", 256 << 20},
		{"TCP over IPv6", "[2001:db8:a:2::20]:9000", "bulk", "sink", 64 << 20},
		{"UDP over IPv4", "10.0.2.20:9000", "segments", "datagrams", bursts * segmentCount * segmentSize},
		{"UDP over IPv6", "[2001:db8:a:2::20]:9000", "segments", "datagrams", bursts * segmentCount * segmentSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.of(t)
			sink := l.start("b1", c.sink, ":9000")
			watch := l.start("b1", "watch", "longest")
			began := time.Now()
			source := l.program("a1", c.source, c.address, strconv.Itoa(c.size))
			sent := source.await(time.Minute)
			received := sink.await(time.Minute)
			took := time.Since(began)
			if sent != received {
				t.Errorf("received bytes with SHA-256 %s, sent %s", received, sent)
			}

			said, _ := watch.end()
			if len(said) != 1 {
				t.Fatalf("watch said %q", said)
			}
			longest, err := strconv.Atoi(said[0])
			if err != nil || longest <= 1514 {
				t.Errorf("the longest frame has %q bytes, want a superframe of more than 1514", said[0])
			}
			t.Logf("%d KiB in %v, %.1f Gbit/s with both ends hashing; longest frame %d bytes", c.size>>10, took.Round(time.Millisecond), 8*float64(c.size)/took.Seconds()/1e9, longest)
		})
	}
}
