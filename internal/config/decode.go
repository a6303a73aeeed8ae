package config

import (
	"net/netip"

	vswitch "vswitch/switch"
)

// laterTables are the tables that the file format knows and this version does
// not have.
var laterTables = map[string]bool{
	"igw": true, "nat": true, "external": true, "mirror": true, "link": true,
}

// config decodes the whole file.
func (d *decoder) config(root *node, values map[string]any) vswitch.Config {
	var c vswitch.Config
	d.instances, _ = values["instance"].(map[string]any)
	d.subnets, _ = values["subnet"].(map[string]any)
	t := tableReader{d: d, at: root, values: values}
	t.require("vpc")
	if value, n, ok := t.value("vpc"); ok {
		c.VPC = d.vpc(n, value)
	}
	c.Subnets = objects(&t, "subnet", d.subnet)
	c.SecurityGroups = objects(&t, "security_group", d.securityGroup)
	c.NetworkACLs = objects(&t, "nacl", d.networkACL)
	c.PrefixLists = objects(&t, "prefix_list", d.prefixList)
	c.RouteTables = objects(&t, "route", d.routeTable)
	c.Instances = objects(&t, "instance", d.instance)
	if value, n, ok := t.value("conntrack"); ok {
		c.Conntrack = d.conntrack(n, value)
	}
	if value, n, ok := t.value("quotas"); ok {
		c.Quotas = d.quotas(n, value)
	}
	c.FlowLogs = objects(&t, "flow_log", d.flowLog)
	c.Tests = elements(&t, "test", d.test)
	if value, n, ok := t.value("api"); ok {
		d.served = d.api(n, value)
	}
	if value, n, ok := t.value("machine"); ok {
		d.granted = d.machine(n, value)
	}
	for _, n := range root.children {
		if laterTables[n.key] {
			t.reject(n.key, "this version of vswitch does not have it")
		}
	}
	t.done()
	return c
}

// objects decodes the objects of a table of tables, in file order. One that is no
// table stays the zero T but for its name, so that other things may refer to it.
func objects[T any](t *tableReader, key string, decode func(name string, t *tableReader) T) []T {
	value, n, ok := t.value(key)
	if !ok {
		return nil
	}
	outer, ok := t.d.tableAt(n, value)
	if !ok {
		return nil
	}
	out := make([]T, 0, len(n.children))
	for _, c := range n.children {
		inner, ok := t.d.tableAt(c, outer.values[c.key])
		if !ok {
			inner.at = &node{parent: n, key: c.key, at: c.at}
		}
		out = append(out, decode(c.key, &inner))
		inner.done()
	}
	return out
}

// elements decodes the tables of a list, in file order: nil if there is no list,
// and not nil if it is empty. One that is no table is the zero T, so that the
// others keep their numbers.
func elements[T any](t *tableReader, key string, decode func(t *tableReader) T) []T {
	value, n, ok := t.value(key)
	if !ok {
		return nil
	}
	values, ok := value.([]any)
	if tables, isTables := value.([]map[string]any); isTables {
		ok = true
		for _, table := range tables {
			values = append(values, table)
		}
	}
	if !ok {
		t.d.errorAt(n, "", "want a list of tables, got %s", typeName(value))
		return nil
	}
	out := make([]T, len(values))
	for i, v := range values {
		if inner, ok := t.d.tableAt(n.children[i], v); ok {
			out[i] = decode(&inner)
			inner.done()
		}
	}
	return out
}

// vpc decodes [vpc].
func (d *decoder) vpc(n *node, value any) vswitch.VPC {
	t, ok := d.tableAt(n, value)
	if !ok {
		return vswitch.VPC{}
	}
	defer t.done()
	return vswitch.VPC{
		Name:    t.text("name"),
		CIDR:    t.prefix("cidr"),
		CIDRs:   t.prefixes("cidrs"),
		CIDR6:   t.prefix("cidr6"),
		MTU:     t.number("mtu"),
		Account: t.text("account"),
		Region:  t.text("region"),
		Origin:  d.origin(n),
	}
}

// subnet decodes one [subnet.NAME].
func (d *decoder) subnet(name string, t *tableReader) vswitch.Subnet {
	return vswitch.Subnet{
		Name:       name,
		CIDR:       t.prefix("cidr"),
		CIDR6:      t.prefix("cidr6"),
		NetworkACL: t.text("nacl"),
		RouteTable: t.text("route"),
		AZ:         t.text("az"),
		Origin:     d.origin(t.at),
	}
}

// prefixList decodes one [prefix_list.NAME].
func (d *decoder) prefixList(name string, t *tableReader) vswitch.PrefixList {
	return vswitch.PrefixList{Name: name, CIDRs: t.prefixes("cidrs"), Origin: d.origin(t.at)}
}

