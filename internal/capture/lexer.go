package capture

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// A word is one word of an expression, or one of ( ) ! && ||.
type word struct {
	text string
	at   int // in bytes from the beginning of the expression
}

// A FilterError is a mistake in an expression.
type FilterError struct {
	Filter  string
	At, Len int // where the mistake is, in bytes; At is len(Filter) for what is missing at the end
	Message string
}

// Error returns the mistake, and below it the expression with a mark under the
// place:
//
//	filter: no word "prt" (did you mean "port"?)
//	  tcp prt 80
//	      ^^^
func (e *FilterError) Error() string {
	// Control characters would move the mark, and more.
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, e.Filter)
	space := strings.Repeat(" ", utf8.RuneCountInString(e.Filter[:e.At]))
	mark := strings.Repeat("^", max(1, utf8.RuneCountInString(e.Filter[e.At:e.At+e.Len])))
	return fmt.Sprintf("filter: %s\n  %s\n  %s%s", e.Message, clean, space, mark)
}

// split returns the words of an expression.
func split(text string) (words []word) {
	for i := 0; i < len(text); {
		switch n := symbol(text[i:]); {
		case n > 0:
			words = append(words, word{text[i : i+n], i})
			i += n
		case strings.IndexByte(blanks, text[i]) >= 0:
			i++
		default:
			from := i
			for i < len(text) && symbol(text[i:]) == 0 && strings.IndexByte(blanks, text[i]) < 0 {
				i++
			}
			words = append(words, word{text[from:i], from})
		}
	}
	return words
}

const blanks = " \t\r\n"

// symbol returns the length of the symbol that text begins with, or 0.
func symbol(text string) int {
	switch {
	case strings.HasPrefix(text, "&&"), strings.HasPrefix(text, "||"):
		return 2
	case strings.IndexByte("()!", text[0]) >= 0:
		return 1
	}
	return 0
}
