package wiretest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Numbers of the IPv6 extension headers that this package writes, RFC 8200.
const (
	hopByHop           = 0
	routingHeader      = 43
	fragmentHeader     = 44
	destinationOptions = 60
)

// An Extension is an IPv6 extension header.
type Extension struct {
	Number uint8
	Size   int   // bytes, a multiple of 8
	Type   uint8 // of a routing header

	Offset int  // of a fragment header, in bytes
	MF     bool // of a fragment header
}

// routingSize is the length of a routing header with one address, in bytes.
const routingSize = 8 + 16

// parseExtension reads "hbh", "dst=16", "rh0", or "frag=1480,mf". It returns false
// if the word is none of these.
func parseExtension(key, value string) (e Extension, ok bool, err error) {
	kind, isRouting := strings.CutPrefix(key, "rh")
	switch {
	case key == "frag":
		e = Extension{Number: fragmentHeader, Size: 8}
		offset, flag, both := strings.Cut(value, ",")
		if both && flag != "mf" {
			return e, true, fmt.Errorf("neither frag=N nor frag=N,mf")
		}
		e.MF = both
		n, err := strconv.ParseUint(offset, 10, 16)
		if err == nil && n%8 != 0 {
			err = fmt.Errorf("not a multiple of 8")
		}
		e.Offset = int(n)
		return e, true, err
	case key == "hbh":
		e = Extension{Number: hopByHop, Size: 8}
	case key == "dst":
		e = Extension{Number: destinationOptions, Size: 8}
	case isRouting:
		n, err := strconv.ParseUint(kind, 10, 8)
		if err != nil {
			return e, true, err
		}
		e = Extension{Number: routingHeader, Size: routingSize, Type: uint8(n)}
	default:
		return e, false, nil
	}
	if value != "" {
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n < 8 || n > 2048 || n%8 != 0 {
			return e, true, fmt.Errorf("not a multiple of 8 from 8 to 2048")
		}
		e.Size = int(n)
	}
	return e, true, nil
}

// String returns the word that parseExtension reads.
func (e Extension) String() string {
	word, size := "", 8
	switch e.Number {
	case fragmentHeader:
		word = fmt.Sprintf("frag=%d", e.Offset)
		if e.MF {
			word += ",mf"
		}
		return word
	case hopByHop:
		word = "hbh"
	case destinationOptions:
		word = "dst"
	case routingHeader:
		word, size = fmt.Sprintf("rh%d", e.Type), routingSize
	}
	if e.Size != size {
		word += fmt.Sprintf("=%d", e.Size)
	}
	return word
}

// addExtension appends a header to the chain. There is nothing to read behind the
// fragment header of a later fragment.
func (f *Frame) addExtension(e Extension) error {
	if f.Offset != 0 {
		return fmt.Errorf("behind a later fragment's header")
	}
	f.Extensions = append(f.Extensions, e)
	if e.Number == fragmentHeader {
		f.Offset, f.MF = e.Offset, e.MF
	}
	return nil
}

// chain returns the bytes of the extension headers, and the number of the first.
func (f *Frame) chain() (b []byte, first uint8) {
	first = f.Protocol
	for i := len(f.Extensions) - 1; i >= 0; i-- {
		b = append(f.Extensions[i].bytes(first, f.Ident, f.Dst), b...)
		first = f.Extensions[i].Number
	}
	return b, first
}

// bytes returns the header. Options are padding. Routing headers of all types are
// built like those of type 0: one segment is left, and the addresses are the
// packet's destination, which the checksum therefore covers.
func (e Extension) bytes(next uint8, ident uint32, dst netip.Addr) []byte {
	b := make([]byte, e.Size)
	b[0] = next
	switch e.Number {
	case fragmentHeader:
		bits := uint16(e.Offset)
		if e.MF {
			bits |= 1
		}
		binary.BigEndian.PutUint16(b[2:], bits)
		binary.BigEndian.PutUint32(b[4:], ident)
		return b
	case routingHeader:
		b[2], b[3] = e.Type, 1
		for at, address := 8, dst.As16(); at+16 <= len(b); at += 16 {
			copy(b[at:], address[:])
		}
	default:
		for at := 2; at < len(b); {
			n := min(len(b)-at-2, 252) // PadN; 252 leaves no single byte at the end
			b[at], b[at+1] = 1, byte(n)
			at += 2 + n
		}
	}
	b[1] = byte(e.Size/8 - 1)
	return b
}

// decodeChain reads the extension headers at the start of b, the first of which
// has the number in f.Protocol, and returns what is behind them.
func (f *Frame) decodeChain(b []byte) ([]byte, error) {
	for f.Offset == 0 {
		e := Extension{Number: f.Protocol}
		switch e.Number {
		case hopByHop, routingHeader, fragmentHeader, destinationOptions:
		default:
			return b, nil
		}
		if len(b) < 8 {
			return nil, errShort
		}
		e.Size = (int(b[1]) + 1) * 8
		switch e.Number {
		case fragmentHeader:
			bits := binary.BigEndian.Uint16(b[2:])
			e.Size, e.Offset, e.MF = 8, int(bits&^7), bits&1 != 0
			f.Ident = binary.BigEndian.Uint32(b[4:])
		case routingHeader:
			e.Type = b[2]
		}
		if e.Size > len(b) {
			return nil, errShort
		}
		if err := f.addExtension(e); err != nil {
			return nil, err
		}
		f.Protocol, b = b[0], b[e.Size:]
	}
	return b, nil
}
