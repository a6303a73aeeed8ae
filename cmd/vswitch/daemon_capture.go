package main

import (
	"context"
	"errors"
	"io"

	"vswitch/internal/api"
	"vswitch/internal/capture"
	vswitch "vswitch/switch"
)

// Capture streams frames, for the API.
func (d *daemon) Capture(ctx context.Context, r api.CaptureRequest, w io.Writer) error {
	x, filter, err := d.watchFrames(r)
	if err != nil {
		return err
	}
	d.log.Info("capture began", "instances", r.Instances, "filter", r.Filter, "dropped", r.Dropped)
	err = capture.Write(ctx, w, x, capture.Options{
		Application: "vswitch " + buildVersion().Version,
		Filter:      filter.String(), Snap: r.Snap, Segments: r.Segments, Count: r.Count,
	})
	n := lost(x)
	d.log.Info("capture ended", "lost", n, "error", err)
	if n > 0 {
		d.tellLostFrames(r.Instances, n)
	}
	return err
}

// lost returns how many frames a capture has lost.
func lost(x *vswitch.Watch) (n uint64) {
	for _, p := range x.Ports() {
		n += p.Lost()
	}
	return n
}

// watchFrames begins what a request asks for.
func (d *daemon) watchFrames(r api.CaptureRequest) (*vswitch.Watch, *capture.Filter, error) {
	d.life.RLock()
	defer d.life.RUnlock()
	if d.stopped {
		return nil, nil, errStopping(d.state.vpc)
	}
	cfg := d.sw.Config()
	record := newRecord(&cfg, d.file)
	o := vswitch.WatchOptions{Dropped: r.Dropped, Snap: r.Snap}
	if r.Segments {
		o.Snap = 0 // a superframe must be whole to be cut
	}
	for _, name := range r.Instances {
		in, err := record.instance(name)
		if err != nil {
			return nil, nil, &api.Error{Kind: api.KindNotFound, Message: err.Error()}
		}
		o.Instances = append(o.Instances, in.Name)
	}
	filter, err := capture.ParseFilter(r.Filter, capture.NamesOf(&cfg))
	if err != nil {
		return nil, nil, &api.Error{Kind: api.KindUsage, Message: err.Error()}
	}
	if filter.String() != "" {
		o.Match = filter.Match
	}
	x, err := d.sw.Watch(o)
	if errors.Is(err, vswitch.ErrWatches) {
		return nil, nil, &api.Error{Kind: api.KindBusy, Message: "VPC " + d.state.vpc + ": " + err.Error()}
	}
	return x, filter, err
}
