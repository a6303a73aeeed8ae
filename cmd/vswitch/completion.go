package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"vswitch/internal/config"
	vswitch "vswitch/switch"
)

// registerCompletion adds the values of the global flags to the completion that
// cobra brings for bash, zsh, fish and PowerShell.
func registerCompletion(c *cli, root *cobra.Command) {
	formats := func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return strings.Fields(cmd.Annotations[formatsKey]), cobra.ShellCompDirectiveNoFileComp
	}
	files := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"toml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	for flag, complete := range map[string]cobra.CompletionFunc{"output": formats, "file": files, "vpc": c.completeVPC} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic("unreachable: the flag " + flag + " has no completion: " + err.Error())
		}
	}
}

// completeVPC lists the VPCs that run here.
func (c *cli) completeVPC(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	all, err := stateDirs(c.root)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.vpc
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeInstance lists the instances, for a first argument that is one.
func (c *cli) completeInstance(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return c.instanceNames()
}

// completeInstances lists the instances, for arguments that are all instances.
func (c *cli) completeInstances(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	names, directive := c.instanceNames()
	return slices.DeleteFunc(names, func(text string) bool {
		name, _, _ := strings.Cut(text, "\t")
		return slices.Contains(args, name)
	}), directive
}

// completeProbe lists the instances for the ends of a probe, and the protocols
// for its service.
func (c *cli) completeProbe(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0, 1:
		return c.instanceNames()
	case 2:
		return []string{"tcp/", "udp/", "icmp"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeRuleObject lists what has rules: the security groups and network ACLs of
// the file that the VPC was built from, or is to be.
func (c *cli) completeRuleObject(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cfg, err := c.meant()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for i := range cfg.SecurityGroups {
		names = append(names, "sg:"+cfg.SecurityGroups[i].Name)
	}
	for i := range cfg.NetworkACLs {
		names = append(names, "nacl:"+cfg.NetworkACLs[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// meant returns the completed configuration of the file that this invocation's VPC
// was built from, or of the file that it names.
func (c *cli) meant() (vswitch.Config, error) {
	path := c.givenFile()
	if _, r, err := c.known(); err == nil {
		path = r.File
	}
	cfg, err := config.Load(path)
	if err != nil {
		return vswitch.Config{}, err
	}
	return vswitch.Complete(cfg, nil)
}

// instanceNames lists the instances of the VPC that runs or, if none does, of the
// file.
func (c *cli) instanceNames() ([]string, cobra.ShellCompDirective) {
	_, r, err := c.known()
	if err != nil {
		return c.fileInstanceNames()
	}
	names := make([]string, len(r.Instances))
	for i, in := range r.Instances {
		names[i] = in.Name + "\t" + in.IP
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
