package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
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

// A transfer between two subnets travels in superframes, which pass the switch
// whole, and arrives as it was sent. At 1500 bytes of MTU no frame but a
// superframe is longer than 1514.
func TestSuperframesPass(t *testing.T) {
	const size = 256 << 20 // bytes
	l := startLab(t, twoSubnets)
	sink := l.start("right", "sink", ":9000")
	watch := l.start("right", "watch", "longest")

	began := time.Now()
	source := l.program("left", "bulk", l.ip("right")+":9000", strconv.Itoa(size))
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
	t.Logf("%d MiB in %v, %.1f Gbit/s with both ends hashing; longest frame %d bytes", size>>20, took.Round(time.Millisecond), 8*float64(size)/took.Seconds()/1e9, longest)
}
