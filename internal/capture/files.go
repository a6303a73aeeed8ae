package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// Files are one or more pcapng files that a stream is cut into, each complete in
// itself, named and limited as tcpdump does it with -C and -W.
type Files struct {
	name  string
	size  int64 // bytes after which the next file begins; 0 means never
	count int   // how many files there are at most, the oldest is overwritten then; 0 means no limit

	head   []byte // section and interfaces, to begin a file with
	file   io.WriteCloser
	index  int   // of file
	length int64 // of file, in bytes
	names  []string
}

// NewFiles returns Files of which the first is open. The name "-" is w; it cannot
// be limited. An existing file is overwritten.
func NewFiles(name string, w io.Writer, size int64, count int) (*Files, error) {
	f := &Files{name: name, size: size, count: count}
	if name == "-" {
		f.size, f.file = 0, keptOpen{w}
		f.names = []string{name}
		return f, nil
	}
	return f, f.open()
}

// keptOpen is a writer that somebody else closes.
type keptOpen struct{ io.Writer }

// Close does nothing.
func (keptOpen) Close() error { return nil }

// Write writes one block, to the next file if this one is full.
func (f *Files) Write(b Block) error {
	if b.IsHead() {
		f.head = append(f.head, b...)
	} else if f.size > 0 && f.length >= f.size && b.IsPacket() {
		if err := f.next(); err != nil {
			return err
		}
	}
	return f.write(b)
}

func (f *Files) write(b []byte) error {
	n, err := f.file.Write(b)
	f.length += int64(n)
	return err
}

// next closes the file and begins another one.
func (f *Files) next() error {
	if err := f.file.Close(); err != nil {
		return err
	}
	f.index++
	if f.count > 0 {
		f.index %= f.count
	}
	if err := f.open(); err != nil {
		return err
	}
	return f.write(f.head)
}

// open opens the file of the current index.
func (f *Files) open() error {
	name := f.name
	switch {
	case f.count > 0:
		name = fmt.Sprintf("%s%0*d", name, len(strconv.Itoa(f.count-1)), f.index)
	case f.index > 0:
		name += strconv.Itoa(f.index)
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if len(f.names) <= f.index {
		f.names = append(f.names, name)
	}
	f.file, f.length = file, 0
	return nil
}

// Names returns the files that were written.
func (f *Files) Names() []string { return f.names }

// Close ends the last file.
func (f *Files) Close() error { return f.file.Close() }

// Copy writes a stream to f, block by block, until the stream ends, and returns its
// counts, also if it ends with an error.
func (f *Files) Copy(stream io.Reader) (frames, lost uint64, err error) {
	r := NewReader(stream)
	losses := map[int]uint64{}
	for {
		b, err := r.Next()
		if err != nil {
			for _, n := range losses {
				lost += n
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return frames, lost, err
		}
		if b.IsPacket() {
			frames++
		}
		if s, ok := b.Statistics(); ok {
			losses[s.Interface] = s.Lost
		}
		if err := f.Write(b); err != nil {
			return frames, lost, err
		}
	}
}
