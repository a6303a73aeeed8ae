package flowlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A file is a log that grows at its end, and is rotated when it is full: PATH
// becomes PATH.1, that PATH.2, and so on, by renaming, so that a reader who holds
// a file keeps it. If somebody else renames or removes PATH, the next append makes
// it anew. One goroutine at a time may use it.
type file struct {
	path   string
	header string // the first line of every file, with its line feed; "" for none
	limit  int64  // bytes of one file
	keep   int    // rotated files

	f       *os.File // nil while none is open
	regular bool     // f is a regular file; a device has neither size nor header, and is never rotated
	size    int64    // bytes; valid iff regular
}

// open opens the file, or makes it with mode 0640. A FIFO is refused: its reader
// would set the pace.
func (l *file) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeCharDevice == 0 {
		err = fmt.Errorf("%s: neither a regular file nor a character device", l.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.regular, l.size = f, info.Mode().IsRegular(), info.Size()
	return nil
}

// close closes the file, if one is open.
func (l *file) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// append adds whole lines. It returns how many bytes of them were written, always
// the end of a line: what a full disk leaves of a line is taken back.
func (l *file) append(lines []byte) (written int, err error) {
	if err := l.ready(int64(len(lines))); err != nil {
		return 0, err
	}
	if l.regular && l.size == 0 && l.header != "" {
		if n, err := l.write([]byte(l.header)); err != nil || n == 0 {
			return 0, errors.Join(err, l.truncate(0))
		}
	}
	n, err := l.write(lines)
	if n < len(lines) {
		torn := n - (bytes.LastIndexByte(lines[:n], '\n') + 1)
		n -= torn
		if torn > 0 {
			err = errors.Join(err, l.truncate(l.size-int64(torn)))
		}
	}
	return n, err
}

// write writes b as far as it goes.
func (l *file) write(b []byte) (int, error) {
	n, err := l.f.Write(b)
	l.size += int64(n)
	return n, err
}

// truncate cuts a regular file to size bytes.
func (l *file) truncate(size int64) error {
	if !l.regular || size >= l.size {
		return nil
	}
	err := l.f.Truncate(size)
	if err == nil {
		l.size = size
	}
	return err
}

// ready sees to it that the open file is the one at path, begins with the header,
// and has room for so many bytes more.
func (l *file) ready(more int64) error {
	if l.f != nil {
		at, err := os.Lstat(l.path)
		held, heldErr := l.f.Stat()
		switch {
		case heldErr != nil:
			return heldErr
		case errors.Is(err, fs.ErrNotExist), err == nil && !os.SameFile(at, held):
			if err := l.close(); err != nil {
				return err
			}
		case err != nil:
			return err
		case held.Mode().IsRegular():
			l.size = held.Size() // somebody may have cut it
		}
	}
	if l.f == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if !l.regular {
		return nil
	}
	other, err := l.otherHeader()
	if err != nil {
		return err
	}
	if other || l.size > 0 && l.size+more > l.limit {
		return l.rotate()
	}
	return nil
}

// otherHeader reports whether the file has contents that do not begin with the
// header, if there is to be one: an earlier run had another format.
func (l *file) otherHeader() (bool, error) {
	if l.header == "" || l.size == 0 {
		return false, nil
	}
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	first := make([]byte, len(l.header))
	n, err := io.ReadFull(f, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return string(first[:n]) != l.header, nil
}

// rotate moves the file out of the way and opens a new one. The oldest goes.
func (l *file) rotate() error {
	if err := l.close(); err != nil {
		return err
	}
	for n := l.keep; n > 0; n-- {
		from := l.path
		if n > 1 {
			from = fmt.Sprintf("%s.%d", l.path, n-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.open()
}
