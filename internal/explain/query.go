package explain

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// A Query asks what would become of a flow that begins now.
type Query struct {
	From, To   Endpoint
	Protocol   policy.Protocol // of a packet: not AllProtocols
	Port       uint16          // destination port; valid iff Protocol.HasPorts()
	Type, Code uint8           // valid iff Protocol.HasTypes()

	// SourcePort is the client's port; 0 stands for any that clients use, 1024 to
	// 65535 (SEM 3.5). Valid iff Protocol.HasPorts().
	SourcePort uint16
}

// An Endpoint is one end of a flow.
type Endpoint struct {
	Instance string     // "" if the address is nobody's
	Address  netip.Addr // the zero Addr means the first of the instance's that is of the other end's family
	Internet bool       // some public address outside the VPC; the other fields are then empty until Explain picks one
}

// Name returns how people call the end: by the instance, as "internet", or by the
// address.
func (e Endpoint) Name() string {
	switch {
	case e.Instance != "":
		return e.Instance
	case e.Internet:
		return internet
	}
	return e.Address.String()
}

const internet = "internet"

// clientPorts are the ports that clients use, over all systems (SEM 3.5).
var clientPorts = policy.Ports{From: 1024, To: 65535}

// Endpoint reads one end: the name, i-... or eni-... of an instance, an address,
// INSTANCE:ADDRESS for one of several, or "internet". Its errors are mistakes of
// whoever wrote the text.
func (x *Explainer) Endpoint(text string) (Endpoint, error) {
	if name, ok := x.instance(text); ok {
		return Endpoint{Instance: name}, nil
	}
	if text == internet {
		return Endpoint{Internet: true}, nil
	}
	before, after, cut := strings.Cut(text, ":")
	name, known := x.instance(before)
	// What is an address as a whole is one, unless it is that of INSTANCE:ADDRESS
	// too: a name may consist of hexadecimal digits.
	if a, err := netip.ParseAddr(text); err == nil {
		if e, err := x.addressOf(name, after); known && cut && err == nil {
			return e, nil
		}
		return x.addressed(a)
	}
	if cut && known {
		return x.addressOf(name, after)
	}
	text = before
	hint := ""
	names := make([]string, 0, len(x.config.Instances)+1)
	for i := range x.config.Instances {
		names = append(names, x.config.Instances[i].Name)
	}
	if near := vswitch.Nearest(text, append(names, internet)); near != "" {
		hint = fmt.Sprintf(" (did you mean %q?)", near)
	}
	return Endpoint{}, fmt.Errorf("no instance %q in VPC %s%s", text, x.config.VPC.Name, hint)
}

// instance returns the name of the instance that text names.
func (x *Explainer) instance(text string) (string, bool) {
	name, ok := x.instances[text]
	return name, ok
}

// addressed returns the end that has an address.
func (x *Explainer) addressed(a netip.Addr) (Endpoint, error) {
	a = a.Unmap()
	if a.Zone() != "" || a.Is6() && a.IsLinkLocalUnicast() {
		return Endpoint{}, fmt.Errorf("%s: a link-local address means another interface on each link; name the instance", a)
	}
	return Endpoint{Instance: x.stage.Owner(a), Address: a}, nil
}

// addressOf returns the end of INSTANCE:ADDRESS.
func (x *Explainer) addressOf(instance, text string) (Endpoint, error) {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s:%s: want INSTANCE:ADDRESS; a port belongs behind the protocol, as in tcp/443", instance, text)
	}
	if a = a.Unmap(); x.stage.Owner(a) != instance {
		face, _ := x.stage.Interface(instance)
		return Endpoint{}, fmt.Errorf("instance %s: it has no address %s, but %s", instance, a, listed(face.Addresses))
	}
	return Endpoint{instance, a, false}, nil
}

// listed returns addresses in words.
func listed(all []netip.Addr) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// Service reads what a flow asks for into q: tcp/443, udp/53, icmp (an echo
// request), icmp/TYPE, icmp/TYPE:CODE, the same with icmpv6, or the number of any
// other protocol. Its errors are mistakes of whoever wrote the text.
func (q *Query) Service(text string) error {
	name, rest, hasRest := strings.Cut(text, "/")
	for _, p := range []policy.Protocol{policy.TCP, policy.UDP, policy.ICMP, policy.ICMPv6} {
		if name == p.String() || name == strconv.Itoa(int(p)) {
			q.Protocol = p
			if p.HasTypes() {
				return q.message(rest, hasRest)
			}
			return q.port(rest)
		}
	}
	n, err := strconv.ParseUint(name, 10, 8)
	switch {
	case name == policy.AllProtocols.String():
		return fmt.Errorf("%q is no packet: ask for one, such as tcp/443, udp/53 or icmp", text)
	case err != nil || n == 0:
		hint := ""
		if near := vswitch.Nearest(name, []string{"tcp", "udp", "icmp", "icmpv6"}); near != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", near)
		}
		return fmt.Errorf("no protocol %q%s: want tcp/PORT, udp/PORT, icmp, icmp/TYPE:CODE, icmpv6, or a number from 1 to 255", name, hint)
	case hasRest:
		return fmt.Errorf("%q: nothing follows the number of a protocol without ports", text)
	}
	q.Protocol = policy.Protocol(n)
	return nil
}

