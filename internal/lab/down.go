package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// errForeign says that a thing is not the one that vswitch made.
var errForeign = errors.New("not the one that vswitch made")

// A Report says what Down found.
type Report struct {
	Removed int      // namespaces, links, hosts directories and commands
	Left    []string // what is no longer as vswitch made it, and was left alone; a sentence each
}

// Anything reports whether there was anything to take down.
func (r *Report) Anything() bool { return r.Removed > 0 || len(r.Left) > 0 }

// Down stops the commands, and removes all that the journal lists and that is
// still what was made, also when another process made it. What cannot be removed
// stays in the journal, for another Down. The devices are the switch's: close it
// first.
func (l *Lab) Down() (Report, error) {
	var report Report
	if l.change != nil {
		return report, errors.New("a change is open: commit it or roll it back first")
	}
	var old journal
	l.recorded(func(j *journal) {
		old = *j
		old.Processes = maps.Clone(j.Processes)
	})
	report.Removed += len(old.Processes)
	errs := []error{l.stopProcesses(slices.Collect(maps.Keys(old.Processes)))}

	// The journal is written once, after all: an entry for something that is gone
	// does no harm if we end in between.
	gone := newRemoval(&report)
	for name, r := range old.Namespaces {
		gone.namespace(name, r)
	}
	for name, r := range old.Links {
		gone.link(name, r)
	}
	for name, r := range old.Hosts {
		gone.hosts(hostsDirectory{old.VPC, r.Instance, name})
	}
	if old.EtcNetns && len(gone.errs) == 0 {
		gone.etcDir()
	}
	errs = append(errs, gone.errs...)
	errs = append(errs, l.record(gone.forget))
	clear(l.attached)
	if err := errors.Join(errs...); err != nil {
		return report, err
	}
	return report, l.removeFiles()
}

// removeFiles removes what the lab keeps in the state directory, the lock
// excepted.
func (l *Lab) removeFiles() error {
	if err := os.RemoveAll(l.logDir()); err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	if err := os.Remove(l.journalPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// A removal removes things that the journal lists, and remembers which entries
// are to be taken out of it.
type removal struct {
	report     *Report
	namespaces []string
	links      []string
	hostsDirs  []string
	etc        bool // /etc/netns itself
	errs       []error
}

func newRemoval(report *Report) *removal { return &removal{report: report} }

// nothing reports whether there is nothing to forget.
func (r *removal) nothing() bool {
	return len(r.namespaces)+len(r.links)+len(r.hostsDirs) == 0 && !r.etc
}

// forget takes out of the journal what is gone, or was never ours.
func (r *removal) forget(j *journal) {
	for _, name := range r.namespaces {
		delete(j.Namespaces, name)
	}
	for _, name := range r.links {
		delete(j.Links, name)
	}
	for _, name := range r.hostsDirs {
		delete(j.Hosts, name)
	}
	if r.etc {
		j.EtcNetns = false
	}
}

func (r *removal) leave(format string, args ...any) {
	r.report.Left = append(r.report.Left, fmt.Sprintf(format, args...))
}

// namespace removes a namespace's name. Processes of others in it keep it alive.
func (r *removal) namespace(name string, record namespaceRecord) {
	who, found, err := whoHolds(name, record.identity)
	switch who {
	case foreign:
		if err != nil {
			r.errs = append(r.errs, err)
			return
		}
		if found == (identity{}) {
			r.leave("namespace %s: something that is no namespace has its name", name)
		} else {
			r.leave("namespace %s: %v (inode %d, made %d)", name, errForeign, found.Inode, record.Inode)
		}
	case ours, leftover:
		if err := unpublish(name); err != nil {
			r.errs = append(r.errs, err)
			return
		}
		r.report.Removed++
	}
	r.namespaces = append(r.namespaces, name)
}

// link removes a TAP of the host's namespace, if the switch has not closed it.
func (r *removal) link(name string, record linkRecord) {
	// Without an index it was about to be made when its maker ended, and ended too.
	if record.Index != 0 {
		found, err := deleteLink(name, record.Index)
		switch {
		case errors.Is(err, errForeign):
			r.leave("link %s: %v", name, err)
		case err != nil:
			r.errs = append(r.errs, err)
			return
		case found:
			r.report.Removed++
		}
	}
	r.links = append(r.links, name)
}

// hosts removes a directory of /etc/netns.
func (r *removal) hosts(d hostsDirectory) {
	removed, left, err := d.remove()
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if removed {
		r.report.Removed++
	}
	if left != "" {
		r.leave("%s", left)
	}
	r.hostsDirs = append(r.hostsDirs, d.namespace)
}

// etcDir removes /etc/netns, which vswitch made, unless others use it now.
func (r *removal) etcDir() {
	err := os.Remove(etcDir)
	if err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		r.errs = append(r.errs, fmt.Errorf("hosts: %w", err))
		return
	}
	r.etc = true
}
