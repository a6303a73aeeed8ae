package vswitch

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// ID returns the AWS-style id of an object: the kind's prefix and 17
// hexadecimal digits derived from what identifies the object, so that it is the
// same after a restart. kind is "vpc", "subnet", "sg", "sgr", "acl", "eni",
// "i", "pl" or "rtb"; identity is the VPC's name and then the object's.
//
//	ID("sg", "two-tier", "web") == "sg-" + 17 digits
func ID(kind string, identity ...string) string {
	sum := sha256.Sum256([]byte(kind + "\x00" + strings.Join(identity, "\x00")))
	return kind + "-" + hex.EncodeToString(sum[:])[:17]
}
