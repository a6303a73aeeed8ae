package config

import vswitch "vswitch/switch"

// flowLog decodes one [flow_log.NAME].
func (d *decoder) flowLog(name string, t *tableReader) vswitch.FlowLog {
	return vswitch.FlowLog{
		Name:       name,
		Scope:      t.ends("scope"),
		Traffic:    vswitch.Traffic(t.text("traffic")),
		Format:     t.flowLogFormat("format"),
		File:       t.text("file"),
		Interval:   t.duration("interval"),
		Header:     t.boolean("header", false),
		RotateSize: t.number("rotate_mib"),
		Keep:       t.number("keep"),
		Origin:     d.origin(t.at),
	}
}

// flowLogFormat returns the fields of a format: a text as AWS writes it, or a list
// of names.
func (t *tableReader) flowLogFormat(key string) []string {
	text, ok := t.values[key].(string)
	if !ok {
		return t.ends(key) // a list, or a mistake
	}
	_, n, _ := t.value(key)
	fields, err := vswitch.ParseFlowLogFormat(text)
	if err != nil {
		t.d.errorAt(n, "", "%s", err)
	}
	return fields
}
