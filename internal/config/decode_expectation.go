package config

import (
	"fmt"
	"strconv"
	"strings"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// test decodes one [[test]].
func (d *decoder) test(t *tableReader) vswitch.Test {
	t.require("port")
	t.require("want")
	return vswitch.Test{
		Name:    t.text("name"),
		From:    t.ends("from"),
		To:      t.ends("to"),
		Service: single(t, "port", d.testService),
		Want:    single(t, "want", d.verdict),
		By:      t.text("by"),
		Origin:  d.origin(t.at),
	}
}

// ends returns one end of a test, a string or a list of strings.
func (t *tableReader) ends(key string) []string {
	if s, ok := t.values[key].(string); ok {
		t.known = append(t.known, key)
		return []string{s}
	}
	if value := t.values[key]; value != nil {
		if _, ok := value.([]any); !ok {
			t.reject(key, "want a string or a list of strings, got %s", typeName(value))
			return nil
		}
	}
	return t.texts(key)
}

// testService reads the service of a test: tcp/8080, tcp/1-65535, icmp,
// icmp/echo-request, icmp/3/4, all, 47.
func (d *decoder) testService(n *node, text string) policy.Service {
	name, rest, hasRest := strings.Cut(text, "/")
	p, ok := d.protocol(n, name)
	if !ok {
		return policy.Service{}
	}
	s := policy.Service{Protocol: p}
	var err error
	switch {
	case p.HasPorts():
		s.Ports = policy.AllPorts
		if hasRest {
			s.Ports, err = parsePorts(rest)
		}
	case p.HasTypes():
		s.Type, s.Code = policy.AnyICMP, policy.AnyICMP
		if hasRest {
			s.Type, s.Code, err = parseTypeCode(p, rest)
		}
	case hasRest:
		err = fmt.Errorf("%q: nothing follows the protocol %s", text, p)
	}
	if err != nil {
		d.errorAt(n, "", "%s", err)
	}
	return s
}

// parseTypeCode reads "echo-request", "8" or "3/4".
func parseTypeCode(p policy.Protocol, text string) (typ, code int16, err error) {
	name, rest, hasCode := strings.Cut(text, "/")
	number, err := strconv.ParseUint(name, 10, 8)
	typ, code = int16(number), policy.AnyICMP
	if err != nil {
		if typ, err = parseICMPType(p, name); err != nil {
			return 0, 0, err
		}
	}
	if hasCode {
		number, err := strconv.ParseUint(rest, 10, 8)
		if err != nil {
			return 0, 0, fmt.Errorf("%q is not an %s code from 0 to 255", rest, p)
		}
		code = int16(number)
	}
	return typ, code, nil
}
