package vswitch

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rhythm of a worker.
const (
	sweepInterval = int64(50 * time.Millisecond)
	sweepBudget   = 256                           // connections freed at a time, which frames wait for: 0.1 ms at most
	sweepAgain    = int64(time.Millisecond)       // until more of them are freed that have idled out, while frames wait
	napFor        = int64(100 * time.Millisecond) // how long after the last frame a worker naps rather than dozes
	passesPerPoll = 8                             // turns of the busy ports, at most, before the idle ones are looked at
	spinLimit     = int64(50 * time.Microsecond)  // how long a wait a worker may spin through
)

// run is the worker's goroutine. Its thread ends with it, as it has descriptors of
// its own. The first thread of the process cannot have them, and is left to others.
func (w *worker) run() {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			w.loop()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
		return
	}
	w.loop()
}

// loop is run on a thread that is the worker's own.
func (w *worker) loop() {
	defer close(w.ended)
	_ = w.files.part() // or all goes on with the shared table
	w.files.hold(w.devices())
	defer w.files.hold(nil)
	for pass := 0; ; pass++ {
		if w.asked.Load() {
			w.attend()
		}
		if w.stopping {
			break
		}
		if read, taken := w.pass(); read+taken == 0 || w.unpolled >= burstFrames || pass%passesPerPoll == 0 {
			w.sleep()
		}
		w.sweep()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = false
	for _, fn := range w.queue {
		fn()
	}
	w.queue = nil
}

// attend runs the functions that others handed over.
func (w *worker) attend() {
	w.mu.Lock()
	queue := w.queue
	w.queue = nil
	w.asked.Store(false)
	w.mu.Unlock()
	for _, fn := range queue {
		fn()
	}
}

// pass gives every ready port one burst, and every other worker one turn with what
// it has handed over. It returns how many frames it read, and how many it took from
// other workers. A port that was drained leaves the ready ones.
func (w *worker) pass() (read, taken int) {
	read = w.passPorts()
	if w.inboxes != nil {
		taken = w.receive()
	}
	if frames := read + taken; frames > 0 {
		w.unpolled += frames
		w.busy = w.now
	}
	return read, taken
}

// passPorts is the part of pass that is about ports.
func (w *worker) passPorts() (frames int) {
	ready := w.ready[:0]
	for _, i := range w.ready {
		in := w.polled[i]
		n := w.burst(in)
		frames += n
		if n > 0 && !w.gone[in] {
			ready = append(ready, i)
		}
	}
	w.ready = ready
	return frames
}

// sleep looks which ports have frames waiting, and sleeps until one has if none
// is known to. A worker that is used to short waits spins through them; while
// traffic is recent it naps, which is quick to end; one that has seen none for a
// while dozes, which costs nothing.
func (w *worker) sleep() {
	w.unpolled = 0
	var n int
	switch {
	case len(w.ready) > 0 || w.behind:
		n = w.poll(0)
	case !w.lieDown():
		return
	case w.now-w.busy < napFor:
		n = w.await()
	default:
		n = w.doze()
	}
	if w.inboxes != nil {
		w.asleep.Store(false)
	}
	if n <= 0 {
		return // EINTR: the loop comes back
	}
	if w.pollFDs[0].Revents != 0 {
		var b [8]byte
		_, _ = unix.Read(w.wakeFD, b[:])
	}
	w.queueUp()
}

// lieDown tells the other workers that from now on they must wake this one. It
// returns false if one has handed something over before it could know.
func (w *worker) lieDown() bool {
	if w.inboxes == nil {
		return true
	}
	w.asleep.Store(true)
	if w.waiting() {
		w.asleep.Store(false)
		return false
	}
	return true
}

// queueUp makes the ports ready of which poll has found that they have frames
// waiting. Those that were not ready come first: so a frame waits no longer than
// until each of the ports that were ready has had the rest of its turn.
func (w *worker) queueUp() {
	before, ready := w.ready, w.spare[:0]
	for _, i := range before {
		w.wasReady[i] = true
	}
	for i := range w.polled {
		if w.pollFDs[i+1].Revents != 0 && !w.wasReady[i] {
			ready = append(ready, i)
		}
	}
	for _, i := range before {
		w.wasReady[i] = false
		if w.pollFDs[i+1].Revents != 0 {
			ready = append(ready, i)
		}
	}
	w.ready, w.spare = ready, before
}

// await waits for a port with frames, spinning at first if the waits of late were
// short enough to make that worth while: being woken costs tens of microseconds
// where a processor has to be woken with the thread, and the answer of a host is
// often there sooner.
func (w *worker) await() int {
	began := w.clock()
	n := 0
	if w.spins && w.wait < spinLimit {
		for n == 0 && w.clock()-began < spinLimit {
			n = w.poll(0)
		}
	}
	switch {
	case n != 0:
	case w.spins:
		n = w.poll(1)
	default:
		n = w.block(&unix.Timespec{Sec: 1})
	}
	// A running mean of eight waits; a long one counts as twice the limit, so that
	// one does not end the habit.
	w.wait += (min(w.clock()-began, 2*spinLimit) - w.wait) / 8
	return n
}

// poll waits until a descriptor is ready, for at most the given time, in the
// middle of Go code: the thread keeps its place with the scheduler, whose
// leave-taking and return cost as much as the answer that is often a moment away.
// The scheduler is not held up by that: it interrupts the call by a signal when
// it wants the thread to stop, and again until it does. The time is a second and
// not less, because a timer that is due soon is expensive to set.
func (w *worker) poll(seconds int64) int {
	timeout := unix.Timespec{Sec: seconds}
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&w.pollFDs[0])), uintptr(len(w.pollFDs)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
	if errno != 0 {
		return -1
	}
	return int(n)
}

