package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"time"

	"vswitch/internal/policy"
	"vswitch/internal/wire"
	vswitch "vswitch/switch"
)

// Options say how a Stream writes what a Watch shows.
type Options struct {
	Application string // that writes the file
	Filter      string // what the Watch matches, as it was given
	Snap        int    // bytes kept of each frame, or of each segment; 0 means all
	Segments    bool   // superframes are cut into what goes over a wire
	Count       uint64 // of frames, after which the stream ends; 0 means no end
}

// interval is how often a Stream looks for frames that come slowly.
const interval = 10 * time.Millisecond

// batch is how many frames are written before a Stream looks whether it is to end.
const batch = 1024

// What ends a reading early.
var (
	errEnough = errors.New("as many frames as were asked for")
	errBatch  = errors.New("a batch of frames")
)

// A Stream writes a pcapng file from what a Watch shows.
type Stream struct {
	watch   *vswitch.Watch
	options Options
	out     *bufio.Writer
	file    *Writer
	began   time.Time

	ports   []vswitch.WatchedPort // those whose interfaces are written
	written []uint64              // frames, by port
	counted []uint64              // losses that the file tells of already, by port
	total   uint64                // of written
	batch   int                   // frames of this step
	frame   wire.Frame
	head    [wire.MaxSegmentHeader]byte
	cut     []byte
}

// Write writes what x shows to w, until ctx ends, x does, or as many frames are
// written as were asked for. It closes x in the end, and writes what had been
// copied until then. The stream is complete then; after an error of w it is not.
// What was written is never held back for long.
func Write(ctx context.Context, w io.Writer, x *vswitch.Watch, o Options) error {
	defer x.Close()
	s := &Stream{watch: x, options: o, out: bufio.NewWriterSize(w, 1<<18), began: time.Now()}
	file, err := NewWriter(s.out, o.Application)
	if err != nil {
		return err
	}
	s.file = file
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := s.step() // the first one writes the interfaces, whether or not frames come
		if errors.Is(err, errEnough) {
			return s.finish()
		}
		if err != nil && !errors.Is(err, errBatch) {
			return err
		}
		wait := tick.C
		if errors.Is(err, errBatch) {
			wait = ready
		}
		select {
		case <-ctx.Done():
		case <-x.Done():
		case <-x.Crowded():
			continue
		case <-wait:
			continue
		}
		return s.finish()
	}
}

// ready is a channel from which there is always something to receive.
var ready = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// step writes what waits. It returns errEnough or errBatch if there may be more.
func (s *Stream) step() error {
	if err := s.describe(); err != nil {
		return err
	}
	s.batch = 0
	err := s.watch.Read(s.packets)
	if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, errBatch) {
		return err
	}
	if err := s.statistics(false); err != nil {
		return err
	}
	return errors.Join(s.out.Flush(), err)
}

// finish writes what had been copied before the end, and all counts.
func (s *Stream) finish() error {
	s.watch.Close()
	for {
		err := s.step()
		if err == nil || errors.Is(err, errEnough) {
			break
		}
		if !errors.Is(err, errBatch) {
			return err
		}
	}
	if err := s.statistics(true); err != nil {
		return err
	}
	return s.out.Flush()
}

// describe writes the interfaces that are new.
func (s *Stream) describe() error {
	ports := s.watch.Ports()
	for _, p := range ports[len(s.ports):] {
		face := &p.Interface
		i := Interface{
			Name:        face.Instance,
			Description: fmt.Sprintf("%s %s in subnet %s, seen by the switch", face.InstanceID, face.ID, face.Subnet),
			MAC:         face.MAC, Snap: s.options.Snap, Filter: s.options.Filter,
		}
		for _, a := range face.Addresses {
			bits := face.Prefix
			if a.Is6() {
				bits = face.Prefix6
			}
			i.Addresses = append(i.Addresses, netip.PrefixFrom(a, bits))
		}
		if err := s.file.Interface(i); err != nil {
			return err
		}
	}
	s.ports = ports
	for len(s.written) < len(ports) {
		s.written, s.counted = append(s.written, 0), append(s.counted, 0)
	}
	return nil
}

// statistics writes the counts of the ports that have lost more frames, or of all.
func (s *Stream) statistics(all bool) error {
	for i := range s.ports {
		lost := s.ports[i].Lost()
		if lost == s.counted[i] && !all {
			continue
		}
		s.counted[i] = lost
		err := s.file.Statistics(Statistics{Interface: i, Start: s.began, End: time.Now(), Received: s.written[i] + lost, Lost: lost})
		if err != nil {
			return err
		}
	}
	return nil
}

// packets writes one frame and counts it.
func (s *Stream) packets(f *vswitch.WatchedFrame) error {
	if s.options.Count > 0 && s.total == s.options.Count {
		return errEnough // these were copied on the way to the end
	}
	if f.Port >= len(s.ports) { // a reload has brought it since
		if err := s.describe(); err != nil {
			return err
		}
	}
	s.written[f.Port]++
	s.total++
	s.batch++
	if err := s.packet(f); err != nil {
		return err
	}
	switch {
	case s.total == s.options.Count:
		return errEnough
	case s.batch == batch:
		return errBatch
	}
	return nil
}

// packet writes one frame, or its segments, with the checksum that its sender left
// to the hardware: nobody who reads the file shall take it for a wrong one.
func (s *Stream) packet(f *vswitch.WatchedFrame) error {
	p := Packet{Interface: f.Port, Outbound: f.Sent, Time: f.Time, Data: f.Bytes[wire.VirtioSize:], Length: f.Length, Comments: comments(f)}
	if whole := len(p.Data) == f.Length; whole && s.frame.Parse(f.Bytes, wire.MaxDatagram) == policy.None {
		if s.options.Segments && s.frame.GSO != wire.GSONone {
			return s.segments(&p)
		}
		s.frame.FinishChecksum()
	}
	return s.snap(&p)
}

// snap writes p, cut to the snap length.
func (s *Stream) snap(p *Packet) error {
	if s.options.Snap > 0 {
		p.Data = p.Data[:min(len(p.Data), s.options.Snap)]
	}
	return s.file.Packet(p)
}

// segments writes the superframe p as the segments that it stands for.
func (s *Stream) segments(p *Packet) error {
	for i := range s.frame.Segments {
		header, payload := s.frame.Segment(i, s.head[:], true)
		s.cut = append(append(s.cut[:0], header[wire.VirtioSize:]...), payload...)
		p.Data, p.Length = s.cut, len(s.cut)
		if err := s.snap(p); err != nil {
			return err
		}
	}
	return nil
}

// comments says what became of a frame, if there is more to say than that it went
// its way.
func comments(f *vswitch.WatchedFrame) []string {
	switch {
	case f.Held:
		return []string{"held: a fragment that waits for the rest of its datagram"}
	case f.Reason == policy.None:
		return nil
	case f.Denial == nil:
		return []string{fmt.Sprintf("dropped: %s %s", f.Reason, f.Reason.Sentence())}
	case f.Denial.Origin == vswitch.Origin{}:
		return []string{fmt.Sprintf("dropped: %s %s", f.Reason, f.Denial)}
	}
	// A file that is handed on need not tell where its owner keeps things.
	where := f.Denial.Origin
	where.File = filepath.Base(where.File)
	return []string{fmt.Sprintf("dropped: %s %s (%s)", f.Reason, f.Denial, where)}
}
