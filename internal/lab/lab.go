// Package lab makes what a VPC needs of the host: namespaces, TAP devices with
// their addresses and routes, hosts files, and the commands that run in the
// instances. It also removes them again, exactly those, also after a crash.
//
// # The journal
//
// The state directory holds journal.json, the list of everything that vswitch
// made and has not removed yet. Each kind of thing is written down before it can
// be seen by anybody else, so that a crash at any moment leaves nothing that the
// journal does not know:
//
//   - A namespace is made without a name first. Its device and inode then exist,
//     and go into the journal; only after that it is bound to /run/netns/NAME. A
//     crash before the binding frees it with the process.
//   - A hosts directory (/etc/netns/NAME) goes into the journal, then is made.
//     The first line of its hosts file says whose it is as well, because /etc
//     outlives a restart of the machine and the state directory need not.
//   - A link in the host's namespace goes into the journal by name, then is made,
//     then its index is added. A TAP ends with the last descriptor of it, so a
//     crash removes it, and an entry without an index has nothing to remove.
//   - A command is started as a process that waits at a gate (a pipe) before it
//     does anything. Its pid and start time go into the journal; then the gate
//     opens. When vswitch dies before that, the process sees the pipe close and
//     ends.
//
// An entry is taken out after the thing is gone. What the journal lists is
// removed only when it still is what was made: the same inode, index or start
// time. Anything else is foreign: it is left alone, and reported.
//
// /run/netns itself stays, as a shared mount, for it belongs to `ip netns`.
//
// # Changes
//
// Prepare makes what a new configuration needs more, and undoes all of it when a
// part cannot be made. The switch publishes the configuration in between. Commit
// then changes and removes the rest and cannot reasonably fail; Rollback undoes
// what Prepare did.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrInUse is returned by Open when another process has the state directory
// open.
var ErrInUse = errors.New("in use by another vswitch")

// A Lab is the part of the host that belongs to one VPC. Prepare, the methods of
// a Change, Down and Close are for one goroutine at a time; Processes may be
// called at any moment by any.
type Lab struct {
	// Queues is how many queues the devices have that are opened from now on, one for
	// each worker of the switch; 0 means 1.
	Queues int

	dir  string   // the state directory
	lock *os.File // holds the lock of dir until Close

	attached map[string]attachment // by instance: those whose device this process has opened
	settled  map[string]settled    // by namespace: the files of its hosts directory
	services serviceList           // of the instances
	change   *Change               // the one between Prepare and Commit or Rollback; nil for none

	watches sync.WaitGroup // the goroutines that wait for the end of a command
	ended   chan struct{}  // see Ended

	// mu guards the fields below. It is held while the journal is written, and
	// never while the lab waits for a process.
	mu       sync.Mutex
	journal  journal
	saved    []byte            // what this process last wrote to the journal's file; nil if that failed
	watching map[string]*watch // by instance
	lost     map[string]bool   // by instance: commands that ended while nobody watched
	closed   bool
}

// Open opens the state directory dir, making it if need be, and locks it against
// other processes until Close. It reads the journal that an earlier process may
// have left, and watches over the commands of it that still run. It returns
// ErrInUse if another process has the directory open.
func Open(dir string) (*Lab, error) {
	if err := makeStateDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockStateDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Lab{
		dir:      dir,
		lock:     lock,
		attached: map[string]attachment{},
		ended:    make(chan struct{}, 1),
		watching: map[string]*watch{},
		lost:     map[string]bool{},
	}
	if l.journal, err = loadJournal(l.journalPath()); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	l.adoptProcesses()
	return l, nil
}

// Close lets go of the state directory. What was made stays, with the journal of
// it, and so do the commands. An empty state directory is removed. Close returns
// after the last goroutine of the Lab has ended.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for _, w := range l.watching {
		w.stop()
	}
	empty := l.journal.empty()
	l.mu.Unlock()
	l.watches.Wait()

	var err error
	if empty {
		// The lock goes before the directory and is still held, so whoever waits for
		// it will find that its file is no longer the one in the directory. Other
		// files, such as the daemon's own, keep the directory.
		err = l.removeFiles()
		os.Remove(l.lock.Name())
		os.Remove(l.dir)
	}
	return errors.Join(err, l.lock.Close())
}

// Dir returns the state directory.
func (l *Lab) Dir() string { return l.dir }

// makeStateDir makes dir, for its owner alone, and refuses one that somebody
// else could have laid there (reliability row C3).
func makeStateDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("state directory: %w", err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("state directory %s: belongs to user %d, not to us (%d)", dir, st.Uid, os.Geteuid())
	}
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	return nil
}

// lockStateDir takes the lock of the state directory. The kernel frees it when
// the process ends, however it ends.
func lockStateDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lab.lock")
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if errors.Is(err, os.ErrNotExist) { // the Close of another process removed dir just now
			if err = makeStateDir(dir); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			holder := make([]byte, 20)
			n, _ := f.Read(holder)
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("state directory %s: %w (process %s)", dir, ErrInUse, holder[:n])
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !sameFile(f, path) { // the Close of another process removed it before we had the lock
			f.Close()
			continue
		}
		err = errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid())))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		return f, nil
	}
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// sameFile reports whether path still leads to f.
func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}
