package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"vswitch/internal/api"
	"vswitch/internal/config"
	vswitch "vswitch/switch"
)

// defaultFile is the file that commands read when none is named.
const defaultFile = "vpc.toml"

// givenFile returns the file of this invocation, as the user would write it.
func (c *cli) givenFile() string {
	if c.file != "" {
		return c.file
	}
	return defaultFile
}

// load reads the file of this invocation. The configuration's origins carry the
// file's absolute path, which is returned as well; what the command prints is
// shortened again by report and the tables.
func (c *cli) load() (vswitch.Config, string, error) {
	file, path, err := c.loadFile()
	return file.VPC, path, err
}

// loadFile is load for those who run the VPC.
func (c *cli) loadFile() (config.File, string, error) {
	path, err := filepath.Abs(c.givenFile())
	if err != nil {
		return config.File{}, "", err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return config.File{}, "", usagef("%s: no such file (name one with -f, or set VSWITCH_FILE)", c.givenFile())
	}
	file, err := config.LoadFile(path)
	if err != nil {
		return config.File{}, "", err
	}
	if name := file.VPC.VPC.Name; c.vpc != "" && c.vpc != name {
		return config.File{}, "", usagef("--vpc %s: %s describes the VPC %s", c.vpc, c.givenFile(), name)
	}
	return file, path, nil
}

// shorten writes the path of this invocation's file as the user wrote it.
func (c *cli) shorten(text string) string {
	path, err := filepath.Abs(c.givenFile())
	if err != nil {
		return text
	}
	return strings.ReplaceAll(text, path, c.givenFile())
}

// A purpose says what a command wants of the VPC that it looks for.
type purpose uint8

const (
	toRead   purpose = iota // what runs may be taken for what is meant
	toChange                // it may not: the file in this directory has the say
)

// target returns the state directory of the VPC that this invocation is about:
// that of --vpc; that of -f or $VSWITCH_FILE; that of ./vpc.toml; or the only one
// there is. A command that changes something takes the only one there is just
// when no file says otherwise. A file that was used to build a VPC need not be
// intact, nor there: its path is enough.
func (c *cli) target(p purpose) (stateDir, error) {
	s, err := c.state(c.vpc)
	if err != nil || c.vpc != "" {
		return s, err
	}
	all, err := stateDirs(s.root)
	if err != nil {
		return stateDir{}, err
	}
	path, err := filepath.Abs(c.givenFile())
	if err != nil {
		return stateDir{}, err
	}
	for _, s := range all {
		if r, err := readRecord(s); err == nil && samePath(r.File, path) {
			return s, nil
		}
	}
	_, err = os.Stat(path)
	if there := err == nil; there || c.file != "" {
		cfg, _, err := c.load()
		s.vpc = cfg.VPC.Name
		if err == nil && (s.exists() || c.file != "" || p == toChange) {
			return s, nil
		}
		if err != nil && (c.file != "" || p == toChange) {
			return stateDir{}, err
		}
	}
	switch len(all) {
	case 0:
		return stateDir{}, fmt.Errorf("%w (start it with vswitch up)", api.ErrNotRunning)
	case 1:
		return all[0], nil
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.vpc
	}
	return stateDir{}, usagef("several VPCs run here: say which one with --vpc NAME (%s)", strings.Join(names, ", "))
}

// samePath reports whether two paths lead to the same file, or would if it were
// there.
func samePath(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// client returns the target and a client of its daemon.
func (c *cli) client(p purpose) (stateDir, *api.Client, error) {
	s, err := c.target(p)
	if err != nil {
		return stateDir{}, nil, err
	}
	if p == toRead {
		c.sayOther(s)
	}
	return s, api.NewClient(s.socket()), nil
}

// sayOther says that the VPC taken for what is meant is not that of the file in this
// directory.
func (c *cli) sayOther(s stateDir) {
	if c.vpc != "" || c.file != "" {
		return
	}
	cfg, path, err := c.load()
	if err != nil || cfg.VPC.Name == s.vpc {
		return
	}
	if r, err := readRecord(s); err == nil && samePath(r.File, path) {
		return // the file has got another name since
	}
	c.talk("note: this is about VPC %s; %s describes VPC %s, which does not run", s.vpc, c.givenFile(), cfg.VPC.Name)
}

// runningOrFile asks the VPC of this invocation or, if it does not run, answers from
// the file alone. The file of this directory has the say, not whatever else runs.
func runningOrFile[T any](c *cli, ask func(*api.Client) (T, error), alone func(vswitch.Config) (T, error)) (T, error) {
	var none T
	s, client, err := c.client(toChange)
	if err == nil {
		var answer T
		if answer, err = ask(client); err == nil {
			return answer, nil
		}
	}
	if !errors.Is(err, api.ErrNotRunning) || c.vpc != "" && c.file == "" {
		return none, notRunning(s, err)
	}
	cfg, _, err := c.load()
	if err != nil {
		return none, err
	}
	return alone(cfg)
}

// notRunning adds the VPC's name, and what to do, to api.ErrNotRunning.
func notRunning(s stateDir, err error) error {
	if !errors.Is(err, api.ErrNotRunning) {
		return err
	}
	if s.exists() {
		return fmt.Errorf("VPC %s: %w, but what it made is still there: vswitch up takes it over, vswitch down removes it", s.vpc, err)
	}
	return fmt.Errorf("VPC %s: %w (start it with vswitch up)", s.vpc, err)
}
