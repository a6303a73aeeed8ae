package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"vswitch/internal/api"
)

// Formats of -o.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatJSONL = "jsonl"
	formatName  = "name"
)

// Sets of formats, the default first.
const (
	formatsList   = "table wide json jsonl name"
	formatsPlain  = "table json"
	formatsStream = "table json jsonl"
)

// An output is what a reading command has to say, in every format it knows.
type output struct {
	table    func(w io.Writer, wide bool) error
	document any      // -o json
	items    []any    // -o jsonl, one a line
	names    []string // -o name, one a line
}

// print prints o in the format of this invocation.
func (c *cli) print(o output) error {
	switch c.format {
	case formatJSON:
		return api.Encode(c.out, o.document)
	case formatJSONL:
		return encodeLines(c.out, o.items)
	case formatName:
		for _, name := range o.names {
			if _, err := fmt.Fprintln(c.out, name); err != nil {
				return err
			}
		}
		return nil
	}
	return o.table(c.out, c.format == formatWide)
}

// encodeLines writes one document a line.
func encodeLines(w io.Writer, items []any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, item := range items {
		if err := e.Encode(item); err != nil {
			return err
		}
	}
	return nil
}

// asItems returns the elements of a list as the items of an output.
func asItems[T any](list []T) []any {
	items := make([]any, len(list))
	for i := range list {
		items[i] = list[i]
	}
	return items
}

// writeTable writes rows in columns, each line indented by indent. No line ends
// in spaces.
func writeTable(w io.Writer, indent string, rows [][]string) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(indent+line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// count returns "1 subnet" or "2 subnets".
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// dash returns s, or "-" for an empty cell.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
