// Package port moves frames in and out of the host: TAP devices and in-memory
// ports. It knows no policy.
package port

// A Status is the outcome of one read or write. The data path has no error
// values: a Status is counted, not handed up.
type Status uint8

const (
	OK      Status = iota
	Empty          // read: nothing is waiting
	Down           // the device exists but is administratively down (EIO); try again later
	Gone           // the device was removed, or Close was called; it never comes back
	Refused        // this one frame was lost (EINVAL, ENOMEM, a full in-memory queue); the device goes on
)

var statusNames = [...]string{OK: "ok", Empty: "empty", Down: "down", Gone: "gone", Refused: "refused"}

// String returns the status as a counter would be named.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// Offloads are the kinds of unfinished frame that a device takes.
type Offloads struct {
	Checksum bool // frames whose TCP or UDP checksum is still to be filled in
	TSO4     bool // TCP superframes over IPv4
	TSO6     bool // TCP superframes over IPv6
	USO      bool // UDP superframes, both families
}

// A Device is one queue of frames to and from one instance. Every frame carries
// a 12-byte virtio_net_hdr in front (package wire).
//
// Read and FD are for the one worker that owns the receive side. Write and
// WriteParts may be called by several workers at once. Close may be called once,
// by anybody, when no worker uses the Device any more. Neither reading nor
// writing blocks.
type Device interface {
	// Read copies the next frame into b, which must hold wire.MaxFrame bytes, and
	// returns its length. The length is valid iff the status is OK.
	Read(b []byte) (int, Status)
	// Write sends the frame b. It does not keep b.
	Write(b []byte) Status
	// WriteParts is Write for one frame that lies in two places: head, which holds
	// at least the virtio_net_hdr, and payload, which may be empty, behind it. So the
	// segments of a superframe need no copy of their payload. It keeps neither.
	WriteParts(head, payload []byte) Status
	// FD returns a descriptor that polls readable when Read has something.
	FD() int
	// Offloads returns what Write and WriteParts take. It never changes.
	Offloads() Offloads
	// Close releases the device.
	Close() error
}
