package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A field is what docs/output.md says of one.
type field struct {
	kind     string // string, number, boolean, object
	optional bool
}

var fieldRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (string|number|boolean|object)([^|]*) \\|")

// outputDocument returns the fields of each command's document, by its name and
// then by path.
func outputDocument(t *testing.T) map[string]map[string]field {
	t.Helper()
	text, err := os.ReadFile("../../docs/output.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n## Every field\n")
	all := map[string]map[string]field{}
	for _, section := range strings.Split(list, "\n### vswitch ")[1:] {
		name, rows, _ := strings.Cut(section, "\n")
		all[name] = map[string]field{}
		for _, m := range fieldRow.FindAllStringSubmatch(rows, -1) {
			all[name][m[1]] = field{m[2], strings.Contains(m[3], "opt.")}
		}
	}
	for path, f := range all["status"] {
		all["reload"]["status."+path] = f
	}
	return all
}

// What the commands print of a VPC in which something happens has the fields that
// docs/output.md lists, of the types that it says, and no others.
func TestOutputHasTheDocumentedFields(t *testing.T) {
	t.Parallel()
	l := startLab(t, twoSubnets+"\n[[test]]\nname = \"echo\"\nfrom = \"left\"\nto = \"right\"\nport = \"tcp/9000\"\nwant = \"allow\"\n")
	l.talkTo("left", "right")
	l.dial("left", "tcp", l.ip("right")+":22")
	l.edit(`ports = 9001`, `ports = 9002`)
	for command, fields := range outputDocument(t) {
		args := map[string]string{
			"explain": "explain left right tcp/9000", "plan": "plan --flows", "ping": "ping left right tcp/9000", "check": "check --lint",
		}[command]
		if args == "" {
			args = command
		}
		switch command {
		case "capture": // TestCaptureEnds has it: it needs traffic while it runs
		case "up", "reload":
			defer l.expectDocumented(args, fields) // these change what the others are about
		default:
			l.expectDocumented(args, fields)
		}
	}
}

// expectDocumented runs a command and compares what it prints.
func (l *lab) expectDocumented(args string, fields map[string]field) {
	l.t.Helper()
	text := l.must(append(strings.Fields(args), "-o", "json")...)
	var document any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		l.t.Errorf("%s: %v\n%s", args, err, text)
		return
	}
	w := walk{fields: fields}
	w.object("", document)
	for _, problem := range w.problems {
		l.t.Errorf("%s: %s", args, problem)
	}
	if w.seen == 0 {
		l.t.Errorf("%s prints no field:\n%s", args, text)
	}
}

// A walk goes through a document.
type walk struct {
	fields   map[string]field
	seen     int
	problems []string
}

// object compares an object, whose fields' paths begin with prefix.
func (w *walk) object(prefix string, v any) {
	o, ok := v.(map[string]any)
	if !ok {
		w.problems = append(w.problems, fmt.Sprintf("%q is no object: %v", prefix, v))
		return
	}
	for name, value := range o {
		w.value(prefix+name, value)
	}
	for path, f := range w.fields {
		if name, below := strings.CutPrefix(path, prefix); below && !f.optional && !strings.ContainsAny(name, ".[{") {
			if _, there := o[name]; !there {
				w.problems = append(w.problems, "without "+path)
			}
		}
	}
}

// value compares the value of a field, or an element of it.
func (w *walk) value(path string, v any) {
	if f, ok := w.fields[path]; ok {
		w.seen++
		w.one(path, f, v)
		return
	}
	if list, ok := v.([]any); ok && (w.has(path + "[]")) {
		for _, element := range list {
			w.value(path+"[]", element)
		}
		return
	}
	if values, ok := v.(map[string]any); ok && w.has(path+"{}") {
		for _, element := range values {
			w.value(path+"{}", element)
		}
		return
	}
	w.problems = append(w.problems, fmt.Sprintf("%s is not documented: %v", path, v))
}

// has reports whether a path, or one behind it, is documented.
func (w *walk) has(path string) bool {
	for known := range w.fields {
		if strings.HasPrefix(known, path) {
			return true
		}
	}
	return false
}

func (w *walk) one(path string, f field, v any) {
	kind := ""
	switch v.(type) {
	case string:
		kind = "string"
	case float64:
		kind = "number"
	case bool:
		kind = "boolean"
	case map[string]any:
		kind = "object"
	}
	if kind != f.kind {
		w.problems = append(w.problems, fmt.Sprintf("%s is to be a %s: %v", path, f.kind, v))
	} else if kind == "object" {
		w.object(path+".", v)
	}
}