// doze waits until a descriptor is ready, as long as it takes, or until idle
// state may have expired.
func (w *worker) doze() int {
	var timeout *unix.Timespec
	if w.conns.Len() > 0 || w.fragments.Len() > 0 {
		timeout = &unix.Timespec{Sec: 1}
	}
	return w.block(timeout)
}

// block waits until a descriptor is ready, and leaves its place with the scheduler
// to others.
func (w *worker) block(timeout *unix.Timespec) int {
	n, err := unix.Ppoll(w.pollFDs, timeout, nil)
	if err != nil {
		return -1
	}
	return n
}

// step is pass for Step: it takes all ports to be ready.
func (w *worker) step() (read, taken int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running {
		panic("vswitch: Step called after Start")
	}
	w.ready = w.ready[:0]
	for i, in := range w.polled {
		if !w.gone[in] {
			w.ready = append(w.ready, i)
		}
	}
	return w.pass()
}

// expire frees the connections that have idled out, for Step: what one worker still
// keeps of them would use up the allowance at another.
func (w *worker) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.conns.Sweep(w.clock(), sweepBudget) {
	}
}

// rest does what a worker does when nothing waits, for Step.
func (w *worker) rest() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.clock()
	w.swept = w.now - sweepInterval
	w.sweep()
	for w.behind {
		w.free()
	}
}

// sweep frees what has idled out, from time to time: a little between two bursts,
// and on and on, as long as nothing waits.
func (w *worker) sweep() {
	w.now = w.clock()
	if w.behind && (len(w.ready) == 0 || w.now-w.freed >= sweepAgain) {
		w.free()
	}
	if w.now-w.swept < sweepInterval {
		return
	}
	if w.busy >= w.swept {
		w.active.tell()
	}
	w.swept = w.now
	w.free()
	w.releaseFragments()
}

// free frees some of the connections that have idled out.
func (w *worker) free() {
	w.behind, w.freed = !w.conns.Sweep(w.now, sweepBudget), w.now
}
