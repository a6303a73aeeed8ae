package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How a command is stopped: asked, given stopTime, then killed.
const (
	stopTime = 3 * time.Second       // between SIGTERM and SIGKILL
	killTime = 2 * time.Second       // after SIGKILL, before giving up
	stopPoll = 10 * time.Millisecond // between two looks at who is left
)

// stopProcesses stops the commands of the instances, all at the same time, with
// everything they started that is still in their session, and takes them out of
// the journal. It returns after the last one has ended, or with an error that
// names those that do not end, which stay in the journal.
func (l *Lab) stopProcesses(instances []string) error {
	left := map[string]processRecord{}
	l.recorded(func(j *journal) {
		for _, instance := range instances {
			if r, ok := j.Processes[instance]; ok {
				left[instance] = r
			}
		}
	})
	if len(left) == 0 {
		return nil
	}
	spaces := l.namespaceIdentities()
	asked := map[int]bool{} // the processes that got SIGTERM
	begin := time.Now()
	var gone []string
	for {
		all, err := sessions()
		if err != nil {
			return fmt.Errorf("stop commands: %w", err)
		}
		kill := time.Since(begin) >= stopTime
		// Every look finds processes that the last one did not, if a member started
		// them meanwhile: they are asked too.
		for instance, r := range left {
			members := r.members(all[r.PID], spaces[r.Namespace])
			if len(members) == 0 {
				gone = append(gone, instance)
				delete(left, instance)
				continue
			}
			r.signal(members, kill, asked)
		}
		if len(left) == 0 || time.Since(begin) >= stopTime+killTime {
			break
		}
		time.Sleep(stopPoll)
	}
	l.awaitWatches(gone)
	err := l.record(func(j *journal) {
		for _, instance := range gone {
			delete(j.Processes, instance)
			delete(l.lost, instance)
		}
	})
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("commands of %s: still run after SIGKILL", names(left)))
	}
	return err
}

// namespaceIdentities returns the identities of the namespaces that vswitch made,
// by name, and the host's as "".
func (l *Lab) namespaceIdentities() map[string]identity {
	all := map[string]identity{"": namespaceOf(unix.Getpid())}
	l.recorded(func(j *journal) {
		for name, r := range j.Namespaces {
			all[name] = r.identity
		}
	})
	return all
}

// members returns those of the processes of one session that belong to the
// command. If its first process still runs, they all do. If not, the session's
// number may have gone to others, who started later but are elsewhere.
func (r *processRecord) members(session []procStat, space identity) []procStat {
	for _, p := range session {
		if p.pid == r.PID {
			if p.start == r.Start {
				return session
			}
			return nil // somebody else's number now
		}
	}
	return slices.DeleteFunc(slices.Clone(session), func(p procStat) bool {
		return p.start < r.Start || namespaceOf(p.pid) != space
	})
}

// signal asks the members to end, each once, or kills them. The process group
// gets the signal as one, so that no member can start another in between.
func (r *processRecord) signal(members []procStat, kill bool, asked map[int]bool) {
	signal := unix.SIGTERM
	if kill {
		signal = unix.SIGKILL
	}
	group := slices.ContainsFunc(members, func(p procStat) bool { return p.pid == r.PID })
	if group && (kill || !asked[r.PID]) {
		// ESRCH: they ended meanwhile, and the next look finds nobody.
		_ = unix.Kill(-r.PID, signal)
	}
	for _, p := range members {
		if !kill && asked[p.pid] {
			continue
		}
		asked[p.pid] = true
		if !group || p.group != r.PID {
			_ = unix.Kill(p.pid, signal)
		}
	}
}

// awaitWatches returns after the ends of the instances' processes, which have
// ended, were recorded.
func (l *Lab) awaitWatches(instances []string) {
	for _, instance := range instances {
		l.mu.Lock()
		w := l.watching[instance]
		l.mu.Unlock()
		if w != nil {
			<-w.done
		}
	}
}

// names returns the sorted keys of a map, for a message.
func names[V any](m map[string]V) string {
	var all []string
	for name := range m {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
