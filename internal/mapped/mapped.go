// Package mapped gives out large tables of memory that the garbage collector
// neither scans nor counts. Nothing in such a table may hold a pointer.
package mapped

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Page is the size of a huge page, in bytes: what one entry of the processor's
// translation table covers where the kernel gives such pages.
const Page = 2 << 20

// A Memory is mapped, zero at first, and costs nothing where it was never
// touched. Its beginning is aligned to a page of the processor. The zero Memory
// is empty.
type Memory struct{ bytes []byte }

// Map returns a Memory of size bytes.
func Map(size int) (Memory, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return Memory{}, fmt.Errorf("mapping %d bytes: %w", size, err)
	}
	return Memory{b}, nil
}

// Slice lays a table of T over m, as many as fit. It must not be used after
// Unmap. Mapped memory is page-aligned, and Go has no other way to give it a type.
func Slice[T any](m Memory) []T {
	var t T
	n := len(m.bytes) / int(unsafe.Sizeof(t))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&m.bytes[0])), n)
}

// Part returns n bytes of m from the given one on, which both must be multiples of
// what is laid over them. It is m's owner who unmaps them.
func (m Memory) Part(from, n int) Memory { return Memory{m.bytes[from : from+n : from+n]} }

// Len returns the number of bytes.
func (m Memory) Len() int { return len(m.bytes) }

// Huge asks for huge pages from the given byte on, for memory that will be used
// densely. It is advice: a kernel without huge pages gives small ones, and
// nothing but speed depends on it.
func (m Memory) Huge(from int) {
	from = (from + Page - 1) &^ (Page - 1)
	if from < len(m.bytes) {
		_ = unix.Madvise(m.bytes[from:], unix.MADV_HUGEPAGE)
	}
}

// Populate makes n bytes resident from the given one on, so that their first use
// does not wait for the kernel; those beyond the end are ignored. A kernel before
// Linux 5.14 leaves it to the first use.
func (m Memory) Populate(from, n int) {
	if end := min(from+n, len(m.bytes)); from < end {
		_ = unix.Madvise(m.bytes[from:end], unix.MADV_POPULATE_WRITE)
	}
}

// Clear makes m zero and gives its pages back. That it may fail to do so is no
// error: a kernel that cannot says so for memory that is locked, which this is
// not.
func (m Memory) Clear() {
	if len(m.bytes) > 0 {
		_ = unix.Madvise(m.bytes, unix.MADV_DONTNEED)
	}
}

// Unmap gives m back and makes it empty.
func (m *Memory) Unmap() error {
	b := m.bytes
	if m.bytes = nil; b == nil {
		return nil
	}
	if err := unix.Munmap(b); err != nil {
		return fmt.Errorf("unmapping %d bytes: %w", len(b), err)
	}
	return nil
}

// Resident returns how many bytes of m are in memory.
func (m Memory) Resident() (int, error) {
	page := unix.Getpagesize()
	pages := make([]byte, (len(m.bytes)+page-1)/page)
	if len(pages) == 0 {
		return 0, nil
	}
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m.bytes[0])), uintptr(len(m.bytes)), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		return 0, fmt.Errorf("mincore: %w", errno)
	}
	n := 0
	for _, p := range pages {
		n += int(p&1) * page
	}
	return n, nil
}
