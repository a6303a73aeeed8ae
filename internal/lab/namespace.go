package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// runDir is where `ip netns` keeps the names of namespaces.
const runDir = "/run/netns"

// ownNamespace is that of this process: its threads go elsewhere for moments only.
const ownNamespace = "/proc/self/ns/net"

// An identity tells one namespace from all others that exist at the same time.
type identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

// A namespace is an open network namespace. It lives on while it is open, also
// without a name.
type namespace struct {
	name   string
	id     identity
	handle netns.NsHandle
}

// namespacePath returns where the namespace of that name is bound. It refuses a
// name that would lead elsewhere.
func namespacePath(name string) (string, error) {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("namespace %q: not a name", name)
	}
	return filepath.Join(runDir, name), nil
}

// makeNamespaces makes a namespace for each name. They have no name yet: Publish
// gives it to them.
func makeNamespaces(names []string) ([]*namespace, error) {
	made := make([]*namespace, 0, len(names))
	if len(names) == 0 {
		return made, nil
	}
	err := onOwnThread(func() error {
		for _, name := range names {
			handle, err := netns.New()
			if err != nil {
				return fmt.Errorf("namespace %s: %w", name, err)
			}
			n := &namespace{name: name, handle: handle}
			made = append(made, n)
			if n.id, err = n.identify(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for _, n := range made {
			err = errors.Join(err, n.close())
		}
		return nil, err
	}
	return made, nil
}

// openNamespace opens the namespace of that name, whoever made it.
func openNamespace(name string) (*namespace, error) {
	path, err := namespacePath(name)
	if err != nil {
		return nil, err
	}
	handle, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	n := &namespace{name: name, handle: handle}
	if n.id, err = n.identify(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// close closes the namespace. It may be called again.
func (n *namespace) close() error {
	if !n.handle.IsOpen() {
		return nil
	}
	return n.handle.Close()
}

// identify reads the namespace's identity. It returns errNotNamespace for a file
// that is none.
func (n *namespace) identify() (identity, error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(n.handle), &fs); err != nil {
		return identity{}, fmt.Errorf("namespace %s: %w", n.name, err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return identity{}, fmt.Errorf("namespace %s: %w", n.name, errNotNamespace)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(n.handle), &st); err != nil {
		return identity{}, fmt.Errorf("namespace %s: %w", n.name, err)
	}
	return identity{Device: st.Dev, Inode: st.Ino}, nil
}

var errNotNamespace = errors.New("not a namespace")

// do calls f on a thread that is inside the namespace. Sockets, TAP devices and
// /proc/sys/net are then the namespace's own.
func (n *namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("namespace %s: enter: %w", n.name, err)
		}
		return f()
	})
}

// onOwnThread calls f, which may change the thread's namespace, on a thread of
// its own, and brings the thread back. A thread that cannot be brought back is
// never unlocked, so that it ends with its goroutine and runs no other.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			result <- fmt.Errorf("namespace of this thread: %w", err)
			return
		}
		err = f()
		back := netns.Set(home)
		if back == nil {
			runtime.UnlockOSThread()
		} else {
			back = fmt.Errorf("namespace: leave: %w", back)
		}
		result <- errors.Join(err, back, home.Close())
	}()
	return <-result
}

// join moves the calling thread into the namespace of that name, for good. The
// caller has locked the thread.
func join(name string) error {
	n, err := openNamespace(name)
	if err != nil {
		return err
	}
	if err := netns.Set(n.handle); err != nil {
		return errors.Join(fmt.Errorf("namespace %s: enter: %w", name, err), n.close())
	}
	return n.close()
}

// publish binds the namespace to its name, which must be free.
func (n *namespace) publish() error {
	path, err := namespacePath(n.name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o444)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", n.name, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("namespace %s: %w", n.name, err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", int(n.handle)), path, "none", unix.MS_BIND, ""); err != nil {
		return errors.Join(fmt.Errorf("namespace %s: bind to %s: %w", n.name, path, err), os.Remove(path))
	}
	return nil
}

// A holder is who has a name in /run/netns.
type holder int

const (
	nobody   holder = iota
	ours            // the namespace in question
	leftover        // an empty file: a crash came between making it and binding the namespace
	foreign
)

// whoHolds looks up a name. found is valid iff the name is a namespace's.
func whoHolds(name string, want identity) (who holder, found identity, err error) {
	path, err := namespacePath(name)
	if err != nil {
		return foreign, identity{}, err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nobody, identity{}, nil
	}
	if err != nil {
		return foreign, identity{}, fmt.Errorf("namespace %s: %w", name, err)
	}
	n, err := openNamespace(name)
	if errors.Is(err, errNotNamespace) {
		if info.Mode().IsRegular() && info.Size() == 0 && want != (identity{}) {
			return leftover, identity{}, nil
		}
		return foreign, identity{}, nil
	}
	if err != nil {
		return foreign, identity{}, err
	}
	if err := n.close(); err != nil {
		return foreign, identity{}, fmt.Errorf("namespace %s: %w", name, err)
	}
	if n.id == want {
		return ours, n.id, nil
	}
	return foreign, n.id, nil
}

// unpublish takes the name from the namespace, which then ends with the last
// process in it.
func unpublish(name string) error {
	path, err := namespacePath(name)
	if err != nil {
		return err
	}
	// EINVAL: not mounted, so there is only the file.
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("namespace %s: unmount: %w", name, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("namespace %s: %w", name, err)
	}
	return nil
}

// makeRunDir makes /run/netns a shared mount, as `ip netns add` does, so that
// every mount namespace of the host sees the same names appear and go.
func makeRunDir() error {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	// `ip netns add` takes the same lock, so that the directory is not mounted
	// over itself twice.
	d, err := os.Open(runDir)
	if err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	defer d.Close()
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("namespaces: lock %s: %w", runDir, err)
	}
	err = unix.Mount("", runDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if !errors.Is(err, unix.EINVAL) {
		return wrapMount(err)
	}
	// Not a mount point yet.
	if err := unix.Mount(runDir, runDir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return wrapMount(err)
	}
	return wrapMount(unix.Mount("", runDir, "none", unix.MS_SHARED|unix.MS_REC, ""))
}

func wrapMount(err error) error {
	if err != nil {
		return fmt.Errorf("namespaces: share %s: %w", runDir, err)
	}
	return nil
}
