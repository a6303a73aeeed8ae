package main

import (
	"fmt"
	"testing"

	"vswitch/internal/expect"
	"vswitch/internal/explain/explaintest"
)

// liveFile is a VPC in which each test meets one reason why nothing is sent.
const liveFile = `[vpc]
name = "live"
cidr = "10.0.0.0/16"
[subnet.main]
cidr = "10.0.1.0/24"
[instance.a]
subnet = "main"
[instance.b]
subnet = "main"
[instance.here]
subnet = "main"
kind = "host"
[[test]]
name = "sent"
from = "a"
to = ["b", "10.0.1.99", "internet"]
port = "tcp/80"
want = "deny"
[[test]]
name = "kind"
from = ["a", "here"]
to = ["b", "here"]
port = "udp/53"
want = "allow"
[[test]]
name = "protocol"
from = "a"
to = "b"
port = "47"
want = "allow"
`

// liveResults are what the rules say of liveFile's tests.
func liveResults(t *testing.T) (e *expect.Evaluator, results []expect.Result) {
	t.Helper()
	cfg := explaintest.Parse(t, liveFile)
	e, err := expect.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range cfg.Tests {
		r, err := e.Evaluate(&cfg.Tests[i])
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return e, results
}

// An instance without a namespace neither sends nor listens, and it is counted
// what is not sent.
func TestLiveTasks(t *testing.T) {
	e, results := liveResults(t)
	s := liveSession{record: record{Instances: []recordInstance{{Name: "a", Namespace: "live-a"}, {Name: "b", Namespace: "live-b"}, {Name: "here"}}}}
	left := expect.Left{}
	tasks, err := s.tasks(e, results, left)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range tasks {
		x := &tasks[i].sample
		got = append(got, fmt.Sprintf("%d %s>%s", tasks[i].test, x.From.Name(), x.Target()))
	}
	want := "[0 a>10.0.1.5:80 0 a>10.0.1.99:80 0 a>192.0.2.1:80 1 a>10.0.1.5:53]"
	if fmt.Sprint(got) != want {
		t.Errorf("tasks %v, want %s", got, want)
	}
	if left[skippedKind] != 2 || left[expect.LeftProtocol] != 1 || len(left) != 2 {
		t.Errorf("left out: %v", left)
	}
	parties := s.parties(tasks)
	if len(parties) != 2 || parties[0].instance != "a" || len(parties[0].plan.Probes) != 4 || len(parties[1].plan.Listen) != 2 || len(parties[0].plan.Listen) != 0 {
		t.Errorf("parties: %+v", parties)
	}
}

// What comes back, or does not, is compared with what the rules say.
func TestLiveVerdicts(t *testing.T) {
	e, results := liveResults(t)
	allowed, err := e.Samples(&results[1], 8, expect.Left{}) // udp/53 of a to b
	if err != nil {
		t.Fatal(err)
	}
	denied, err := e.Samples(&results[0], 8, expect.Left{}) // the second is tcp/80 to nobody
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sample                expect.Sample
		outcome               string
		taken                 bool
		disagrees, conclusive bool
	}{
		{allowed[0], outcomeReply, false, false, true},
		{allowed[0], outcomeRefused, true, false, true},
		{allowed[0], outcomeSilence, false, true, true},
		{allowed[0], outcomeSilence, true, true, false}, // it may be the server that says nothing
		{allowed[0], outcomeError, false, true, true},
		{denied[1], outcomeSilence, false, false, true},
		{denied[1], outcomeSilence, true, false, true},
		{denied[1], outcomeError, false, false, true},
		{denied[1], outcomeOpen, true, true, true},
	} {
		task := liveTask{sample: c.sample, taken: c.taken, result: partyResult{Outcome: c.outcome, SourcePort: 40000}}
		p, conclusive, err := task.probe(e)
		if err != nil {
			t.Fatal(err)
		}
		if conclusive != c.conclusive || conclusive && p.Disagrees != c.disagrees {
			t.Errorf("%s %s, taken %v: %+v, conclusive %v", c.sample.Target(), c.outcome, c.taken, p, conclusive)
		}
	}
}
