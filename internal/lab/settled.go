package lab

import (
	"hash/maphash"

	"golang.org/x/sys/unix"
)

// Settled are the files of one directory that this process has written or found to
// be right, by path. So a reload need not read again what nobody has touched. The
// zero settled cannot remember.
type settled map[string]imprint

// An imprint is what a file held, and what the kernel changes with it.
type imprint struct {
	content uint64 // hashed with imprintSeed
	inode   uint64
	size    int64
	changed unix.Timespec // the inode, ctime
}

var imprintSeed = maphash.MakeSeed()

// hold reports whether the file at path surely still has that content.
func (s settled) hold(path, content string) bool {
	was, ok := s[path]
	if !ok || was.content != maphash.String(imprintSeed, content) {
		return false
	}
	now, ok := imprintOf(path, content)
	return ok && now == was
}

// remember takes down that the file at path has that content now.
func (s settled) remember(path, content string) {
	if now, ok := imprintOf(path, content); ok {
		s[path] = now
	}
}

// imprintOf returns the imprint of a file with that content, if there is a file.
func imprintOf(path, content string) (imprint, bool) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return imprint{}, false
	}
	return imprint{maphash.String(imprintSeed, content), st.Ino, st.Size, st.Ctim}, true
}