// routeTable decodes one [route.NAME]: its keys are destinations, and its values
// where they lead.
func (d *decoder) routeTable(name string, t *tableReader) vswitch.RouteTable {
	table := vswitch.RouteTable{Name: name, Origin: d.origin(t.at)}
	for _, n := range t.at.children {
		target := t.text(n.key)
		r := vswitch.Route{Target: vswitch.Target{Kind: vswitch.TargetInstance, Name: target}, Origin: d.origin(n)}
		switch target {
		case "":
			continue
		case "local":
			r.Target = vswitch.Target{Kind: vswitch.TargetLocal}
		case "blackhole":
			r.Target = vswitch.Target{Kind: vswitch.TargetBlackhole}
		}
		destination, err := netip.ParsePrefix(n.key)
		if err != nil {
			d.errorAt(n, "", "want a CIDR block as the destination, got %q", n.key)
			continue
		}
		r.Destination = destination
		table.Routes = append(table.Routes, r)
	}
	return table
}

// instance decodes one [instance.NAME].
func (d *decoder) instance(name string, t *tableReader) vswitch.Instance {
	in := vswitch.Instance{
		Name:                   name,
		Subnet:                 t.text("subnet"),
		IP:                     t.addr("ip"),
		IP6:                    t.addr("ip6"),
		ExtraIPs:               t.addrs("extra_ips"),
		SecurityGroups:         t.texts("sg"),
		Kind:                   vswitch.Kind(t.text("kind")),
		Run:                    t.text("run"),
		Namespace:              t.text("namespace"),
		Interface:              t.text("ifname"),
		DisableSourceDestCheck: !t.boolean("source_dest_check", true),
		Origin:                 d.origin(t.at),
	}
	if value, n, ok := t.value("conntrack"); ok {
		if inner, ok := d.tableAt(n, value); ok {
			in.Conntrack = inner.timeouts()
			inner.done()
		}
	}
	for _, key := range []string{"public_ip", "publish"} {
		t.reject(key, "this version of vswitch does not have it")
	}
	return in
}

// timeouts returns the idle timeouts of a [conntrack] or conntrack = {...}.
func (t *tableReader) timeouts() vswitch.Timeouts {
	return vswitch.Timeouts{
		TCPEstablished: t.duration("tcp_established"),
		UDP:            t.duration("udp"),
		UDPStream:      t.duration("udp_stream"),
	}
}

// conntrack decodes [conntrack].
func (d *decoder) conntrack(n *node, value any) vswitch.Conntrack {
	t, ok := d.tableAt(n, value)
	if !ok {
		return vswitch.Conntrack{}
	}
	defer t.done()
	return vswitch.Conntrack{
		Profile:  t.text("profile"),
		Timeouts: t.timeouts(),
		Strict:   single(&t, "tcp", d.strict),
		Max:      t.number("max"),
		Origin:   d.origin(n),
	}
}

// strict reads how TCP connections may begin.
func (d *decoder) strict(n *node, s string) bool {
	if s != "strict" && s != "loose" {
		d.errorAt(n, didYouMean(s, []string{"loose", "strict"}), "%q is neither loose nor strict", s)
	}
	return s == "strict"
}

// quotas decodes [quotas].
func (d *decoder) quotas(n *node, value any) vswitch.Quotas {
	t, ok := d.tableAt(n, value)
	if !ok {
		return vswitch.Quotas{}
	}
	defer t.done()
	return vswitch.Quotas{
		RulesPerSecurityGroup:      t.number("rules_per_security_group"),
		SecurityGroupsPerInterface: t.number("security_groups_per_interface"),
		RulesPerInterface:          t.number("rules_per_interface"),
		RulesPerNetworkACL:         t.number("rules_per_network_acl"),
		Origin:                     d.origin(n),
	}
}

// locate turns the problems that Validate found into errors, each with the
// position of what it is about. It leaves out what follows from mistakes that
// the decoder reported: a value that could not be read looks missing.
func (d *decoder) locate(root *node, problems []vswitch.Problem) {
	for _, p := range problems {
		if len(p.Path) == 0 {
			d.rest = p.Message
			continue
		}
		n, rest := root.locate(p.Path)
		if d.known(n, rest) {
			continue
		}
		path := n.path()
		if n.shape != scalar {
			for _, key := range rest {
				path = join(path, quoteKey(key))
			}
		}
		d.report(n.at, path, p.Hint, p.Message)
	}
}

// known reports whether a problem with a value, or with what it lacks, follows
// from a mistake that was reported.
func (d *decoder) known(n *node, rest []string) bool {
	if len(rest) > 0 && n.shape == table && d.absent[absence{n, rest[0]}] {
		return true
	}
	if len(rest) == 0 && d.broken[n] {
		return true
	}
	for ; n != nil; n = n.parent {
		if d.bad[n] {
			return true
		}
	}
	return false
}
