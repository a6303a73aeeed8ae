package main

import (
	"fmt"
	"strconv"
	"strings"
)

// A service is what a probe asks for, or a test server offers.
type service struct {
	protocol string // tcp, udp or icmp
	port     uint16 // valid iff protocol is tcp or udp
}

// parseService reads "tcp/PORT", "udp/PORT" or "icmp".
func parseService(text string) (service, error) {
	protocol, port, slash := strings.Cut(text, "/")
	if protocol == "icmp" && !slash {
		return service{protocol: "icmp"}, nil
	}
	if protocol != "tcp" && protocol != "udp" || !slash {
		return service{}, usagef("%q: want tcp/PORT, udp/PORT or icmp", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return service{}, usagef("%q: the port must be 1 to 65535", text)
	}
	return service{protocol, uint16(n)}, nil
}

// String returns the service as parseService reads it.
func (s service) String() string {
	if s.protocol == "icmp" {
		return "icmp"
	}
	return fmt.Sprintf("%s/%d", s.protocol, s.port)
}
