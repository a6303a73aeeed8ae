package vswitch

import (
	"crypto/sha256"
	"encoding/hex"
)

// ID returns the AWS-style id of an object: the kind's prefix and 17
// hexadecimal digits derived from what identifies the object, so that it is the
// same after a restart. kind is "vpc", "subnet", "sg", "sgr", "acl", "eni",
// "i", "pl", "rtb" or "fl"; identity is the VPC's name and then the object's.
//
//	ID("sg", "two-tier", "web") == "sg-" + 17 digits
func ID(kind string, identity ...string) string {
	b := make([]byte, 0, 128)
	b = append(b, kind...)
	for _, part := range identity {
		b = append(append(b, 0), part...)
	}
	sum := sha256.Sum256(b)
	b = append(append(b[:0], kind...), '-')
	b = hex.AppendEncode(b, sum[:9])
	return string(b[:len(kind)+1+17])
}

// IDs returns the ids of the objects of c by their tables in vpc.toml:
// "subnet.public", "security_group.web", "instance.web1". Those of rules are in
// the rules themselves, that of an instance's interface in its Interface.
func (c *Config) IDs() map[string]string {
	ids := map[string]string{"vpc": ID("vpc", c.VPC.Name)}
	add := func(table, kind, name string) { ids[table+"."+name] = ID(kind, c.VPC.Name, name) }
	for i := range c.Subnets {
		add("subnet", "subnet", c.Subnets[i].Name)
	}
	for i := range c.SecurityGroups {
		add("security_group", "sg", c.SecurityGroups[i].Name)
	}
	for i := range c.NetworkACLs {
		add("nacl", "acl", c.NetworkACLs[i].Name)
	}
	for i := range c.PrefixLists {
		add("prefix_list", "pl", c.PrefixLists[i].Name)
	}
	for i := range c.RouteTables {
		add("route", "rtb", c.RouteTables[i].Name)
	}
	for i := range c.Instances {
		add("instance", "i", c.Instances[i].Name)
	}
	for i := range c.FlowLogs {
		add("flow_log", "fl", c.FlowLogs[i].Name)
	}
	return ids
}
