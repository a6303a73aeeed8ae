package lab

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// gateVariable names the descriptor on which a process that startProcesses made
// waits until it may begin.
const gateVariable = "VSWITCH_GATE"

// Enter brings the calling process into an instance's namespace, as `ip netns
// exec` would: the network, a /sys that shows it, and the files of
// /etc/netns/NAME over those of /etc. The namespace "" is the host's, in which
// nothing changes. Enter locks the calling goroutine to its thread for good: only
// this thread is inside, so the caller goes on with syscall.Exec.
func Enter(namespace string) error {
	if err := awaitGate(); err != nil {
		return err
	}
	runtime.LockOSThread()
	if namespace == "" {
		return nil
	}
	if err := join(namespace); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("namespace %s: mounts of its own: %w", namespace, err)
	}
	// What is mounted from here on must not reach the host.
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("namespace %s: mounts of its own: %w", namespace, err)
	}
	if err := mountSys(namespace); err != nil {
		return err
	}
	return bindFiles(namespace)
}

// Exec calls Enter, and then replaces this process by the command argv, which
// keeps the process's standard streams, terminal and signals. It returns only if
// that fails. The error wraps exec.ErrNotFound or os.ErrNotExist if there is no
// such command, and os.ErrPermission if it may not be run.
func Exec(namespace string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("no command")
	}
	if err := Enter(namespace); err != nil {
		return err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err // it names the command
	}
	if err := unix.Exec(path, argv, os.Environ()); err != nil {
		return &os.PathError{Op: "exec", Path: path, Err: err}
	}
	panic("unreachable: exec returned without an error")
}

// awaitGate waits until the process that started this one has written down that
// it did. It returns an error when that one ended without. Such a process is to
// have its standard streams alone, and not what the caller of `vswitch up` had
// open.
func awaitGate() error {
	value, ok := os.LookupEnv(gateVariable)
	if !ok {
		return nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return fmt.Errorf("environment: %s=%q: not a descriptor", gateVariable, value)
	}
	gate := os.NewFile(uintptr(fd), "gate")
	n, err := gate.Read(make([]byte, 1))
	if n != 1 {
		return fmt.Errorf("vswitch ended before this command could start: %w", err)
	}
	// ENOSYS, EINVAL: Linux before 5.11, where the command gets what there is.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("descriptors: %w", err)
	}
	return errors.Join(gate.Close(), os.Unsetenv(gateVariable))
}

// mountSys lays a /sys over the host's that shows the calling thread's network
// namespace.
func mountSys(namespace string) error {
	var flags uintptr
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		// Nothing is mounted there, or it may not be unmounted. One that is read-only
		// can only be covered by another such.
		var fs unix.Statfs_t
		if unix.Statfs("/sys", &fs) == nil && fs.Flags&unix.ST_RDONLY != 0 {
			flags = unix.MS_RDONLY
		}
	}
	if err := unix.Mount(namespace, "/sys", "sysfs", flags, ""); err != nil {
		return fmt.Errorf("namespace %s: mount /sys: %w", namespace, err)
	}
	return nil
}

// bindFiles lays the files of /etc/netns/NAME over those of the same names in
// /etc.
func bindFiles(namespace string) error {
	dir := filepath.Join(etcDir, namespace)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	for _, e := range entries {
		from, to := filepath.Join(dir, e.Name()), filepath.Join("/etc", e.Name())
		if err := unix.Mount(from, to, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("namespace %s: lay %s over %s: %w", namespace, from, to, err)
		}
	}
	return nil
}
