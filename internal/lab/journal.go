package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journalVersion is the format of journal.json. A journal of another format is
// refused: removing what one cannot read is not safe.
const journalVersion = 1

// A journal lists what vswitch made and has not removed: see the package
// comment.
type journal struct {
	Version    int                        `json:"version"`
	Boot       string                     `json:"boot"` // the kernel's boot id; inodes, indexes and pids mean nothing after another boot
	VPC        string                     `json:"vpc"`
	EtcNetns   bool                       `json:"etc_netns"`  // /etc/netns did not exist before
	Namespaces map[string]namespaceRecord `json:"namespaces"` // by name
	Links      map[string]linkRecord      `json:"links"`      // in the host's namespace, by name
	Hosts      map[string]hostsRecord     `json:"hosts"`      // directories in /etc/netns, by name
	Processes  map[string]processRecord   `json:"processes"`  // by instance
}

// A namespaceRecord is a namespace bound to /run/netns.
type namespaceRecord struct {
	Instance string `json:"instance"`
	identity
}

// A linkRecord is a TAP in the host's namespace.
type linkRecord struct {
	Instance string `json:"instance"`
	Index    int    `json:"ifindex"` // 0: about to be made
}

// A hostsRecord is a directory in /etc/netns.
type hostsRecord struct {
	Instance string `json:"instance"`
}

// A processRecord is the command of one instance.
type processRecord struct {
	Namespace string    `json:"namespace"` // "" for the host's
	Command   string    `json:"command"`
	PID       int       `json:"pid"`   // also the id of its session and process group
	Start     uint64    `json:"start"` // clock ticks after boot, as /proc/PID/stat has it
	Started   time.Time `json:"started"`
	Exited    time.Time `json:"exited"` // the zero Time while it runs
	Code      int       `json:"code"`   // valid iff Exited is set
}

// newJournal returns the journal of a lab in which nothing was made.
func newJournal(boot string) journal {
	return journal{
		Version:    journalVersion,
		Boot:       boot,
		Namespaces: map[string]namespaceRecord{},
		Links:      map[string]linkRecord{},
		Hosts:      map[string]hostsRecord{},
		Processes:  map[string]processRecord{},
	}
}

// empty reports whether there is nothing to remove.
func (j *journal) empty() bool {
	return !j.EtcNetns && len(j.Namespaces)+len(j.Links)+len(j.Hosts)+len(j.Processes) == 0
}

// loadJournal reads the journal at path. No file is an empty journal. After a
// restart of the machine only what /etc holds is left of an old one.
func loadJournal(path string) (journal, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return journal{}, fmt.Errorf("journal: %w", err)
	}
	j := newJournal(strings.TrimSpace(string(boot)))
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return journal{}, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return journal{}, fmt.Errorf("journal: %w", err)
	}
	old := newJournal("")
	if err := json.Unmarshal(data, &old); err != nil {
		return journal{}, fmt.Errorf("journal %s: %w", path, err)
	}
	if old.Version != journalVersion {
		return journal{}, fmt.Errorf("journal %s: has format %d, this vswitch reads %d: take the lab down with the vswitch that made it", path, old.Version, journalVersion)
	}
	if old.Boot != j.Boot {
		j.VPC, j.EtcNetns, j.Hosts = old.VPC, old.EtcNetns, old.Hosts
		return j, nil
	}
	return old, nil
}

// encode returns the journal as its file holds it.
func (j *journal) encode() ([]byte, error) {
	data, err := json.MarshalIndent(j, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return append(data, '\n'), nil
}

// saveJournal writes an encoded journal to path so that a crash leaves the old one
// or the new one, and so that it is on the disk when saveJournal returns.
func saveJournal(path string, data []byte) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

func (l *Lab) journalPath() string { return filepath.Join(l.dir, "journal.json") }

// record edits the journal and writes it. It returns after the new journal is
// on the disk.
func (l *Lab) record(edit func(*journal)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	edit(&l.journal)
	return l.save()
}

// save writes the journal, unless its file is there and this process has written
// the same to it. l.mu is held.
func (l *Lab) save() error {
	data, err := l.journal.encode()
	if err != nil {
		return err
	}
	if bytes.Equal(data, l.saved) && l.stands() {
		return nil
	}
	l.saved = nil
	if err := saveJournal(l.journalPath(), data); err != nil {
		return err
	}
	l.saved = data
	return nil
}

// stands reports whether this process has written the journal, and its file is
// still there. l.mu is held.
func (l *Lab) stands() bool {
	_, err := os.Lstat(l.journalPath())
	return err == nil && l.saved != nil
}

// isSaved reports whether a record that edits nothing would write nothing.
func (l *Lab) isSaved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stands()
}

// recorded reads the journal.
func (l *Lab) recorded(read func(*journal)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	read(&l.journal)
}
