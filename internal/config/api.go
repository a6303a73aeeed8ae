package config

import (
	"net/netip"

	vswitch "vswitch/switch"
)

// A File is all that one vpc.toml says.
type File struct {
	VPC     vswitch.Config
	API     API
	Machine Machine
}

// API says how the switch that runs the VPC serves its operator, besides the
// control socket. It is no part of the VPC.
type API struct {
	Metrics        netip.AddrPort // where Prometheus metrics are served, a loopback address; the zero AddrPort: nowhere
	vswitch.Origin                // the zero Origin if the file has no [api]
}

// LoadFile is Load for those who run the VPC and need to know how to serve it.
func LoadFile(path string) (File, error) {
	data, err := read(path)
	if err != nil {
		return File{}, err
	}
	return parseFile(path, data)
}

// api decodes [api].
func (d *decoder) api(n *node, value any) API {
	t, ok := d.tableAt(n, value)
	if !ok {
		return API{}
	}
	defer t.done()
	return API{Metrics: single(&t, "metrics", d.loopback), Origin: d.origin(n)}
}

// loopback reads an address and port that only this machine reaches.
func (d *decoder) loopback(n *node, s string) netip.AddrPort {
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		d.errorAt(n, "", `want an address and a port such as "127.0.0.1:9464" or "[::1]:9464", got %q`, s)
	case !a.Addr().IsLoopback() || a.Addr().Is4In6() || a.Addr().Zone() != "":
		d.errorAt(n, "127.0.0.1 and ::1 are", "%s is no loopback address: who asks for metrics is not asked who he is", a.Addr())
	case a.Port() == 0:
		d.errorAt(n, "", "port 0 would be another one at each start")
	default:
		return a
	}
	return netip.AddrPort{}
}
