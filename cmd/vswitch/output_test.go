package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"vswitch/internal/api"
	"vswitch/internal/goldenfile"
	"vswitch/internal/graph"
	"vswitch/internal/plan"
)

// printed are the documents that the commands print with -o json. Those of this
// package say in docs/output.md what their fields mean, test's in a section of its
// own; those of the others in docs/api.md.
var printed = map[string]reflect.Type{
	"up":           reflect.TypeFor[api.Status](),
	"reload":       reflect.TypeFor[api.ReloadReply](),
	"plan":         reflect.TypeFor[plan.Plan](),
	"check":        reflect.TypeFor[checkResult](),
	"status":       reflect.TypeFor[api.Status](),
	"explain":      reflect.TypeFor[api.Explanation](),
	"top":          reflect.TypeFor[api.Busiest](),
	"why":          reflect.TypeFor[api.Drops](),
	"rules":        reflect.TypeFor[api.Rules](),
	"test":         reflect.TypeFor[testReport](),
	"reach":        reflect.TypeFor[api.Reach](),
	"events":       reflect.TypeFor[api.Events](),
	"flows":        reflect.TypeFor[api.Flows](),
	"conntrack ls": reflect.TypeFor[api.Connections](),
	"capture":      reflect.TypeFor[captureSummary](),
	"graph":        reflect.TypeFor[graph.Graph](),
	"ping":         reflect.TypeFor[probeResult](),
	"version":      reflect.TypeFor[version](),
}

// outputDocument is where users read about them; what follows outputMark is written
// by this test, but for what fields mean.
const (
	outputDocument = "../../docs/output.md"
	outputMark     = "\n## Every field\n"
)

// docs/output.md has every command that prints JSON, with the fields that it prints
// and their types.
func TestOutputIsDocumented(t *testing.T) {
	text, err := os.ReadFile(outputDocument)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), outputMark)
	if !found {
		t.Fatalf("%s has no line %q", outputDocument, strings.TrimSpace(outputMark))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s\n%s", before, outputMark, outputIntroduction)
	seen := 0
	documented(func(cmd *cobra.Command, path []string) {
		name := strings.Join(path, " ")
		document, prints := printed[name]
		if slices.Contains(strings.Fields(cmd.Annotations[formatsKey]), formatJSON) != prints {
			t.Errorf("vswitch %s has -o json, or this test knows a document of it, but not both", name)
		}
		if prints {
			seen++
			writeFields(t, &b, name, document, after)
		}
	})
	if seen != len(printed) {
		t.Errorf("of %d documents, %d are of commands that there are", len(printed), seen)
	}
	switch {
	case *goldenfile.Update:
		if err := os.WriteFile(outputDocument, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	case b.String() != string(text):
		t.Errorf("%s is not what the commands print (go test -update rewrites it)", filepath.Base(outputDocument))
	}
}

const outputIntroduction = `What each command prints with ` + "`-o json`" + `; ` + "`x[]`" + ` is an element of the list ` + "`x`, and `x{}`" + ` a value of an
object whose keys are names. Times are RFC 3339 in UTC.
`

// writeFields writes the section of one command. What a field of a document of this
// package means is taken over from old, and must be there.
func writeFields(t *testing.T, b *strings.Builder, command string, document reflect.Type, old string) {
	t.Helper()
	fmt.Fprintf(b, "\n### vswitch %s\n\n", command)
	_, section, _ := strings.Cut(old, "\n### vswitch "+command+"\n")
	section, _, _ = strings.Cut(section, "\n### ")
	ours := document.PkgPath() == reflect.TypeFor[version]().PkgPath() && document != reflect.TypeFor[testReport]()
	switch {
	case ours:
		b.WriteString("| field | type | meaning |\n| --- | --- | --- |\n")
	case document == reflect.TypeFor[testReport]():
		b.WriteString("Explained [above](#vswitch-test).\n\n| field | type |\n| --- | --- |\n")
	default:
		fmt.Fprintf(b, "Explained in api.md under [%s](api.md#%s).\n\n| field | type |\n| --- | --- |\n", document.Name(), strings.ToLower(document.Name()))
	}
	for _, f := range outputFields(t, document, "") {
		row := fmt.Sprintf("| `%s` | %s |", f.path, f.kind)
		if ours {
			_, meaning, _ := strings.Cut(section, row)
			meaning, _, _ = strings.Cut(meaning, "\n")
			if strings.Trim(meaning, " |") == "" {
				t.Errorf("%s: what does `%s` of vswitch %s mean?", outputDocument, f.path, command)
				meaning = " |"
			}
			row += meaning
		}
		fmt.Fprintln(b, row)
	}
}

// An outputField is one field of a document.
type outputField struct{ path, kind string }

// outputFields returns the fields of a document, and of those inside it.
func outputFields(t *testing.T, document reflect.Type, prefix string) []outputField {
	t.Helper()
	var all []outputField
	for i := range document.NumField() {
		f := document.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if name == "" {
			t.Errorf("%s.%s has no name in JSON", document, f.Name)
		}
		path, kind, inner := prefix+name, "", f.Type
		for kind == "" {
			switch {
			case inner.Kind() == reflect.Pointer:
				inner = inner.Elem()
			case inner == reflect.TypeFor[time.Time](), inner == reflect.TypeFor[netip.Addr](), inner.Kind() == reflect.String:
				kind = "string"
			case inner.Kind() == reflect.Slice:
				path, inner = path+"[]", inner.Elem()
			case inner.Kind() == reflect.Map:
				path, inner = path+"{}", inner.Elem()
			case inner.Kind() == reflect.Struct:
				kind = "object"
			case inner.Kind() == reflect.Bool:
				kind = "boolean"
			case inner.Kind() >= reflect.Int && inner.Kind() <= reflect.Float64:
				kind = "number"
			default:
				t.Fatalf("%s.%s: what is %s in JSON?", document, f.Name, inner)
			}
		}
		nested := kind == "object" && inner != reflect.TypeFor[api.Status]() // which has a section of its own
		if kind == "object" && !nested {
			kind = "object, as `vswitch status` prints it"
		}
		if strings.Contains(options, "omitempty") {
			kind += ", opt."
		}
		all = append(all, outputField{path, kind})
		if nested {
			all = append(all, outputFields(t, inner, path+".")...)
		}
	}
	return all
}
