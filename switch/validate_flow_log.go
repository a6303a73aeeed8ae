package vswitch

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// maxFlowLogs is AWS's limit for one resource (SEM 6.1); here it holds for the
// whole VPC.
const maxFlowLogs = 250

// The forms of what identifies a VPC's owner and place.
var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	azForm      = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*-az[0-9]{1,2}$`)
)

// checkForm checks a value that may be left out.
func (v *validator) checkForm(path []string, value string, form *regexp.Regexp, example string) {
	if value != "" && !form.MatchString(value) {
		v.problem(path, "%q is not of the form %q", value, example)
	}
}

// checkFlowLogs checks every flow log, and that no two write to one file.
func (v *validator) checkFlowLogs() {
	seen := make(map[string]string, len(v.c.FlowLogs))
	files := make(map[string]string, len(v.c.FlowLogs))
	for i := range v.c.FlowLogs {
		l := &v.c.FlowLogs[i]
		at := place{table: "flow_log", name: l.Name}
		v.checkName(at.path(), l.Name)
		v.unique(seen, at.path(), l.Name, l.Name)
		if i == maxFlowLogs {
			v.problem(at.path(), "more than %d flow logs; AWS allows no more for a VPC", maxFlowLogs)
		}
		v.checkScope(at, l)
		v.checkFlowLogFormat(at, l.Format)
		switch l.Traffic {
		case "", TrafficAll, TrafficAccept, TrafficReject:
		default:
			v.problem(at.path("traffic"), "no traffic type %q: want %q, %q or %q", l.Traffic, TrafficAll, TrafficAccept, TrafficReject)
			v.hintNearest(string(l.Traffic), []string{string(TrafficAll), string(TrafficAccept), string(TrafficReject)})
		}
		if l.Interval != 0 && l.Interval != ShortInterval && l.Interval != LongInterval {
			v.problem(at.path("interval"), "%s: AWS aggregates over 60s or 600s", l.Interval)
		}
		if l.RotateSize < 0 || l.RotateSize > maxRotateSize {
			v.problem(at.path("rotate_mib"), "%d is outside 1-%d", l.RotateSize, maxRotateSize)
		}
		if l.Keep < 0 || l.Keep > maxKeep {
			v.problem(at.path("keep"), "%d is outside 1-%d", l.Keep, maxKeep)
		}
		v.checkFlowLogFile(at, l, files)
	}
}

// checkScope checks what a flow log is about: "vpc", subnets and instances.
func (v *validator) checkScope(at place, l *FlowLog) {
	if l.Scope != nil && len(l.Scope) == 0 {
		v.problem(at.path("scope"), "empty: want %q, subnets or instances", ScopeVPC)
	}
	for i, name := range l.Scope {
		path := at.path("scope", nth(i))
		switch subnet, instance := v.subnets.has(name), v.instances.has(name); {
		case name == ScopeVPC:
		case subnet && instance:
			v.problem(path, "%q is a subnet and an instance; rename one of them", name)
		case !subnet && !instance:
			v.problem(path, "no subnet and no instance %q", name)
			if !v.hintNearest(name, v.instances.order) && !v.hintNearest(name, v.subnets.order) {
				v.hintNearest(name, []string{ScopeVPC})
			}
		}
	}
}

// checkFlowLogFormat checks the fields of a format.
func (v *validator) checkFlowLogFormat(at place, names []string) {
	if names != nil && len(names) == 0 {
		v.problem(at.path("format"), "the format has no field")
	}
	for i := range names {
		if message, hint := badField(names, i); message != "" {
			v.problem(at.path("format", nth(i)), "%s", message)
			if hint != "" {
				v.hint("%s", hint)
			}
		}
	}
}

// checkFlowLogFile checks where a flow log is written. files holds the names taken
// so far, those of rotated files included.
func (v *validator) checkFlowLogFile(at place, l *FlowLog, files map[string]string) {
	switch {
	case l.File == "":
		v.required(at.path("file"))
		return
	case hasControl(l.File) || strings.HasSuffix(l.File, "/"):
		v.problem(at.path("file"), "%q is no name of a file", l.File)
		return
	}
	file := filepath.Clean(l.File)
	keep := l.Keep
	fill(&keep, defaultKeep)
	for n := range min(max(keep, 0), maxKeep) + 1 {
		name := file
		if n > 0 {
			name = fmt.Sprintf("%s.%d", file, n)
		}
		if other, ok := files[name]; ok && other != l.Name {
			v.problem(at.path("file"), "%q is written by flow log %q", name, other)
			return
		}
		files[name] = l.Name
	}
}

// completeFlowLogs fills in what flow logs leave out, and resolves their files
// against the folder of the configuration's.
func (c *Config) completeFlowLogs() {
	for i := range c.FlowLogs {
		l := &c.FlowLogs[i]
		if l.Scope == nil {
			l.Scope = []string{ScopeVPC}
		}
		if l.Format == nil {
			l.Format = DefaultFlowLogFormat()
		}
		fill(&l.Traffic, TrafficAll)
		fill(&l.Interval, ShortInterval)
		fill(&l.RotateSize, defaultRotateSize)
		fill(&l.Keep, defaultKeep)
		if !filepath.IsAbs(l.File) && filepath.IsAbs(l.Origin.File) {
			l.File = filepath.Join(filepath.Dir(l.Origin.File), l.File)
		}
	}
}
