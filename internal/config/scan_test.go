package config

import (
	"fmt"
	"strings"
	"testing"
)

// outline returns the nodes below n in file order: path, place of the value and,
// for keys, place of the key.
func outline(n *node) []string {
	var all []string
	for _, c := range n.children {
		where := fmt.Sprintf("%s %d:%d", c.path(), c.at.line, c.at.column)
		if c.index == 0 {
			where += fmt.Sprintf(" (%d:%d)", c.keyAt.line, c.keyAt.column)
		}
		all = append(all, where)
		all = append(all, outline(c)...)
	}
	return all
}

// Every way in which TOML writes a value, and where it stands: line and column of
// the value, in brackets those of its key.
func TestPositions(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"key and value", "a = 1", "a 1:5 (1:1)"},
		{"columns count characters, not bytes", "'é' = 'ü' # ö", `"é" 1:7 (1:1)`},
		{"a byte-order mark is no character", "\ufeffa = 1", "a 1:5 (1:1)"},
		{"CRLF", "a = 1\r\nb = 2\r\n", "a 1:5 (1:1), b 2:5 (2:1)"},
		{"header", " [a . \"b c\"]\n\tk = 1", `a 1:2 (1:3), a."b c" 1:2 (1:7), a."b c".k 2:6 (2:2)`},
		{"a header behind a deeper one has the place", "[a.b]\n[a]\n", "a 2:1 (2:2), a.b 1:1 (1:4)"},
		{"dotted keys", "a.b = 1\na.c = 2", "a 1:1 (1:1), a.b 1:7 (1:3), a.c 2:7 (2:3)"},
		{"array of tables", "[[a]]\nb = 1\n[[a]]\n[a.c]", "a 1:1 (1:3), a.1 1:1, a.1.b 2:5 (2:1), a.2 3:1, a.2.c 4:1 (4:4)"},
		{"list over several lines", "a = [ # x\n  1,\n  # ]\n  2, ]", "a 1:5 (1:1), a 2:3, a 4:3"},
		{"lists in a list", "a = [[1], []]", "a 1:5 (1:1), a.1 1:6, a.1 1:7, a.2 1:11"},
		{"inline table", "a = { b = 1, c.d = 2 }", "a 1:5 (1:1), a.b 1:11 (1:7), a.c 1:14 (1:14), a.c.d 1:20 (1:16)"},
		{"inline table over several lines", "a = {\n b = 1, # }\n}\nc = 2", "a 1:5 (1:1), a.b 2:6 (2:2), c 4:5 (4:1)"},
		{"quotes and brackets in strings", `a = ["\"]", ']', "#"] # x`, "a 1:5 (1:1), a 1:6, a 1:13, a 1:18"},
		{"long strings", "a = \"\"\"\n]\"\"\\\"\"\"\"\"\"\nb = '''\n'''''\nc = 1", "a 1:5 (1:1), b 3:5 (3:1), c 5:5 (5:1)"},
		{"escapes in keys", `"\u0061\x62\"\U0001F600" = 1`, `"ab\"😀" 1:28 (1:1)`},
		{"date with a space", "a = 1979-05-27 07:32:00 # x\nb = 1", "a 1:5 (1:1), b 2:5 (2:1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, _, mistake := parseTOML([]byte(c.text))
			if mistake != nil {
				t.Fatal(mistake)
			}
			if got := strings.Join(outline(tree), ", "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A table with many keys finds each of them.
func TestManyChildren(t *testing.T) {
	n := &node{shape: table}
	for i := range 3 * manyChildren {
		c := &node{key: fmt.Sprint("k", i)}
		n.add(c)
		if got := n.child(c.key); got != c {
			t.Fatalf("%s among %d: got %v", c.key, i+1, got)
		}
	}
	if got := n.child("k"); got != nil {
		t.Errorf("a key that is not there: got %v", got)
	}
}

// A tree of another document does not match: this is what would tell that the
// scanner and the decoder disagree.
func TestMatches(t *testing.T) {
	const text = "a = 1\n[b]\nc = [1, 2]\n[[d]]\n"
	tree, value, mistake := parseTOML([]byte(text))
	if mistake != nil {
		t.Fatal(mistake)
	}
	if err := tree.matches(value); err != nil {
		t.Errorf("its own values: %v", err)
	}
	for _, other := range []string{
		"a = 1\n[b]\nc = [1, 2]\n",             // a key less
		"a = 1\n[e]\nc = [1, 2]\n[[d]]\n",      // another key
		"a = 1\n[b]\nc = [1]\n[[d]]\n",         // an element less
		"a = 1\n[b]\nc = [1, [2]]\n[[d]]\n",    // an element of another shape
		"a = 1\nb = 2\nd = [{}]\n",             // a value for a table
		"a = []\n[b]\nc = [1, 2]\n[[d]]\n",     // a list for a value
		"a = 1\n[b]\nc = [1, 2]\n[[d]]\n[[d]]", // a table more
	} {
		_, value, mistake := parseTOML([]byte(other))
		if mistake != nil {
			t.Fatal(mistake)
		}
		if err := tree.matches(value); err == nil {
			t.Errorf("the values of %q match the tree of %q", other, text)
		}
	}
}
