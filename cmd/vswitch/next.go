package main

import (
	"fmt"
	"strings"

	"vswitch/internal/api"
	vswitch "vswitch/switch"
)

// next suggests commands for a lab that is up: those that say what its file means,
// where there is something to say, or else those that look into it.
func next(cfg *vswitch.Config, s *api.Status) string {
	var words []string
	if len(cfg.Tests) > 0 {
		words = append(words, "vswitch test")
	}
	if flow := sampleFlow(cfg); flow != "" {
		words = append(words, "vswitch explain "+flow)
	}
	if len(words) > 0 {
		return "next: " + strings.Join(words, " · ")
	}
	words = append(words, "vswitch status")
	if n := len(s.Instances); n > 0 {
		words = append(words, "vswitch exec "+s.Instances[0].Name+" -- sh")
		if n > 1 {
			words = append(words, "vswitch ping "+s.Instances[0].Name+" "+s.Instances[1].Name)
		}
	}
	return "next: " + strings.Join(words, " · ")
}

// sampleFlow returns arguments for explain that mean something in a configuration,
// "web1 db1 tcp/5432": from the first instance to the last one for whose ports there
// is a rule. It returns "" if there is none.
func sampleFlow(cfg *vswitch.Config) string {
	for i := len(cfg.Instances) - 1; i > 0; i-- {
		in := &cfg.Instances[i]
		for _, name := range in.SecurityGroups {
			group := cfg.SecurityGroup(name)
			if group == nil {
				continue
			}
			for _, r := range group.Ingress {
				if p := r.Service.Protocol; p.HasPorts() && r.Service.Ports.From > 0 {
					return fmt.Sprintf("%s %s %s/%d", cfg.Instances[0].Name, in.Name, p, r.Service.Ports.From)
				}
			}
		}
	}
	return ""
}
