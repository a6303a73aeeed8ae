package vswitch_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	vswitch "vswitch/switch"

	"vswitch/internal/wire"
	"vswitch/port"
)

// The number of steps, of which most are frames: in all, unless
// VSWITCH_MODEL_STEPS says otherwise, and on average in one VPC.
const (
	modelSteps  = 20_000
	stepsPerVPC = 250
)

// TestSwitchEqualsModel holds the switch against the model: random VPCs, and in
// each a random sequence of frames, changes, pauses and failing ports. After each
// step the two must agree on what became of the frame, on every byte that came
// out of a port and on every counter, and once in a while on every connection.
// Several switches run in lock-step, with a flow cache and without, with one worker
// and with three.
//
// A failure is shrunk to few steps, printed with the VPC, the last steps, the
// switch's trace and the model's reasoning, and kept in testdata/rapid; what lies
// there is tried first. VSWITCH_MODEL_STEPS sets the number of steps.
func TestSwitchEqualsModel(t *testing.T) {
	steps := modelSteps
	if s := os.Getenv("VSWITCH_MODEL_STEPS"); s != "" {
		var err error
		if steps, err = strconv.Atoi(s); err != nil {
			t.Fatalf("VSWITCH_MODEL_STEPS: %v", err)
		}
	}
	setFlag(t, "rapid.checks", max(1, steps/stepsPerVPC))
	setFlag(t, "rapid.steps", stepsPerVPC)
	seen := &tally{}
	explain := false // from the first failure on, every frame is traced before it is sent
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rapid.Uint64().Draw(rt, "vpc"), seen, explain)
		defer w.close()
		rt.Repeat(map[string]func(*rapid.T){"step": func(rt *rapid.T) {
			w.step(rapid.Uint64().Draw(rt, "step"))
			if w.mismatch != "" {
				explain = true
				rt.Log(w.report())
				rt.Fatalf("the switch and the model differ: %s", w.mismatch)
			}
		}})
	})
	seen.check(t, steps)
}

// setFlag gives a flag of rapid's a value for the duration of the test.
func setFlag(t *testing.T, name string, value int) {
	t.Helper()
	f := flag.Lookup(name)
	before := f.Value.String()
	t.Cleanup(func() {
		if err := f.Value.Set(before); err != nil {
			t.Error(err)
		}
	})
	if err := f.Value.Set(strconv.Itoa(value)); err != nil {
		t.Fatal(err)
	}
}

// A world is one random VPC: the model, the two switches, and what the random
// choices need to know of what happened.
type world struct {
	seeds    *rand.PCG
	r        *rand.Rand // of the present step
	seed     uint64
	again    map[uint64]uint64 // how often a step had the seed
	config   vswitch.Config
	model    *model
	twins    []*twin
	crews    bool // some of the switches have several workers
	talks    []*talk
	relay    *relay      // a packet that an appliance has got and may forward
	parts    []fragments // of datagrams on their way
	now      int64
	swept    bool // the switches have noticed that the clock has gone on
	steps    int
	last     [24]event // a ring
	seen     *tally
	explain  bool
	trace    string
	mismatch string
}

// A twin is one of the switches.
type twin struct {
	name    string
	workers int
	steer   func(frame []byte) uint16 // how its devices choose a worker's queue
	sw      *vswitch.Switch
	ports   map[string]*port.Memory
	seen    map[string]outcomes // by sender, of all Observations
	buf     []byte
}

// An event is what a step did, for people.
type event struct {
	from  string // who sent frame; "" if the step sent none
	frame []byte
	what  string // the verdict on the frame, or what else happened
	at    int64
}

