package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// manyRules returns a correct file with that many rules in one security group.
func manyRules(rules int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "[vpc]\nname = \"big\"\ncidr = \"10.0.0.0/16\"\n[quotas]\nrules_per_security_group = %d\nrules_per_interface = %d\n", rules, rules)
	b.WriteString("[subnet.a]\ncidr = \"10.0.0.0/24\"\n[instance.one]\nsubnet = \"a\"\nsg = [\"web\"]\n[security_group.web]\ningress = [\n")
	for i := range rules {
		fmt.Fprintf(&b, "  { id = \"sgr-%d\", proto = \"tcp\", ports = \"%d-65535\", from = \"10.%d.%d.0/24\" },\n", i, i%60000, i>>8&255, i&255)
	}
	b.WriteString("]\n")
	return b.Bytes()
}

// BenchmarkParse10000Rules is a file with 10,000 rules, read and validated.
func BenchmarkParse10000Rules(b *testing.B) {
	data := manyRules(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("vpc.toml", data); err != nil {
			b.Fatal(err)
		}
	}
}

// repeat returns a document of header, then as many of the lines that line makes
// as fit into size bytes, then footer.
func repeat(size int, header string, line func(i int) string, footer string) []byte {
	b := bytes.NewBufferString(header)
	for i := 0; ; i++ {
		l := line(i)
		if b.Len()+len(l)+len(footer) > size {
			b.WriteString(footer)
			return b.Bytes()
		}
		b.WriteString(l)
	}
}

// bombs are files that would cost more than their size deserves if any
// step were quadratic or recursed without bound (reliability row C1).
var bombs = []struct {
	name string
	make func(size int) []byte
}{
	{"rules", func(size int) []byte { return manyRules(size / 93) }},
	{"dangling names", func(size int) []byte {
		return repeat(size, minimal+"[security_group.a]\ningress = [\n", func(i int) string {
			return fmt.Sprintf("{proto=\"tcp\",ports=%d,from=\"sg:group-%d\"},\n", i%65536, i)
		}, "]\n")
	}},
	{"many objects and dangling names", func(size int) []byte {
		return repeat(size, minimal, func(i int) string {
			return fmt.Sprintf("[security_group.group-%d]\n[instance.i%d]\nsg=[\"gruop-%d\"]\n", i, i, i)
		}, "")
	}},
	{"open brackets", func(size int) []byte { return repeat(size, "a = ", func(int) string { return "[" }, "") }},
	{"open brackets behind a syntax error", func(size int) []byte { return repeat(size, "a b\nc = ", func(int) string { return "[" }, "") }},
	{"inline tables", func(size int) []byte { return repeat(size, "a = ", func(int) string { return "{a=" }, "") }},
	{"dotted key", func(size int) []byte { return repeat(size, "a", func(int) string { return ".a" }, " = 1\n") }},
	{"one long line", func(size int) []byte { return repeat(size, "a = [", func(int) string { return "1," }, "]\n") }},
	{"unknown keys", func(size int) []byte {
		return repeat(size, minimal+"[x]\n", func(i int) string { return fmt.Sprintf("k%d=1\n", i) }, "")
	}},
	{"long names", func(size int) []byte {
		header := "[" + strings.TrimSuffix(strings.Repeat(strings.Repeat("x", maxKey)+".", maxDepth-1), ".") + "]\n"
		return repeat(size, header, func(i int) string { return fmt.Sprintf("k%d=1\n", i) }, "")
	}},
	{"one long string", func(size int) []byte { return repeat(size, "a = '", func(int) string { return "x" }, "'\n") }},
	{"line ends in a string", func(size int) []byte {
		return repeat(size, "a = \"\"\"", func(int) string { return "\\\n" }, "\"\"\"\n")
	}},
	{"tables", func(size int) []byte { return repeat(size, "", func(int) string { return "[[test]]\n" }, "") }},
	{"subnets", func(size int) []byte {
		return repeat(size, minimal, func(i int) string { return fmt.Sprintf("[subnet.s%d]\ncidr=\"10.0.0.0/28\"\n", i) }, "")
	}},
	{"entries in a list that many rules name", func(size int) []byte {
		half := repeat(size, minimal+"[prefix_list.p]\ncidrs=[", func(i int) string {
			return fmt.Sprintf("\"10.%d.%d.%d/32\",", i>>16&255, i>>8&255, i&255)
		}, "]\n")
		half = append(half[:size/2:size/2], "\"]\n"...)
		half = append(half[:bytes.LastIndex(half, []byte(","))], "]\n[security_group.a]\ningress = [\n"...)
		return repeat(size, string(half), func(i int) string { return fmt.Sprintf("{proto=\"tcp\",ports=%d,from=\"pl:p\"},\n", i%65536) }, "]\n")
	}},
}

// minimal is a correct file.
const minimal = "[vpc]\nname = \"x\"\ncidr = \"10.0.0.0/16\"\n"

// A file of 1 MiB, whatever is in it, is judged in less than 10 seconds, even on a
// busy machine with the race detector: what is quadratic takes longer.
// BenchmarkBombs has the figures of the largest files.
func TestBombs(t *testing.T) {
	const size, most = 1 << 20, 10 * time.Second
	for _, bomb := range bombs {
		data := bomb.make(size)
		if len(data) > size || len(data) < size*9/10 {
			t.Errorf("%s: made %d bytes", bomb.name, len(data))
			continue
		}
		start := time.Now()
		_, err := Parse("vpc.toml", data)
		took := time.Since(start)
		first := "accepted"
		if err != nil {
			first, _, _ = strings.Cut(err.Error(), "\n")
		}
		t.Logf("%-40s %8s  %.120s", bomb.name, took.Round(time.Millisecond), first)
		if took > most {
			t.Errorf("%s: took %s", bomb.name, took)
		}
	}
}

// BenchmarkBombs judges files of 16 MiB, each of which may take 5 seconds
// (reliability row C1).
func BenchmarkBombs(b *testing.B) {
	for _, bomb := range bombs {
		data := bomb.make(MaxSize)
		b.Run(strings.ReplaceAll(bomb.name, " ", "_"), func(b *testing.B) {
			for b.Loop() {
				_, _ = Parse("vpc.toml", data) // accepted or not: it is the time that counts
			}
		})
	}
}
