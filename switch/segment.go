package vswitch

import (
	"vswitch/internal/policy"
	"vswitch/internal/wire"
)

// accepts reports whether the interface's device takes f in one piece. Only a
// superframe may be too much for it, and that by its kind: all ports have the
// MTU of the VPC, so what fits the sender's fits the receiver's.
func (e *eni) accepts(f *wire.Frame) bool {
	o := &e.offloads
	switch f.GSO {
	case wire.GSOTCP4:
		return o.Checksum && o.TSO4
	case wire.GSOTCP6:
		return o.Checksum && o.TSO6
	case wire.GSOUDP:
		return o.Checksum && o.USO
	}
	return true
}

// segment cuts f, a superframe that the port of out does not take, and writes the
// segments one by one, their payload straight from the buffer that f was read
// into. Their checksums are finished if the port wants that too.
//
// The port counts each segment that it took as a frame of one packet. A segment
// that it refuses is lost and the others go on, as on a wire; a port that is down
// ends the attempt. f itself is one received frame, and so it is either delivered
// or dropped: delivered if any segment was, else dropped for the reason of the
// last. A part that was lost shows as packets that the sender's port counts and
// the receiver's does not.
func (w *worker) segment(out *eni, f *wire.Frame) policy.Reason {
	var r policy.Reason
	taken := false
	for i := 0; i < f.Segments && r != policy.PortDown; i++ {
		header, payload := f.Segment(i, w.head, !out.offloads.Checksum)
		r = w.written(out, out.queues[w.index].WriteParts(header, payload), 1, header, payload)
		taken = taken || r == policy.None
		w.segments++
	}
	if taken {
		return policy.None
	}
	return r
}
