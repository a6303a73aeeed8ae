package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// A report gathers what was measured.
type report struct {
	plan    *plan
	began   time.Time
	values  map[*work]map[*target][]float64
	remarks map[*target]string // why values are missing
}

// newReport returns a report without values.
func newReport(p *plan) *report {
	r := &report{plan: p, began: time.Now(), values: make(map[*work]map[*target][]float64), remarks: make(map[*target]string)}
	for _, w := range p.works {
		r.values[w] = make(map[*target][]float64)
	}
	return r
}

// add takes one more value in.
func (r *report) add(w *work, t *target, value float64) {
	r.values[w][t] = append(r.values[w][t], value)
}

// remark says why values of the target are missing.
func (r *report) remark(t *target, why string) { r.remarks[t] = why }

// print writes the report: the machine, the targets, and a table for each work.
func (r *report) print(out io.Writer) error {
	b := bufio.NewWriter(out)
	fmt.Fprintf(b, "%s\n", machine(r.began))
	fmt.Fprintf(b, "%d rounds of %v each, interleaved; vswitch with %d rules in its security group\n\n", r.plan.rounds, r.plan.length, r.plan.rules)
	list := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, t := range r.plan.targets {
		fmt.Fprintf(list, "%s\t%s\n", t, t.what)
	}
	list.Flush()
	for _, w := range r.plan.works {
		r.printWork(b, w)
	}
	return b.Flush()
}

// printWork writes the table of one work.
func (r *report) printWork(b io.Writer, w *work) {
	first := r.plan.targets[0]
	const row = "%12s%20s%10s%10s%13s"
	line := func(end string, cells ...any) {
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf(row, cells...)+end, " "))
	}
	fmt.Fprintf(b, "\n%s: %s\n", w, w.what)
	line("", "", "median "+w.unit, "min", "max", "/ "+first.name)
	for _, t := range r.plan.targets {
		values, remark := r.values[w][t], r.remarks[t]
		if len(values) == 0 {
			if remark == "" {
				remark = "not measured"
			}
			fmt.Fprintf(b, "%12s  %s\n", t, remark)
			continue
		}
		if remark != "" {
			remark = fmt.Sprintf("  %s; values of %d rounds", remark, len(values))
		}
		m := median(values)
		ratio := ""
		if base := r.values[w][first]; len(base) > 0 && median(base) > 0 {
			ratio = fmt.Sprintf("%.2f", m/median(base))
		}
		line(remark, t, w.format(m), w.format(slices.Min(values)), w.format(slices.Max(values)), ratio)
	}
}

// median returns the middle of the values, of which there is at least one, or the
// mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// machine returns the line that says where and when the figures were measured.
func machine(when time.Time) string {
	kernel := "Linux of unknown release"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = "Linux " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s: %d processors (%s), %s, %s", when.UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(), processor(), kernel, runtime.Version())
}

// processor returns the name of the machine's processor.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
