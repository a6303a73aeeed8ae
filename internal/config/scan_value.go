package config

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// value scans a value and adds it to parent: under key if that is a table, else
// as its next element.
func (s *scanner) value(parent *node, key string, keyAt position) bool {
	if s.i == len(s.data) {
		return false
	}
	at := s.position(s.i)
	if parent.shape == array {
		keyAt = at
	}
	shape := scalar
	switch s.data[s.i] {
	case '[':
		shape = array
	case '{':
		shape = table
	}
	n := s.node(shape, key, keyAt, at)
	if n == nil {
		return false
	}
	parent.add(n)
	switch shape {
	case array:
		return s.array(n)
	case table:
		return s.inlineTable(n)
	}
	return s.scalar()
}

// array scans "[value, ...]", in which lines may end and comments stand anywhere.
func (s *scanner) array(n *node) bool {
	if !s.deep(n.depth() + 1) {
		return false
	}
	s.i++
	for {
		s.skipLines()
		if s.accept(']') {
			return true
		}
		if !s.value(n, "", position{}) {
			return false
		}
		s.skipLines()
		if !s.accept(',') {
			return s.accept(']')
		}
	}
}

// inlineTable scans "{key = value, ...}". As in an array, lines may end and
// comments stand anywhere (TOML 1.1).
func (s *scanner) inlineTable(n *node) bool {
	s.i++
	for {
		s.skipLines()
		if s.accept('}') {
			return true
		}
		if !s.keyValue(n) {
			return false
		}
		s.skipLines()
		if !s.accept(',') {
			return s.accept('}')
		}
	}
}

// scalar scans a string, a number, a boolean or a date.
func (s *scanner) scalar() bool {
	switch s.data[s.i] {
	case '"', '\'':
		return s.text()
	}
	start := s.i
	for s.i < len(s.data) && bytes.IndexByte([]byte(",]}#\r\n"), s.data[s.i]) < 0 {
		s.i++
	}
	return s.i > start
}

// text scans a string of any of the four kinds.
func (s *scanner) text() bool {
	quote := s.data[s.i]
	if rest := s.data[s.i:]; len(rest) >= 3 && rest[1] == quote && rest[2] == quote {
		s.i += 3
		return s.longText(quote)
	}
	s.i++
	for s.i < len(s.data) {
		switch c := s.data[s.i]; {
		case c == quote:
			s.i++
			return true
		case c == '\n':
			return false
		case c == '\\' && quote == '"':
			s.i++
		}
		s.i++
	}
	return false
}

// longText scans the rest of a string between three quotes. Up to two more quotes
// directly before the closing three belong to the text.
func (s *scanner) longText(quote byte) bool {
	for ; s.i < len(s.data); s.i++ {
		switch s.data[s.i] {
		case '\\':
			if quote == '"' {
				s.i++
			}
		case quote:
			run := 1
			for run < 5 && s.i+run < len(s.data) && s.data[s.i+run] == quote {
				run++
			}
			if run >= 3 {
				s.i += run
				return true
			}
			s.i += run - 1
		}
	}
	return false
}

// keyPart scans one part of a key, bare or quoted, and the space around it.
func (s *scanner) keyPart() (key string, at position, ok bool) {
	s.skipSpace()
	if s.i == len(s.data) {
		return "", at, false
	}
	at = s.position(s.i)
	start := s.i
	switch c := s.data[s.i]; {
	case c == '"' || c == '\'':
		if bytes.HasPrefix(s.data[s.i:], []byte{c, c, c}) || !s.text() {
			return "", at, false // a key is never a long string
		}
		key, ok = string(s.data[start+1:s.i-1]), true
		if c == '"' {
			key, ok = unescape(key)
		}
	default:
		for s.i < len(s.data) && isBareKey(s.data[s.i]) {
			s.i++
		}
		key, ok = string(s.data[start:s.i]), s.i > start
	}
	if len(key) > maxKey {
		return "", at, s.exceed("a key longer than %d bytes", maxKey)
	}
	s.skipSpace()
	return key, at, ok
}

// isBareKey reports whether c may stand in a key without quotes.
func isBareKey(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// escapes are the escape sequences of one letter (TOML 1.1).
var escapes = map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', 'e': 0x1b, '"': '"', '\\': '\\'}

// hexDigits is how many digits follow the letter of a numeric escape sequence.
var hexDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// unescape replaces the escape sequences of a basic string on one line.
func unescape(text string) (string, bool) {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", false
		}
		if c, ok := escapes[text[i]]; ok {
			out = append(out, c)
			continue
		}
		digits := hexDigits[text[i]]
		if digits == 0 || i+digits >= len(text) {
			return "", false
		}
		code, err := strconv.ParseUint(text[i+1:i+1+digits], 16, 32)
		if err != nil || !utf8.ValidRune(rune(code)) {
			return "", false
		}
		out = utf8.AppendRune(out, rune(code))
		i += digits
	}
	return string(out), true
}

// accept skips the byte c, if it is next.
func (s *scanner) accept(c byte) bool {
	if s.i < len(s.data) && s.data[s.i] == c {
		s.i++
		return true
	}
	return false
}

// skipSpace skips spaces and tabs.
func (s *scanner) skipSpace() {
	for s.i < len(s.data) && (s.data[s.i] == ' ' || s.data[s.i] == '\t') {
		s.i++
	}
}

// skipLines skips white space, ends of lines and comments.
func (s *scanner) skipLines() {
	for s.i < len(s.data) {
		switch s.data[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		case '#':
			end := bytes.IndexByte(s.data[s.i:], '\n')
			if end < 0 {
				end = len(s.data) - s.i
			}
			s.i += end
		default:
			return
		}
	}
}

// endOfLine skips the rest of a line behind a value or a header. Nothing but a
// comment may be there.
func (s *scanner) endOfLine() bool {
	s.skipSpace()
	return s.i == len(s.data) || s.data[s.i] == '#' || s.data[s.i] == '\r' || s.data[s.i] == '\n'
}