// port reads the destination port.
func (q *Query) port(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case text == "":
		return fmt.Errorf("%s needs a port, as in %s/443", q.Protocol, q.Protocol)
	case err != nil || n == 0:
		return fmt.Errorf("%s/%s: want one port from 1 to 65535", q.Protocol, text)
	}
	q.Port = uint16(n)
	return nil
}

// message reads an ICMP type and code; without one it is an echo request.
func (q *Query) message(text string, given bool) error {
	if !given {
		text = "echo-request"
	}
	typ, code, hasCode := strings.Cut(text, ":")
	if !hasCode {
		typ, code, hasCode = strings.Cut(text, "/") // as a [[test]] writes it
	}
	n, err := strconv.ParseUint(typ, 10, 8)
	if err != nil {
		t, ok := policy.ICMPType(q.Protocol, typ)
		if !ok {
			hint := ""
			if near := vswitch.Nearest(typ, policy.ICMPTypeNames(q.Protocol)); near != "" {
				hint = fmt.Sprintf(" (did you mean %q?)", near)
			}
			return fmt.Errorf("no %s type %q%s: want a name or 0 to 255", q.Protocol, typ, hint)
		}
		n = uint64(t)
	}
	q.Type, q.Code = uint8(n), 0
	if hasCode {
		c, err := strconv.ParseUint(code, 10, 8)
		if err != nil {
			return fmt.Errorf("%s/%s: want a code from 0 to 255", q.Protocol, text)
		}
		q.Code = uint8(c)
	}
	if q.Protocol == policy.ICMPv6 && q.Type >= 133 && q.Type <= 137 {
		return fmt.Errorf("%s %s is neighbor discovery, which the VPC itself answers and no rule ever filters",
			q.Protocol, policy.ICMPTypeName(q.Protocol, int16(q.Type)))
	}
	return nil
}

// resolve returns q with both addresses, of one family.
func (x *Explainer) resolve(q Query) (Query, error) {
	six, four := q.Protocol == policy.ICMPv6, q.Protocol == policy.ICMP
	for _, a := range []netip.Addr{q.From.Address, q.To.Address} {
		six, four = six || a.Is6(), four || a.Is4()
	}
	switch {
	case q.Protocol <= 0 || q.Protocol > 255:
		return q, fmt.Errorf("protocol %d: want that of a packet, 1 to 255", int(q.Protocol))
	case six && four && q.Protocol == policy.ICMP:
		return q, fmt.Errorf("icmp is IPv4: over IPv6 say icmpv6")
	case six && four && q.Protocol == policy.ICMPv6:
		return q, fmt.Errorf("icmpv6 is IPv6: over IPv4 say icmp")
	case six && four:
		return q, fmt.Errorf("%s and %s are of different address families", q.From.Address, q.To.Address)
	case q.SourcePort != 0 && !q.Protocol.HasPorts():
		return q, fmt.Errorf("%s has no ports: a source port means nothing", q.Protocol)
	}
	var err error
	if q.From.Address, err = x.pick(q.From, six); err == nil {
		q.To.Address, err = x.pick(q.To, six)
	}
	return q, err
}

// pick returns the address of an end in one family.
func (x *Explainer) pick(e Endpoint, six bool) (netip.Addr, error) {
	switch {
	case e.Internet:
		return x.Outside(six)
	case e.Address.IsValid():
		return e.Address, nil
	}
	face, ok := x.stage.Interface(e.Instance)
	if !ok {
		return netip.Addr{}, fmt.Errorf("no instance %q in VPC %s", e.Instance, x.config.VPC.Name)
	}
	for _, a := range face.Addresses {
		if a.Is6() == six {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("instance %s: it has no IPv6 address", e.Instance)
}

// Outside returns an address that stands for the internet: outside the VPC, and
// of a block for documentation (RFC 5737, RFC 3849) unless the VPC has taken those.
func (x *Explainer) Outside(six bool) (netip.Addr, error) {
	for n := range 256 {
		candidates := []string{"192.0.2.1", "198.51.100.1", "203.0.113.1", fmt.Sprintf("%d.1.1.1", 1+n%223)}
		if six {
			candidates = []string{"2001:db8:ffff:ffff::1", "3fff::1", fmt.Sprintf("2600:%x::1", n)}
		}
		for _, text := range candidates {
			if a := netip.MustParseAddr(text); !x.inVPC(a) && !a.IsPrivate() && !a.IsLoopback() {
				return a, nil
			}
		}
	}
	return netip.Addr{}, fmt.Errorf("internet: the VPC's blocks leave no public address")
}

// inVPC reports whether an address lies in the VPC's blocks.
func (x *Explainer) inVPC(a netip.Addr) bool {
	v := &x.config.VPC
	for _, block := range append([]netip.Prefix{v.CIDR, v.CIDR6}, v.CIDRs...) {
		if block.Contains(a) {
			return true
		}
	}
	return false
}
