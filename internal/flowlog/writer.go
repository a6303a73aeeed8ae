package flowlog

import (
	"bytes"
	"sync"
)

// Bounds of a writer.
const (
	maxBatches = 4       // windows that wait to be written
	chunkSize  = 1 << 16 // bytes that are written at once
)

// A writer writes the records of closed windows to a file, on a goroutine of its
// own, so that a slow or full disk holds up nobody. What it cannot write is lost:
// it is counted, and told by a SKIPDATA record of each interface concerned, as
// soon as that can be written. All methods but end may be called by several
// goroutines at once.
type writer struct {
	format *Format
	file   *file           // the goroutine's
	queue  chan []Record   // closed by end
	ended  chan struct{}   // closed once all has been written and the file is closed
	failed func(err error) // told of every window that could not be written whole; called on the goroutine

	mu      sync.Mutex // guards the fields below
	written uint64     // records
	lost    uint64
	last    error // of the latest window; nil if all of it was written

	skipped map[*Interface]span // records that could not be written; the goroutine's
}

// newWriter starts a writer. f is open.
func newWriter(f *file, format *Format, failed func(error)) *writer {
	w := &writer{
		format: format, file: f, failed: failed,
		queue: make(chan []Record, maxBatches), ended: make(chan struct{}), skipped: make(map[*Interface]span),
	}
	go w.run()
	return w
}

// offer takes over the records of a window, and reports whether there was room for
// them.
func (w *writer) offer(records []Record) bool {
	select {
	case w.queue <- records:
		return true
	default:
		return false
	}
}

// end makes the writer write what it has been offered, and then end. Nothing may
// be offered after it.
func (w *writer) end() { close(w.queue) }

// figures returns how many records were written and lost, and what is wrong.
func (w *writer) figures() (written, lost uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.written, w.lost, w.last
}

func (w *writer) run() {
	defer close(w.ended)
	for records := range w.queue {
		w.window(records)
	}
	if err := w.file.close(); err != nil {
		w.failed(err)
	}
}

// window writes the records of one window, and before them what is to be said of
// those that were lost earlier.
func (w *writer) window(records []Record) {
	all := make([]Record, 0, len(w.skipped)+len(records))
	for at, of := range w.skipped {
		all = append(all, Record{Interface: at, Status: SkipData, Start: of.start, End: of.end})
	}
	all = append(all, records...)
	clear(w.skipped)
	n, err := w.write(all)
	lost := uint64(0)
	for i := range all[n:] {
		r := &all[n+i]
		of := span{r.Start, r.End}
		if before, ok := w.skipped[r.Interface]; ok {
			of = before.join(of)
		}
		w.skipped[r.Interface] = of
		if r.Status == OK {
			lost++
		}
	}
	w.mu.Lock()
	w.written += uint64(n)
	w.lost += lost
	w.last = err
	w.mu.Unlock()
	if err != nil {
		w.failed(err)
	}
}

// write writes records and returns how many it has, from the first on.
func (w *writer) write(records []Record) (n int, err error) {
	b := make([]byte, 0, chunkSize+chunkSize/4)
	for i := range records {
		b = append(w.format.Append(b, &records[i]), '\n')
		if len(b) < chunkSize && i < len(records)-1 {
			continue
		}
		written, err := w.file.append(b)
		n += bytes.Count(b[:written], []byte{'\n'})
		if err != nil {
			return n, err
		}
		b = b[:0]
	}
	return n, nil
}
