package vswitch_test

import (
	"testing"

	vswitch "vswitch/switch"
)

// BenchmarkWatch is a frame of a flow that the cache knows, by who is watched. The
// rings are full at once: what is measured is the worker's part, and with "copies"
// one that is read all the time.
func BenchmarkWatch(b *testing.B) {
	for _, c := range []struct {
		name    string
		options *vswitch.WatchOptions
		read    bool
	}{
		{"nobody", nil, false},
		{"another", &vswitch.WatchOptions{Instances: []string{"m1"}}, false},
		{"dropped", &vswitch.WatchOptions{Dropped: true}, false},
		{"filtered", &vswitch.WatchOptions{Instances: []string{"a1"}, Match: func([]byte, int) bool { return false }}, false},
		{"full", &vswitch.WatchOptions{Instances: []string{"a1"}}, false},
		{"copies", &vswitch.WatchOptions{Instances: []string{"a1"}}, true},
	} {
		for _, frame := range []struct{ name, text string }{{"64", segment}, {"superframe", superframe}} {
			b.Run(c.name+"/"+frame.name, func(b *testing.B) {
				sw, ports := benchSwitch(b, 10, 1<<16)
				a := ports["a1"]
				handshake(b, sw, a, ports["b1"], "10.0.1.10:40000", "10.0.2.20:22")
				a.frames = [][]byte{routed(b, sw, "a1", frame.text)}
				if c.options != nil {
					x, err := sw.Watch(*c.options)
					if err != nil {
						b.Fatal(err)
					}
					defer x.Close()
					if c.read {
						ended := make(chan struct{})
						defer func() { x.Close(); <-ended }()
						go func() {
							defer close(ended)
							for {
								_ = x.Read(func(*vswitch.WatchedFrame) error { return nil })
								select {
								case <-x.Done():
									return
								case <-x.Crowded():
								}
							}
						}()
					}
				}
				a.left = b.N
				b.ReportAllocs()
				b.ResetTimer()
				sw.Step()
			})
		}
	}
}
