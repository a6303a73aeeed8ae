//go:build amd64 || arm64

package mapped

import "unsafe"

// Fetch asks the processor for the line of its cache that p points into, and does
// not wait for it. It is advice: what the processor does with it shows in nothing but
// time, not even where p points to nothing.
//
//go:noescape
func Fetch(p unsafe.Pointer)
