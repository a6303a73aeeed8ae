package vswitch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"

	"vswitch/port"
)

// A pipeDevice is a Device that is one end of a pipe. The other end tells, by EPIPE,
// once nobody holds the device's.
type pipeDevice struct {
	treadmill
	own, other int
}

func newPipeDevice(t *testing.T) *pipeDevice {
	t.Helper()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ends[1]) })
	return &pipeDevice{own: ends[0], other: ends[1]}
}

func (d *pipeDevice) Read([]byte) (int, port.Status) { return 0, port.Empty }
func (d *pipeDevice) FD() int                        { return d.own }

func (d *pipeDevice) Close() error {
	if d.own < 0 {
		return nil
	}
	return unix.Close(d.own)
}

// held reports whether somebody holds the device's end of the pipe.
func (d *pipeDevice) held() bool {
	_, err := unix.Write(d.other, []byte{0})
	return !errors.Is(err, unix.EPIPE)
}

// threadsWithout returns the threads of this process whose table of open files has
// not a descriptor that the process has open.
func threadsWithout(t *testing.T, fd int) (threads []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range all {
		if _, err := os.Stat(thread); err != nil {
			continue // it has ended meanwhile
		}
		if _, err := os.Lstat(fmt.Sprintf("%s/fd/%d", thread, fd)); errors.Is(err, os.ErrNotExist) {
			threads = append(threads, thread)
		}
	}
	return threads
}

// TestWorkerHasDescriptorsOfItsOwn follows descriptors through the life of a worker
// whose thread has a table of its own: what the process has open is not in it, but
// for the devices of the present plane, each as long as it is there.
func TestWorkerHasDescriptorsOfItsOwn(t *testing.T) {
	sw, err := vswitch.New(fixture())
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	before, file := newPipeDevice(t), newPipeDevice(t)
	must(sw.Attach("a1", before))
	ending := threadsWithout(t, file.own) // of workers of other tests
	must(sw.Start())
	sw.Status() // the worker runs
	own := slices.DeleteFunc(threadsWithout(t, file.own), func(thread string) bool { return slices.Contains(ending, thread) })
	if len(own) != 1 {
		t.Errorf("threads %v have no descriptor %d, want one thread: the worker's", own, file.own)
		must(sw.Close())
		return
	}
	holds := func(fd int) bool {
		_, err := os.Lstat(fmt.Sprintf("%s/fd/%d", own[0], fd))
		return err == nil
	}
	if !holds(before.own) {
		t.Error("the worker has not the device that was there before it")
	}

	after := newPipeDevice(t)
	must(sw.Attach("b1", after))
	if !holds(after.own) || !holds(before.own) {
		t.Error("the worker has not both devices")
	}
	number := before.own
	must(sw.Detach("a1"))
	if before.held() {
		t.Error("somebody holds a device that was detached")
	}
	again := newPipeDevice(t) // its descriptor has the number of the one that was closed
	if again.own != number {
		t.Fatalf("descriptor %d, want %d again", again.own, number)
	}
	must(sw.Attach("a1", again))
	if !holds(number) || !again.held() {
		t.Error("the worker has not the device that took the number of another")
	}
	must(sw.Attach("a1", file)) // in its place
	if again.held() || !holds(file.own) {
		t.Error("the worker did not change devices")
	}
	if err := unix.Close(after.own); err != nil { // by somebody else
		t.Error(err)
	}
	after.own = -1
	must(sw.Apply(sw.Config(), nil))
	if after.held() {
		t.Error("the worker holds a device that is closed")
	}
	must(sw.Detach("b1"))
	must(sw.Close())
	if file.held() {
		t.Error("somebody holds a device of a switch that was closed")
	}
}

// A device that is closed under a running switch is gone for it, although the worker
// has a copy of its descriptor.
func TestRunningWorkerSeesADeviceClose(t *testing.T) {
	v := newVPC(t, 1<<10)
	v.must(v.sw.Start())
	v.must(v.ports["b1"].Close())
	waitFor(t, "b1 is down", func() bool {
		for _, p := range v.sw.Status().Ports {
			if p.Instance == "b1" {
				return !p.Up
			}
		}
		return false
	})
}
