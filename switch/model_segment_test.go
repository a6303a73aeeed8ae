package vswitch_test

import (
	"encoding/binary"
	"slices"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	"vswitch/port"
)

// takes reports whether a port takes such a superframe in one piece.
func takes(o port.Offloads, g wire.GSO) bool {
	switch g {
	case wire.GSOTCP4:
		return o.Checksum && o.TSO4
	case wire.GSOTCP6:
		return o.Checksum && o.TSO6
	case wire.GSOUDP:
		return o.Checksum && o.USO
	}
	return true
}

// writeSegments puts the segments of a superframe into a port. The superframe is
// one frame of its sender's: it is delivered if any segment is.
func (m *model) writeSegments(out *modelENI, f *wire.Frame) policy.Reason {
	r, taken := policy.None, false
	for i := range f.Segments {
		b := segmentOf(f, i)
		if !out.port.offloads.Checksum {
			finish(b, f)
		}
		r = m.write(out, b, 1)
		taken = taken || r == policy.None
	}
	if taken {
		return policy.None
	}
	return r
}

// segmentOf returns segment i of a superframe, its checksum left to the hardware
// as the superframe's was.
func segmentOf(f *wire.Frame, i int) []byte {
	data := f.Bytes[f.Payload:]
	data = data[i*f.GSOSize : min((i+1)*f.GSOSize, len(data))]
	b := append(slices.Clone(f.Bytes[:f.Payload]), data...)
	b[1] = 0                            // no superframe any more
	b[2], b[3], b[4], b[5] = 0, 0, 0, 0 // hdr_len, gso_size
	ip, l4 := b[f.L3:f.L4], b[f.L4:]
	if f.Kind == wire.KindIPv6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(b)-f.L3-40))
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(b)-f.L3))
		binary.BigEndian.PutUint16(ip[4:], uint16(f.ID)+uint16(i))
		putSum(ip, 10, 0)
	}
	if f.GSO == wire.GSOUDP {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	} else {
		binary.BigEndian.PutUint32(l4[4:], f.TCP.Seq+uint32(i*f.GSOSize))
		if i > 0 {
			l4[13] &^= wire.CWR // answers once (RFC 3168)
		}
		if i < f.Segments-1 {
			l4[13] &^= wire.FIN | wire.PSH // speak of the end
		}
	}
	binary.BigEndian.PutUint16(l4[checksumAt(f):], fold(pseudoHeader(f, len(l4))))
	return b
}