func newWorld(seed uint64, seen *tally, explain bool) *world {
	w := &world{seeds: rand.NewPCG(seed, 0), seed: seed, again: map[uint64]uint64{}, seen: seen, explain: explain, now: int64(time.Hour)}
	w.r = rand.New(w.seeds)
	w.config = w.randomVPC()
	capacity, cache := 1<<12, 1<<10
	if w.one(8) {
		capacity = 12 // of the whole table: T6
	}
	if w.one(4) {
		cache = 4 // flows push each other out
	}
	w.model = newModel(w.now, capacity)
	w.model.apply(w.config)
	w.twins = []*twin{{name: "with a flow cache", workers: 1}, {name: "without a flow cache", workers: 1}}
	// Several workers divide the capacity, and each has the bounds on fragments for
	// itself: worlds in which these matter have one.
	if w.crews = capacity > 12 && w.one(2); w.crews {
		w.twins = append(w.twins, &twin{name: "with three workers", workers: 3, steer: port.SteerFrame},
			&twin{name: "with three workers and frames on any queue, without a flow cache", workers: 3, steer: astray})
	}
	for i, s := range w.twins {
		size := cache
		if i%2 == 1 {
			size = 0
		}
		var err error
		s.sw, err = vswitch.New(w.config, vswitch.WithClock(func() int64 { return w.now }),
			vswitch.WithFlowCache(size), vswitch.WithCapacity(capacity), vswitch.WithWorkers(s.workers))
		if err != nil {
			panic(fmt.Sprintf("%v\n%s", err, printConfig(&w.config)))
		}
		if w.one(2) {
			vswitch.ReadAhead(s.sw)
		}
		s.ports, s.seen, s.buf = map[string]*port.Memory{}, map[string]outcomes{}, make([]byte, wire.MaxFrame)
	}
	w.adopt()
	for _, in := range w.config.Instances {
		w.attach(in.Name)
	}
	w.compare()
	return w
}

func (w *world) close() {
	for _, s := range w.twins {
		if err := s.sw.Close(); err != nil {
			panic(err)
		}
	}
	if err := w.model.tcp.close(); err != nil {
		panic(err)
	}
}

// one returns true once in n times.
func (w *world) one(n int) bool { return w.r.IntN(n) == 0 }

// pick returns one of several at random.
func pick[T any](w *world, of ...T) T { return of[w.r.IntN(len(of))] }

// step does one random thing. Rapid likes small seeds and comes up with the same
// ones again and again, so that they only count together with the VPC's and with
// how often there was the same; but not with the steps before, some of which
// rapid leaves out when it shrinks a failure.
func (w *world) step(seed uint64) {
	w.again[seed]++
	w.seeds.Seed(w.seed^seed<<32^seed>>32, w.again[seed])
	w.steps++
	w.seen.steps++
	switch n := w.r.IntN(100); {
	case n < 5:
		w.change()
	case n < 8:
		w.wait()
	case n < 10:
		w.flap()
	case n < 18:
		w.stray()
	case n < 25:
		w.sendFragment()
	case n < 40 && w.relay != nil:
		w.forward()
	default:
		w.talk()
	}
	if w.steps%32 == 0 && w.mismatch == "" {
		w.compareConnections()
		w.compareObservations()
	}
}

// note remembers what a step did.
func (w *world) note(e event) {
	e.at = w.now
	w.last[w.steps%len(w.last)] = e
}

// send gives both switches and the model a frame, and compares what they make of
// it. It returns false if the port cannot send.
func (w *world) send(from string, b []byte) (verdict, bool) {
	e := w.model.enis[from]
	if e == nil || e.port == nil || e.port.down || e.port.removed {
		w.seen.idle++
		return verdict{}, false
	}
	w.note(event{from: from, frame: b, what: "?"})
	w.trace = ""
	traced := w.one(8) || w.explain
	why := make([]*vswitch.Trace, len(w.twins))
	for i, s := range w.twins {
		if traced {
			var err error
			if why[i], err = s.sw.Trace(from, b); err != nil {
				panic(err)
			}
			w.trace = why[0].String()
			s.observe()
		}
		if !s.ports[from].Send(b) {
			panic("the port of " + from + " does not send")
		}
		if n := s.sw.Step(); n != 1 {
			w.fail("%s, it took in %d frames, not one", s.name, n)
		}
	}
	w.swept = true
	v := w.model.receive(from, b)
	w.model.endDatagrams()
	w.note(event{from: from, frame: b, what: v.String()})
	w.seen.count(v)
	w.compare()
	if traced {
		for i, s := range w.twins {
			w.compareTrace(s, why[i], v, b)
			w.compareRules(s, s.observe(), why[i])
		}
	}
	return v, true
}

// fail notes the first thing in which the switch differs from the model.
func (w *world) fail(format string, args ...any) {
	if w.mismatch == "" {
		w.mismatch = fmt.Sprintf(format, args...)
	}
}
