package flowlog

import (
	"strings"
	"testing"
	"time"

	"vswitch/internal/goldenfile"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Every field of the catalogue has a column, and no column is of a field that is
// not in it.
func TestEveryFieldHasAColumn(t *testing.T) {
	all := vswitch.FlowLogFields()
	for _, f := range all {
		if columns[f.Name] == nil {
			t.Errorf("the field %s has no column", f.Name)
		}
	}
	if len(columns) != len(all) {
		t.Errorf("%d columns for %d fields", len(columns), len(all))
	}
	if _, err := NewFormat([]string{"action", "nothing"}); err == nil {
		t.Error("a format of an unknown field is accepted")
	}
}

// FL-06: the version is the highest of the fields chosen.
func TestVersion(t *testing.T) {
	for _, c := range []struct {
		want   string
		fields []string
	}{
		{"2", []string{"version"}},
		{"2", []string{"version", "action", "vswitch-rule"}},
		{"3", []string{"version", "vpc-id"}},
		{"5", []string{"version", "srcaddr", "flow-direction"}},
		{"5", []string{"traffic-path", "version", "region"}},
		{"11", []string{"version", "next-hop-vpc-id", "tcp-flags"}},
	} {
		f, err := NewFormat(c.fields)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Fields(string(f.Append(nil, &Record{Interface: &Interface{}, Status: NoData})))
		for i, name := range c.fields {
			if name == "version" && got[i] != c.want {
				t.Errorf("%v: version %s, want %s", c.fields, got[i], c.want)
			}
		}
	}
}

// records are one of each kind.
func records(t testing.TB) []Record {
	c := configuration(t)
	all := interfaces(c, nil)
	start, end := noon.Add(3*time.Second), noon.Add(9500*time.Millisecond)
	sg := func(d policy.Direction, id string) vswitch.RuleKey {
		return vswitch.RuleKey{Object: "sg:blue, green", Direction: d, ID: id}
	}
	acl := func(d policy.Direction, id string) vswitch.RuleKey {
		return vswitch.RuleKey{Object: "nacl:public", Direction: d, ID: id}
	}
	return []Record{
		{Interface: all["a1"], Start: start, End: end, Direction: policy.Egress, Action: Accept, Tuple: tuple(t, "10.0.1.50:40000 > 10.0.2.20:22 tcp"),
			Packets: 4, Bytes: 240, TCPFlags: 19, NextHop: all["b1"], Rules: [2]vswitch.RuleKey{sg(policy.Egress, "sgr-1"), acl(policy.Egress, "100")}},
		{Interface: all["a1"], Start: start, End: end, Direction: policy.Ingress, Action: Reject, Tuple: tuple(t, "10.0.2.20:53 > 10.0.1.50:4000 udp"),
			Packets: 1, Bytes: 60, NextHop: all["b1"], Verdict: policy.NACLIngress, Rules: [2]vswitch.RuleKey{acl(policy.Ingress, "*")}},
		{Interface: all["a1"], Start: start, End: end, Direction: policy.Egress, Action: Reject, Tuple: tuple(t, "2001:db8:a:1::99 > 2001:db8:a:2::20 icmpv6"),
			Packets: 2, Bytes: 208, Verdict: policy.SGEgress},
		{Interface: all["a2"], Start: start, End: end, Direction: policy.Ingress, Action: Accept, Tuple: tuple(t, "fe80::1 > fe80::2 47"),
			Packets: 1, Bytes: 40, NextHop: all["a1"], Rules: [2]vswitch.RuleKey{{}, sg(policy.Ingress, "sgr-2")}},
		{Interface: all["b1"], Status: NoData, Start: noon, End: noon.Add(59 * time.Second)},
		{Interface: all["b1"], Status: SkipData, Start: noon, End: noon.Add(59 * time.Second)},
	}
}

// What each field says of each kind of record, a field a line.
func TestFields(t *testing.T) {
	all := records(t)
	var b strings.Builder
	for _, name := range append([]string{""}, fieldNames()...) {
		if name == "" {
			f, _ := NewFormat(vswitch.DefaultFlowLogFormat())
			b.WriteString(f.Header() + "\n")
			for i := range all {
				b.Write(append(f.Append(nil, &all[i]), '\n'))
			}
			continue
		}
		f, err := NewFormat([]string{name})
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n" + name + ":")
		for i := range all {
			text := string(f.Append(nil, &all[i]))
			if text == "" || strings.ContainsAny(text, " \n\t") {
				t.Errorf("%s prints %q, want one word", name, text)
			}
			b.WriteString(" " + text)
		}
	}
	goldenfile.Compare(t, "testdata/fields.golden", b.String()+"\n")
}

func fieldNames() []string {
	var names []string
	for _, f := range vswitch.FlowLogFields() {
		names = append(names, f.Name)
	}
	return names
}

// FuzzFormat holds that a text is refused, or is a format whose header reads as
// itself and whose lines have as many words as it has fields.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{
		"${version} ${action}", "version  action", "${version}${action}", "${}", "$", "{}", "${version", "version}", "${${version}}",
		"${next-hop-az-id}\t${ecs-task-id}\n", "ACTION", "action action", "", " ", "\u00a0action", strings.Repeat("x ", 5000),
	} {
		f.Add(seed)
	}
	all := records(f)
	f.Fuzz(func(t *testing.T, text string) {
		names, err := vswitch.ParseFlowLogFormat(text)
		if err != nil {
			if len(names) > 0 || strings.TrimSpace(err.Error()) == "" || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: %v, %q", text, names, err)
			}
			return
		}
		format, err := NewFormat(names)
		if err != nil {
			t.Fatalf("%q: parsed as %v, but %v", text, names, err)
		}
		again, err := vswitch.ParseFlowLogFormat(format.Header())
		if err != nil || strings.Join(again, " ") != strings.Join(names, " ") {
			t.Fatalf("%q: the header %q reads as %v, %v", text, format.Header(), again, err)
		}
		for i := range all {
			if line := string(format.Append(nil, &all[i])); len(strings.Split(line, " ")) != len(names) {
				t.Fatalf("%q: %d fields, and the line is %q", text, len(names), line)
			}
		}
	})
}
