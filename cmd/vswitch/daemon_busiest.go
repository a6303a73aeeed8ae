package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"vswitch/internal/account"
	"vswitch/internal/api"
	"vswitch/internal/flowlog"
	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// Busiest watches the switch for a while, for the API.
func (d *daemon) Busiest(ctx context.Context, r api.BusiestRequest) (api.Busiest, error) {
	if _, err := d.observed(""); err != nil { // what was before does not count
		return api.Busiest{}, err
	}
	began := time.Now()
	m, before := d.book.Begin()
	if m == nil {
		return api.Busiest{}, &api.Error{Kind: api.KindBusy, Message: "VPC " + d.state.vpc + ": others ask for what is busiest already"}
	}
	select {
	case <-time.After(r.Over):
	case <-ctx.Done():
	case <-d.ended:
	}
	_, err := d.observed("")
	now := d.book.End(m)
	if err != nil {
		return api.Busiest{}, err
	}
	cfg := d.sw.Config()
	names := newNameBook(&cfg)
	reply := api.Busiest{Seconds: time.Since(began).Seconds(), Flows: []api.BusyFlow{}, Rules: busyRules(&cfg, before, now, r.Limit)}
	flows, total, unnamed := m.Busiest(r.Limit)
	reply.TotalFlows, reply.Unnamed = total, unnamed
	for i := range flows {
		reply.Flows = append(reply.Flows, busyFlow(&flows[i], names))
	}
	return reply, nil
}

// busyFlow returns the document of one flow.
func busyFlow(m *account.Metered, names nameBook) api.BusyFlow {
	t := &m.Tuple
	a := api.BusyFlow{
		From: m.From, To: m.To, Protocol: policy.Protocol(t.Protocol).String(), Source: t.Src.String(), Destination: t.Dst.String(),
		Verdict: flowlog.VerdictName(m.Reason), Packets: m.Packets, Bytes: m.Bytes,
	}
	if policy.Protocol(t.Protocol).HasPorts() {
		a.SourcePort, a.DestPort = t.SrcPort, t.DstPort
	}
	a.To = cmp.Or(a.To, names[a.Destination])
	return a
}

// busyRules returns at most n of the rules that have decided something between two
// readings of the book: denials first, the most packets first. A rule that was
// reset in between counts from there.
func busyRules(cfg *vswitch.Config, before, now map[vswitch.RuleKey]account.Hits, n int) []api.BusyRule {
	var keys []vswitch.RuleKey
	done := make(map[vswitch.RuleKey]account.Hits)
	for key, h := range now {
		if b := before[key]; b.Packets <= h.Packets && b.Flows <= h.Flows {
			h.Packets, h.Flows = h.Packets-b.Packets, h.Flows-b.Flows
		}
		if h.Packets > 0 {
			keys = append(keys, key)
			done[key] = h
		}
	}
	listed := make(map[vswitch.RuleKey]*vswitch.Rule)
	all := vswitch.AllRules(cfg)
	for i := range all {
		listed[all[i].Key] = &all[i]
	}
	keys = slices.DeleteFunc(keys, func(k vswitch.RuleKey) bool { return listed[k] == nil }) // removed by a reload meanwhile
	denial := func(k vswitch.RuleKey) int {
		if listed[k].Action == policy.Deny {
			return 0
		}
		return 1
	}
	slices.SortFunc(keys, func(a, b vswitch.RuleKey) int {
		return cmp.Or(cmp.Compare(denial(a), denial(b)), cmp.Compare(done[b].Packets, done[a].Packets),
			cmp.Compare(a.Object, b.Object), cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.ID, b.ID))
	})
	out := make([]api.BusyRule, 0, min(n, len(keys)))
	for _, k := range keys[:min(n, len(keys))] {
		r := listed[k]
		out = append(out, api.BusyRule{
			Object: k.Object, ID: k.ID, Direction: k.Direction.String(), Action: r.Action.String(), Words: r.Words(),
			Packets: done[k].Packets, Flows: done[k].Flows,
		})
	}
	return out
}
