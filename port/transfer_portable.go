//go:build !amd64 && !arm64

package port

import (
	"syscall"
	"unsafe"
)

// transfer is the same for processors for which there is no assembly.
func transfer(call, fd uintptr, b *byte, n int) int {
	done, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(b)), uintptr(n), 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	return int(done)
}
