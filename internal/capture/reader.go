package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A Block is one block of a pcapng file, from its type to its second length.
type Block []byte

// maxBlock bounds a block, in bytes: the longest frame and its options are shorter.
const maxBlock = 1 << 20

// errNoPcapng is what a stream is said to be that is not what a Writer writes.
var errNoPcapng = errors.New("not a pcapng stream as the switch writes them")

// Type returns the type of the block.
func (b Block) Type() uint32 { return binary.LittleEndian.Uint32(b) }

// IsPacket reports whether the block is a frame.
func (b Block) IsPacket() bool { return b.Type() == blockPacket }

// IsHead reports whether the block belongs to the head of a file: the section and
// its interfaces, without which the rest has no meaning.
func (b Block) IsHead() bool { return b.Type() == blockSection || b.Type() == blockInterface }

// Statistics returns the counts of a block that has them. It reports false for
// other blocks.
func (b Block) Statistics() (s Statistics, ok bool) {
	if b.Type() != blockStatistics || len(b) < 24 {
		return s, false
	}
	s.Interface = int(binary.LittleEndian.Uint32(b[8:]))
	for rest := b[20 : len(b)-4]; len(rest) >= 4; {
		code, n := binary.LittleEndian.Uint16(rest), int(binary.LittleEndian.Uint16(rest[2:]))
		if len(rest) < 4+n || code == optionEnd {
			break
		}
		switch value := rest[4 : 4+n]; {
		case code == statisticsReceived && n == 8:
			s.Received = binary.LittleEndian.Uint64(value)
		case code == statisticsDropped && n == 8:
			s.Lost = binary.LittleEndian.Uint64(value)
		}
		rest = rest[min(len(rest), 4+(n+3)&^3):]
	}
	return s, true
}

// A Reader reads the blocks of a stream that a Writer has written.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r, buf: make([]byte, 8)} }

// Next returns the next block, which is valid until the following call. It returns
// io.EOF at the end, and io.ErrUnexpectedEOF if that is in the middle of a block.
func (r *Reader) Next() (Block, error) {
	r.buf = r.buf[:8]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(r.buf[4:])
	if length < 20 || length%4 != 0 || length > maxBlock {
		return nil, fmt.Errorf("%w: a block of %d bytes", errNoPcapng, length)
	}
	if cap(r.buf) < int(length) {
		r.buf = append(r.buf, make([]byte, length)...)
	}
	r.buf = r.buf[:length]
	if _, err := io.ReadFull(r.r, r.buf[8:]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if got := binary.LittleEndian.Uint32(r.buf[length-4:]); got != length {
		return nil, fmt.Errorf("%w: a block of %d bytes ends as one of %d", errNoPcapng, length, got)
	}
	return r.buf, nil
}
