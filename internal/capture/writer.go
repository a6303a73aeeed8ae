// Package capture turns the frames that a switch shows into pcapng files: what is
// chosen by a filter expression, with what became of each frame as its comment.
package capture

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"time"

	"vswitch/internal/wire"
)

// Types of blocks, pcapng draft section 4. Numbers are little-endian throughout.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockStatistics = 5
	blockPacket     = 6 // an enhanced packet

	byteOrder = 0x1a2b3c4d
)

// Codes of options. Except for the first two each belongs to one type of block.
const (
	optionEnd     = 0
	optionComment = 1

	sectionOS          = 3
	sectionApplication = 4

	interfaceName        = 2
	interfaceDescription = 3
	interfaceIPv4        = 4
	interfaceIPv6        = 5
	interfaceMAC         = 6
	interfaceResolution  = 9
	interfaceFilter      = 11

	packetFlags = 2

	statisticsStart    = 2
	statisticsEnd      = 3
	statisticsReceived = 4
	statisticsDropped  = 5
)

const (
	linkEthernet = 1
	nanoseconds  = 9 // of if_tsresol: ten to the minus nine seconds

	flagInbound  = 1 // of epb_flags: the host of the interface got it, here from the instance
	flagOutbound = 2 // likewise: it went out, to the instance
)

// An Interface is what a file says of one port.
type Interface struct {
	Name, Description string
	Addresses         []netip.Prefix
	MAC               wire.MAC
	Snap              int    // bytes; 0 means that frames are whole
	Filter            string // "" if all frames were taken
}

// A Packet is one frame of a file.
type Packet struct {
	Interface int // index, in the order in which the interfaces were written
	Outbound  bool
	Time      time.Time
	Data      []byte // from the Ethernet header on
	Length    int    // of the frame before it was cut, in bytes
	Comments  []string
}

// Statistics are the counts of one interface.
type Statistics struct {
	Interface  int
	Start, End time.Time
	Received   uint64 // frames that were chosen, the lost ones included
	Lost       uint64
}

// A Writer writes one section of a pcapng file. Each block is one call of Write of
// the underlying writer.
type Writer struct {
	w   io.Writer
	buf []byte // the block being written
}

// NewWriter writes the header of a section to w.
func NewWriter(w io.Writer, application string) (*Writer, error) {
	n := &Writer{w: w}
	n.begin(blockSection)
	n.u32(byteOrder)
	n.u32(1) // version 1.0
	n.u64(math.MaxUint64)
	n.text(sectionOS, "Linux")
	n.text(sectionApplication, application)
	n.end()
	return n, n.finish()
}

// Interface writes the description of the next interface.
func (n *Writer) Interface(f Interface) error {
	n.begin(blockInterface)
	n.u32(linkEthernet)
	n.u32(uint32(f.Snap))
	n.text(interfaceName, f.Name)
	n.text(interfaceDescription, f.Description)
	for _, p := range f.Addresses {
		if p.Addr().Is4() {
			mask := uint32(math.MaxUint32) << (32 - p.Bits())
			if p.Bits() == 0 {
				mask = 0
			}
			n.option(interfaceIPv4, binary.BigEndian.AppendUint32(p.Addr().AsSlice(), mask))
		} else {
			n.option(interfaceIPv6, append(p.Addr().AsSlice(), byte(p.Bits())))
		}
	}
	n.option(interfaceMAC, f.MAC[:])
	n.option(interfaceResolution, []byte{nanoseconds})
	if f.Filter != "" {
		n.option(interfaceFilter, append([]byte{0}, f.Filter...)) // 0: as text
	}
	n.end()
	return n.finish()
}

// Packet writes one frame.
func (n *Writer) Packet(p *Packet) error {
	n.begin(blockPacket)
	n.u32(uint32(p.Interface))
	n.time(p.Time)
	n.u32(uint32(len(p.Data)))
	n.u32(uint32(p.Length))
	n.padded(p.Data)
	flags := uint32(flagInbound)
	if p.Outbound {
		flags = flagOutbound
	}
	n.option(packetFlags, binary.LittleEndian.AppendUint32(nil, flags))
	for _, c := range p.Comments {
		n.text(optionComment, c)
	}
	n.end()
	return n.finish()
}

// Statistics writes the counts of one interface. The last ones of a file count.
func (n *Writer) Statistics(s Statistics) error {
	n.begin(blockStatistics)
	n.u32(uint32(s.Interface))
	n.time(s.End)
	for _, o := range []struct {
		code uint16
		time time.Time
	}{{statisticsStart, s.Start}, {statisticsEnd, s.End}} {
		n.u32(uint32(o.code) | 8<<16)
		n.time(o.time)
	}
	n.option(statisticsReceived, binary.LittleEndian.AppendUint64(nil, s.Received))
	n.option(statisticsDropped, binary.LittleEndian.AppendUint64(nil, s.Lost))
	n.end()
	return n.finish()
}

// begin starts a block.
func (n *Writer) begin(kind uint32) {
	n.buf = n.buf[:0]
	n.u32(kind)
	n.u32(0) // the length, when it is known
}

// end ends the options, which every block of ours has.
func (n *Writer) end() { n.u32(optionEnd) }

// finish writes the block's length at both ends, and hands it on.
func (n *Writer) finish() error {
	length := uint32(len(n.buf) + 4)
	n.u32(length)
	binary.LittleEndian.PutUint32(n.buf[4:], length)
	_, err := n.w.Write(n.buf)
	return err
}

func (n *Writer) u32(v uint32) { n.buf = binary.LittleEndian.AppendUint32(n.buf, v) }
func (n *Writer) u64(v uint64) { n.buf = binary.LittleEndian.AppendUint64(n.buf, v) }

// time writes a timestamp, the upper half first.
func (n *Writer) time(t time.Time) {
	ns := uint64(t.UnixNano())
	n.u32(uint32(ns >> 32))
	n.u32(uint32(ns))
}

// padded writes b and zeroes up to the next multiple of four bytes.
func (n *Writer) padded(b []byte) {
	n.buf = append(n.buf, b...)
	n.buf = append(n.buf, make([]byte, -len(b)&3)...)
}

func (n *Writer) option(code uint16, value []byte) {
	n.u32(uint32(code) | uint32(len(value))<<16)
	n.padded(value)
}

// text writes an option of text, unless it is empty. What an option has no room
// for is left out.
func (n *Writer) text(code uint16, value string) {
	if value != "" {
		n.option(code, []byte(value[:min(len(value), math.MaxUint16)]))
	}
}
