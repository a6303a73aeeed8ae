package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// UnknownCode is the exit code of a command that ended while no vswitch was
// there to be told, or that an earlier vswitch had started.
const UnknownCode = -1

// A Process is the command of one instance (`run` in the configuration).
type Process struct {
	Instance string
	Command  string
	PID      int
	Running  bool
	Code     int       // the exit code, 128 + N after signal N, or UnknownCode. Valid iff not Running
	Since    time.Time // when it started, or ended
}

// Processes returns the commands of all instances, by the instance's name.
func (l *Lab) Processes() []Process {
	var all []Process
	l.recorded(func(j *journal) {
		for instance, r := range j.Processes {
			p := Process{Instance: instance, Command: r.Command, PID: r.PID, Running: r.running(), Code: r.Code, Since: r.Started}
			if !p.Running {
				p.Since = r.Exited
			}
			all = append(all, p)
		}
	})
	slices.SortFunc(all, func(a, b Process) int { return strings.Compare(a.Instance, b.Instance) })
	return all
}

// running reports whether the end of the process is not known.
func (r *processRecord) running() bool { return r.Exited.IsZero() }

// LogPath returns where the output of an instance's command goes.
func (l *Lab) LogPath(instance string) string { return filepath.Join(l.logDir(), instance+".log") }

func (l *Lab) logDir() string { return filepath.Join(l.dir, "logs") }

// A waiting is a command whose process exists and waits at its gate.
type waiting struct {
	instance string
	record   processRecord
	gate     *os.File // a byte opens it
}

// startProcesses starts the commands of the endpoints. Every process is in the
// journal before it runs anything of the user's. The error names the commands
// that did not start; the others did.
func (l *Lab) startProcesses(es []endpoint) error {
	if len(es) == 0 {
		return nil
	}
	if err := os.Mkdir(l.logDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("logs: %w", err)
	}
	var errs []error
	var started []waiting
	for i := range es {
		w, err := l.spawn(&es[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("instance %s: run %q: %w", es[i].instance, es[i].run, err))
			continue
		}
		started = append(started, w)
	}
	// One write for all of them. If it fails, the gates close without opening, and
	// the processes end by themselves.
	err := l.record(func(j *journal) {
		for _, w := range started {
			j.Processes[w.instance] = w.record
		}
	})
	for _, w := range started {
		if err == nil {
			if _, err := w.gate.Write([]byte{1}); err != nil { // EPIPE
				errs = append(errs, fmt.Errorf("instance %s: run: ended before it began: see %s", w.instance, l.LogPath(w.instance)))
			}
		}
		errs = append(errs, w.gate.Close())
		l.watchProcess(w.instance, w.record)
	}
	return errors.Join(append(errs, err)...)
}

// spawn makes the process of an endpoint's command. It waits at its gate.
func (l *Lab) spawn(e *endpoint) (w waiting, err error) {
	log, err := os.OpenFile(l.LogPath(e.instance), os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return waiting{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	read, write, err := os.Pipe()
	if err != nil {
		return waiting{}, err
	}
	cmd := Command(e.namespace, "/bin/sh", "-c", e.run)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{read}
	cmd.Env = l.environment(e.instance)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(cmd.Start(), read.Close())
	if err != nil {
		return waiting{}, errors.Join(err, write.Close())
	}
	stat, err := readStat(cmd.Process.Pid)
	if err != nil {
		return waiting{}, errors.Join(err, write.Close(), cmd.Wait())
	}
	record := processRecord{
		Namespace: e.namespace,
		Command:   e.run,
		PID:       stat.pid,
		Start:     stat.start,
		Started:   time.Now().Round(0),
		Code:      UnknownCode,
	}
	// watchProcess waits for it, as for one that an earlier vswitch started.
	return waiting{e.instance, record, write}, cmd.Process.Release()
}

// environment is that of this process, without what is meant for it alone, with
// our own program in the path, so that `run = "vswitch serve ..."` works
// wherever it is installed.
func (l *Lab) environment(instance string) []string {
	path := os.Getenv("PATH")
	if self, err := os.Executable(); err == nil {
		path = strings.TrimSuffix(filepath.Dir(self)+":"+path, ":")
	}
	var vpc string
	l.recorded(func(j *journal) { vpc = j.VPC })
	set := map[string]string{
		"PATH":             path,
		"VSWITCH_INSTANCE": instance,
		"VSWITCH_VPC":      vpc,
		gateVariable:       "3", // the first of ExtraFiles
	}
	// systemd's, for the daemon (sd_notify(3), sd_listen_fds(3)).
	unset := []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if _, replaced := set[name]; !replaced && !slices.Contains(unset, name) {
			env = append(env, v)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return env
}

// Command returns the command argv, to be started inside a namespace by its name,
// or in the host's for "". It runs this program again, as
// `vswitch enter NAMESPACE -- ARGV`, which calls Exec: so a program that uses
// Command, as a test does, must have that subcommand too.
func Command(namespace string, argv ...string) *exec.Cmd {
	// The link leads to the same file also when another one was installed in its
	// place.
	cmd := exec.Command("/proc/self/exe", append([]string{"enter", namespace, "--"}, argv...)...)
	cmd.Args[0] = "vswitch"
	return cmd
}
