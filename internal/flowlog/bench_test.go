package flowlog

import (
	"fmt"
	"testing"
	"time"

	"vswitch/internal/policy"
	vswitch "vswitch/switch"
)

// BenchmarkRecord takes in what a busy second brings: 10,000 flows that have their
// records already, in memory and in one flow log.
func BenchmarkRecord(b *testing.B) {
	spec := logTo(b)
	k, err := New(configuration(b, spec), noon, func(_ string, err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	observed := make([]vswitch.Observation, 10_000)
	for i := range observed {
		observed[i] = vswitch.Observation{
			From: "a1", To: "b1", Tuple: tuple(b, fmt.Sprintf("10.0.1.10:%d > 10.0.2.20:22 tcp", 10_000+i)), Reason: policy.None,
			Frames: 1, Packets: 1, Bytes: 60, First: noon.Add(time.Second), Last: noon.Add(time.Second),
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		k.Record(noon.Add(time.Second), observed)
	}
	if err := k.Close(b.Context(), noon.Add(time.Second)); err != nil {
		b.Fatal(err)
	}
}
