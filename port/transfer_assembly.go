//go:build amd64 || arm64

package port

// transfer makes the system call read(2) or write(2), whose number call is, with n
// bytes from b on, and returns what the kernel does: a number of bytes, or that of
// an error, below zero. It never waits for Go's scheduler, so fd must be non-blocking.
//
// It does what syscall.RawSyscall6 does with one return in place of two. Each return
// behind a system call is mispredicted, the kernel having used up the processor's
// memory of return addresses, at about 8 ns.
//
//go:noescape
func transfer(call, fd uintptr, b *byte, n int) int
