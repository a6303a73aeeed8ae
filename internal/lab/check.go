package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// tunDevice is the way to the TAP driver.
const tunDevice = "/dev/net/tun"

// Check returns an error that says what to do if this process may not, or this
// machine cannot, make namespaces and TAP devices. It changes nothing.
func Check() error {
	if err := checkRights(); err != nil {
		return err
	}
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%s: the kernel's TAP driver is not there: load it (modprobe tun); in a container, pass the device in (--device %s): %w", tunDevice, tunDevice, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: not allowed to open it: run vswitch as root; in a container, allow the device (--device %s): %w", tunDevice, tunDevice, err)
	}
	return fmt.Errorf("TAP driver: %w", err)
}

// checkRights returns an error unless this process may change the host's network.
func checkRights() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: vswitch makes network namespaces and TAP interfaces: run it as root (sudo vswitch ...)")
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // a set of 64 capabilities in two halves, capabilities(7)
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("capabilities of this process: %w", err)
	}
	for _, c := range []struct {
		number uint
		name   string
	}{
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	} {
		if data[c.number/32].Effective&(1<<(c.number%32)) == 0 {
			return fmt.Errorf("root without %s: vswitch makes network namespaces and TAP interfaces: in a container, run it with --cap-add=NET_ADMIN --cap-add=SYS_ADMIN, or --privileged", c.name)
		}
	}
	return nil
}
