//go:build !amd64 && !arm64

package mapped

import "unsafe"

// Fetch does nothing on processors for which there is no assembly.
func Fetch(unsafe.Pointer) {}
