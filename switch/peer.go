package vswitch

import "net/netip"

// PeerBlocks returns the blocks that the peer of a rule stands for. A security
// group stands for no blocks, but for its members (SEM 1.4). c must be completed,
// and the peer be one of c's.
func (c *Config) PeerBlocks(p Peer) []netip.Prefix {
	if p.Kind == PeerSecurityGroup {
		return nil
	}
	return peerPrefixes(c, p)
}
