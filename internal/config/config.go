// Package config reads vpc.toml into a vswitch.Config: strictly, with all
// mistakes of a file in one run, each with its line and column.
//
// A file is read three times. The TOML decoder judges the syntax and returns
// untyped values; a scanner of our own (scan.go) finds where each of them
// stands, which the decoder does not tell; and a decoder of our own (decode.go)
// turns the values into a Config, object by object in file order. What the
// objects mean together is judged by Config.Validate, whose paths lead back to
// positions.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	vswitch "vswitch/switch"
)

// MaxSize is the length of the longest file that is read, in bytes (reliability
// row C1).
const MaxSize = 16 << 20

// Load reads the file at path. It returns Errors if the file can be read and is
// wrong; another error if it cannot be read. The origins of all objects name the
// file as path does.
func Load(path string) (vswitch.Config, error) {
	file, err := LoadFile(path)
	return file.VPC, err
}

// read returns the contents of a regular file, and of one that is too long only
// enough to tell.
func read(path string) ([]byte, error) {
	// Without O_NONBLOCK, opening a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// Parse reads a configuration. file is its name in errors and origins. The error,
// if any, is of type Errors.
func Parse(file string, data []byte) (vswitch.Config, error) {
	f, err := parseFile(file, data)
	return f.VPC, err
}

// parseFile reads all of a file.
func parseFile(file string, data []byte) (File, error) {
	tree, value, mistake := parseTOML(data)
	if mistake != nil {
		mistake.File = file
		return File{}, Errors{*mistake}
	}
	d := newDecoder(file)
	c := d.config(tree, value)
	d.locate(tree, c.Validate())
	if len(d.errors) > 0 {
		return File{}, d.sorted()
	}
	return File{c, d.served, d.granted}, nil
}

// sorted returns the errors in file order, and behind them how many there are
// besides.
func (d *decoder) sorted() Errors {
	d.errors.sort()
	end := d.errors[len(d.errors)-1]
	end.Path, end.Hint = "", ""
	if d.more > 0 {
		end.Message = fmt.Sprintf("%d more mistakes are not listed", d.more)
		d.errors = append(d.errors, end)
	}
	if d.rest != "" {
		end.Message = d.rest
		d.errors = append(d.errors, end)
	}
	return d.errors
}

// tail is how far behind the place where the scanner stopped the decoder may
// look for the mistake, in bytes. It bounds how deep the decoder can go, which
// recurses without a bound of its own.
const tail = 64 << 10

// parseTOML returns the values of a document and the tree of their positions, or
// the mistake that ends it.
func parseTOML(data []byte) (*node, map[string]any, *Error) {
	if len(data) > MaxSize {
		return nil, nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("the file is longer than %d MiB", MaxSize>>20)}
	}
	if offset, what := badText(data); what != "" {
		return nil, nil, mistakeAt(data, offset, what)
	}
	s, complete := scan(data)
	if s.limit != "" {
		return nil, nil, s.limitAt.mistake(s.limit)
	}
	readable := data
	if !complete {
		readable = data[:min(len(data), s.i+tail)]
	}
	value, err := decodeTOML(readable)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, nil, mistakeAt(data, syntax.Position.Start+bomSize(data), lower(syntax.Message))
		}
		return nil, nil, mistakeAt(data, s.i, lower(err.Error()))
	}
	switch {
	case s.twice():
		return nil, nil, s.twiceAt.mistake("the key has been defined already")
	case !complete:
		return nil, nil, mistakeAt(data, s.i, "this is not what a TOML document has here")
	}
	if err := s.root.matches(value); err != nil {
		return nil, nil, mistakeAt(data, 0, "the file was understood in two ways, please report it: "+err.Error())
	}
	return s.root, value, nil
}

// decodeTOML runs the TOML decoder. Its internal errors are panics: they become
// errors of the file that provoked them.
func decodeTOML(data []byte) (value map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the TOML decoder gave up: %v", r)
		}
	}()
	var v any
	if _, err := toml.Decode(string(data), &v); err != nil {
		return nil, err
	}
	value, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the TOML decoder returned a %T", v)
	}
	return value, nil
}

// badText returns the place of the first byte that no TOML document holds, and
// what is wrong with it: text that is not UTF-8, or a control character.
func badText(data []byte) (offset int, what string) {
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return i, "the text is not UTF-8"
			}
			i += size
			continue
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', c == 0x7f:
			return i, fmt.Sprintf("the control character U+%04X is not allowed", c)
		case c == '\r' && (i+1 == len(data) || data[i+1] != '\n'):
			return i, "a carriage return without a line feed"
		}
		i++
	}
	return 0, ""
}

// bomSize returns the length of the byte-order mark, which the TOML decoder does
// not count.
func bomSize(data []byte) int {
	if len(data) >= 3 && string(data[:3]) == "\xef\xbb\xbf" {
		return 3
	}
	return 0
}

// lower returns a message of the TOML decoder in the form of ours: lower case, no
// full stop, and no control characters, which it uses for the end of the file.
func lower(message string) string {
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, message)
	r, size := utf8.DecodeRuneInString(message)
	return strings.TrimSuffix(string(unicode.ToLower(r))+message[size:], ".")
}

// mistakeAt returns an error at an offset of the document, which may lie behind
// its end.
func mistakeAt(data []byte, offset int, message string) *Error {
	s := scanner{data: data, mark: bomSize(data), line: 1, column: 1}
	return s.position(min(max(offset, 0), len(data))).mistake(message)
}

// mistake returns an error at a position.
func (at position) mistake(message string) *Error {
	return &Error{Line: int(at.line), Column: int(at.column), Message: message}
}
