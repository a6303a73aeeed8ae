package archtest

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"testing"
)

// maxLines is the length, in lines, past which a source file surely holds a
// second noun. Tests may be longer: a table grows with its cases.
const maxLines = 500

func TestSourceFilesAreShort(t *testing.T) {
	for _, f := range goFiles(t) {
		if n := bytes.Count(f.text, []byte("\n")); n > maxLines && !f.isTest() {
			t.Errorf("%s has %d lines, more than %d: look for the second noun", f.name, n, maxLines)
		}
	}
}

// Every package opens with one sentence that says what it is for, in one file.
func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{} // files with a package comment, by folder
	for _, f := range goFiles(t) {
		files := comments[f.dir()]
		if f.ast.Doc != nil {
			files = append(files, f.name)
		}
		comments[f.dir()] = files
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments, want 1: %v", dir, len(files), files)
		}
	}
}

// A name that fits everything says nothing.
func TestNoPackageIsCalledUtil(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "manager", "misc", "base", "impl", "lib", "shared"}
	for _, f := range goFiles(t) {
		for _, name := range []string{f.ast.Name.Name, path.Base(f.dir())} {
			if slices.Contains(vague, name) {
				t.Errorf("%s: a package called %q says nothing about its contents", f.name, name)
			}
		}
	}
}

// What is true on one machine only does not belong into the tree: the folders
// that it was written in, and the hosts that its modules came from. The words
// are put together here so that this file does not contain them.
func TestNothingNamesTheMachineItWasWrittenOn(t *testing.T) {
	var (
		folder = regexp.MustCompile(`(^|[^\w.~)-])/(` + `wo` + `rk|fa` + `rm)/`)
		host   = regexp.MustCompile(`(?i)\b(` +
			`proxy\.gol` + `ang\.org|sum\.gol` + `ang\.org|gopro` + `xy\.(io|cn)|` +
			`registry\.(np` + `mjs\.org|yarn` + `pkg\.com)|(files\.)?py` + `pi\.(org|python)|pythonhos` + `ted\.org|crat` + `es\.io|artif` + `actory)`)
	)
	for _, f := range textFiles(t) {
		for i, line := range bytes.Split(f.text, []byte("\n")) {
			if m := folder.Find(line); m != nil {
				t.Errorf("%s:%d: names a folder of one machine: %q", f.name, i+1, m)
			}
			if m := host.Find(line); m != nil {
				t.Errorf("%s:%d: names a package registry: %q", f.name, i+1, m)
			}
		}
	}
}
