package lab

import (
	"errors"
	"maps"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A watch waits for the end of one process, a child of ours or not. It takes no
// thread: the runtime polls the process's descriptor.
type watch struct {
	pid   int
	pidfd *os.File      // closing it ends the watch
	done  chan struct{} // closed when the watch has ended
}

func (w *watch) stop() { w.pidfd.Close() }

// watchProcess records the end of an instance's process when it comes. The
// process is in the journal.
func (l *Lab) watchProcess(instance string, r processRecord) {
	fd, err := unix.PidfdOpen(r.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		// ESRCH: it has ended and nobody of ours was its parent.
		l.processEnded(instance, r.PID, UnknownCode)
		return
	}
	// The number may have gone to another process before it was opened.
	if stat, err := readStat(r.PID); err != nil || stat.start != r.Start {
		unix.Close(fd)
		l.processEnded(instance, r.PID, UnknownCode)
		return
	}
	w := &watch{pid: r.PID, pidfd: os.NewFile(uintptr(fd), "pidfd"), done: make(chan struct{})}
	l.mu.Lock()
	l.watching[instance] = w
	l.mu.Unlock()
	l.watches.Go(func() {
		defer close(w.done)
		code, ended := w.wait()
		if ended {
			l.processEnded(instance, r.PID, code)
		}
		w.stop()
	})
}

// wait returns when the process has ended, with its exit code, or when stop was
// called.
func (w *watch) wait() (code int, ended bool) {
	raw, err := w.pidfd.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n > 0
	})
	if err != nil {
		return 0, false
	}
	return reap(w.pid), true
}

// reap returns the exit code of a process that has ended, and frees its number
// if it is a child of ours. Otherwise its parent, an init, does.
func reap(pid int) int {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || got != pid:
			return UnknownCode
		case status.Signaled():
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	}
}

// processEnded records the end of an instance's process, unless another one took
// its place. That the journal cannot be written is no loss: the process is
// recognised as gone by its start time.
func (l *Lab) processEnded(instance string, pid, code int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.watching[instance]; w != nil && w.pid == pid {
		delete(l.watching, instance)
	}
	r, ok := l.journal.Processes[instance]
	if !ok || r.PID != pid || !r.running() {
		return
	}
	r.Exited, r.Code = time.Now().Round(0), code
	l.journal.Processes[instance] = r
	_ = l.save()
	select {
	case l.ended <- struct{}{}:
	default: // nobody has asked since the last time
	}
}

// Ended returns a channel, for one receiver, that gets a value when commands of
// instances have ended by themselves: Processes says which.
func (l *Lab) Ended() <-chan struct{} { return l.ended }

// adoptProcesses watches over the commands that an earlier vswitch started. Those
// that ended meanwhile are lost: the next Commit starts them again.
func (l *Lab) adoptProcesses() {
	for instance, r := range maps.Clone(l.journal.Processes) { // watches edit it
		if !r.running() {
			continue
		}
		if stat, err := readStat(r.PID); err != nil || stat.start != r.Start || !stat.alive() {
			l.lost[instance] = true
			l.processEnded(instance, r.PID, UnknownCode)
			continue
		}
		l.watchProcess(instance, r)
	}
}
