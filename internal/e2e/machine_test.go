package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Without the rights to make namespaces `up` says so, says what to do, and makes
// nothing.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneSubnet)
	const nobody = 65534
	// A place where that user may read the file and run the binary.
	dir, err := os.MkdirTemp("", "vst-rights-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copyFile(t, binary, filepath.Join(dir, "vswitch"), 0o755)
	copyFile(t, l.file, filepath.Join(dir, "vpc.toml"), 0o644)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "run"), nobody, nobody); err != nil {
		t.Fatal(err)
	}

	up := exec.Command(filepath.Join(dir, "vswitch"), "up")
	up.Dir = dir
	up.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+filepath.Join(dir, "run"))
	up.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	r := finish(t, up)
	if r.code != 1 || !strings.Contains(r.stderr, "root") {
		t.Errorf("want exit code 1 and the advice to be root:\n%v", r)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "run/vswitch/*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// copyFile copies a file and gives the copy a mode.
func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// Without /dev/net/tun `up` says so, says what to do, and makes nothing.
func TestMissingTunDevice(t *testing.T) {
	t.Parallel()
	l := newLab(t, oneSubnet)
	// In a mount namespace of its own, an empty folder hides the device.
	up := exec.Command("sh", "-c", `mount -t tmpfs none /dev/net && exec "$@"`, "sh", binary, "-f", l.file, "up")
	up.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	r := finish(t, up)
	if r.code != 1 || !strings.Contains(r.stderr, "/dev/net/tun") {
		t.Errorf("want exit code 1 and the name of the device:\n%v", r)
	}
	l.gone()
}
