package expect

import (
	"fmt"
	"net/netip"

	"vswitch/internal/cover"
	"vswitch/internal/explain"
	vswitch "vswitch/switch"
)

// A pair is two ends between which packets of one family can go.
type pair struct {
	from, to explain.Endpoint
	six      bool
}

// pairs returns all pairs of a test's ends, without an instance and itself, unless
// the test is about nothing else. If there is no pair, the second result says why.
func (e *Evaluator) pairs(t *vswitch.Test) ([]pair, string, error) {
	from, err := e.ends(t.From)
	if err != nil {
		return nil, "", err
	}
	to, err := e.ends(t.To)
	if err != nil {
		return nil, "", err
	}
	var all, inside []pair
	seen := make(map[pair]bool)
	for _, a := range from {
		for _, b := range to {
			for _, six := range []bool{false, true} {
				p := pair{e.addressed(a, six), e.addressed(b, six), six}
				switch {
				case seen[p]:
				case cover.Of(t.Service).Intersect(explain.Judged(six)).Empty(), !p.possible():
				case a.Instance != "" && a.Instance == b.Instance:
					inside = append(inside, p)
				default:
					all = append(all, p)
				}
				seen[p] = true
			}
		}
	}
	if len(all) == 0 {
		all = inside
	}
	if len(all) > 0 {
		return all, "", nil
	}
	return nil, fmt.Sprintf("no packet of %s can go between addresses of these ends", t.Service), nil
}

// possible reports whether both ends have an address of the family.
func (p *pair) possible() bool {
	has := func(e explain.Endpoint) bool { return e.Internet || e.Address.IsValid() && e.Address.Is6() == p.six }
	return has(p.from) && has(p.to) && !(p.from.Internet && p.to.Internet && p.six)
}

// addressed returns an end with an address of the family, if it has one: that of
// an instance named without is its primary one.
func (e *Evaluator) addressed(end explain.Endpoint, six bool) explain.Endpoint {
	if end.Instance == "" || end.Address.IsValid() {
		return end
	}
	in := e.config.Instance(end.Instance)
	end.Address = in.IP
	if six {
		end.Address = in.IP6
	}
	return end
}

// ends returns what one key of a test names. A block stands for the addresses in
// it that instances have; one in which there are none, for its first address.
func (e *Evaluator) ends(texts []string) ([]explain.Endpoint, error) {
	var all []explain.Endpoint
	for _, text := range texts {
		block, err := netip.ParsePrefix(text)
		if err != nil {
			end, err := e.explainer.Endpoint(text)
			if err != nil {
				return nil, err
			}
			all = append(all, end)
			continue
		}
		before := len(all)
		for i := range e.config.Instances {
			in := &e.config.Instances[i]
			for _, a := range append([]netip.Addr{in.IP, in.IP6}, in.ExtraIPs...) {
				if a.IsValid() && block.Contains(a) {
					all = append(all, explain.Endpoint{Instance: in.Name, Address: a})
				}
			}
		}
		if len(all) == before {
			all = append(all, explain.Endpoint{Address: block.Masked().Addr()})
		}
	}
	return all, nil
}
