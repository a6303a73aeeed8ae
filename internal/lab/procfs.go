package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// A procStat is the part of /proc/PID/stat that tells processes apart
// (proc_pid_stat(5)).
type procStat struct {
	pid     int
	state   byte // 'Z' and 'X' are dead
	group   int
	session int
	start   uint64 // clock ticks after boot
}

// alive reports whether the process still runs; one that nobody has waited for
// does not.
func (p procStat) alive() bool { return p.state != 'Z' && p.state != 'X' }

// readStat reads /proc/PID/stat. It returns an error that wraps os.ErrNotExist,
// or ESRCH, if there is no such process.
func readStat(pid int) (procStat, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(path)
	if err != nil {
		return procStat{}, err
	}
	// The second field is the program's name in parentheses, which may itself hold
	// spaces and parentheses. The numbers below count the fields behind it.
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return procStat{}, fmt.Errorf("%s: no program name", path)
	}
	fields := bytes.Fields(data[end+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, fmt.Errorf("%s: %d fields behind the name", path, len(fields))
	}
	p := procStat{pid: pid, state: fields[0][0]}
	if p.group, err = strconv.Atoi(string(fields[2])); err != nil {
		return procStat{}, fmt.Errorf("%s: process group: %w", path, err)
	}
	if p.session, err = strconv.Atoi(string(fields[3])); err != nil {
		return procStat{}, fmt.Errorf("%s: session: %w", path, err)
	}
	if p.start, err = strconv.ParseUint(string(fields[19]), 10, 64); err != nil {
		return procStat{}, fmt.Errorf("%s: start time: %w", path, err)
	}
	return p, nil
}

// sessions returns all processes that run, by session.
func sessions() (map[int][]procStat, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return nil, fmt.Errorf("/proc: %w", err)
	}
	all := map[int][]procStat{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		p, err := readStat(pid)
		if err != nil || !p.alive() {
			continue // it ended meanwhile
		}
		all[p.session] = append(all[p.session], p)
	}
	return all, nil
}

// namespaceOf returns the network namespace that a process is in, or the zero
// identity if it has ended.
func namespaceOf(pid int) identity {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return identity{}
	}
	st := info.Sys().(*syscall.Stat_t)
	return identity{Device: st.Dev, Inode: st.Ino}
}
