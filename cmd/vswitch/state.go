package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"

	vswitch "vswitch/switch"
)

// vpcName is the form of a VPC's name. It becomes part of paths, so it is
// checked wherever a name comes from (reliability row C3).
var vpcName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,29}$`)

// A stateDir is the state directory of one VPC. It belongs to the daemon while
// that runs, and to package lab, whose journal it holds:
//
//	api.sock      the control socket
//	vpc.json      the record: which file, which instances
//	daemon.log    the log of a daemon that up started
//	journal.json  package lab: what was made
//	lab.lock      package lab: held while the daemon lives
//	logs/         package lab: the output of the instances' commands
//
// NAME.lock beside the directory is held during up, reload and down.
type stateDir struct {
	root string // the directory of all state directories
	vpc  string
}

// stateRoot returns where the state directories of this user are, or "" if the
// environment does not tell.
func stateRoot() string {
	if os.Geteuid() == 0 {
		return "/run/vswitch"
	}
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		return filepath.Join(runtime, "vswitch")
	}
	return ""
}

// state returns the state directory of a VPC.
func (c *cli) state(vpc string) (stateDir, error) {
	if c.root == "" {
		return stateDir{}, errors.New("XDG_RUNTIME_DIR is not set: log in through a session manager that sets it, or run vswitch as root")
	}
	return stateDir{c.root, vpc}, nil
}

func (s stateDir) path() string      { return filepath.Join(s.root, s.vpc) }
func (s stateDir) socket() string    { return filepath.Join(s.path(), "api.sock") }
func (s stateDir) daemonLog() string { return filepath.Join(s.path(), "daemon.log") }
func (s stateDir) record() string    { return filepath.Join(s.path(), "vpc.json") }
func (s stateDir) daemonLock() string {
	return filepath.Join(s.path(), "lab.lock")
}
func (s stateDir) instanceLog(name string) string {
	return filepath.Join(s.path(), "logs", name+".log")
}

// exists reports whether the directory is there.
func (s stateDir) exists() bool {
	info, err := os.Lstat(s.path())
	return err == nil && info.IsDir()
}

// stateDirs returns the state directories that exist, by name.
func stateDirs(root string) ([]stateDir, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directories: %w", err)
	}
	var all []stateDir
	for _, e := range entries {
		if e.IsDir() && vpcName.MatchString(e.Name()) {
			all = append(all, stateDir{root, e.Name()})
		}
	}
	return all, nil
}

// A record says which file a VPC was built from and what its instances are
// called. It outlives a daemon that was killed, so that exec finds the
// namespaces, and up and down the file.
type record struct {
	VPC       string           `json:"vpc"`
	File      string           `json:"file"` // absolute
	PID       int              `json:"pid"`  // of the daemon that wrote it
	Instances []recordInstance `json:"instances"`
}

// A recordInstance is what the commands need to know of an instance without
// asking the daemon.
type recordInstance struct {
	Name      string `json:"name"`
	ID        string `json:"id"`        // i-...
	Interface string `json:"interface"` // eni-...
	IP        string `json:"ip"`        // the primary private address
	Namespace string `json:"namespace"` // "" for kind host
}

// newRecord returns the record of a completed configuration.
func newRecord(full *vswitch.Config, file string) record {
	r := record{VPC: full.VPC.Name, File: file, PID: os.Getpid(), Instances: []recordInstance{}}
	for i := range full.Instances {
		at := full.Interface(full.Instances[i].Name)
		r.Instances = append(r.Instances, recordInstance{
			Name: at.Instance, ID: at.InstanceID, Interface: at.ID, IP: at.Addresses[0].String(), Namespace: at.Namespace,
		})
	}
	return r
}

// write stores the record, so that a reader sees the old one or the new one.
func (r record) write(s stateDir) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	temporary := s.record() + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("record: %w", err)
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.Rename(temporary, s.record()); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// readRecord returns the record of a state directory. It returns an error that
// wraps fs.ErrNotExist if there is none.
func readRecord(s stateDir) (record, error) {
	f, err := os.OpenFile(s.record(), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return record{}, fmt.Errorf("record %s: %w", s.record(), err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("record %s: %w", s.record(), err)
	}
	return r, nil
}

// clear removes the daemon's own files. What package lab keeps is its business.
// The directory itself goes with the last of them.
func (s stateDir) clear() error {
	var errs []error
	for _, path := range []string{s.socket(), s.record(), s.record() + ".new", s.daemonLog()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// daemonPID returns the process that holds the directory, or 0. It is for
// messages: who runs is decided by the lock alone.
func (s stateDir) daemonPID() int {
	text, err := os.ReadFile(s.daemonLock())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return 0
	}
	return pid
}
