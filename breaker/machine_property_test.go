package breaker

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/breakwater/breakwater/policy"
)

// call is one call of a machine, so that the same can be made of two.
type call struct {
	name string
	// observation is set if it is one.
	observation *Observation
	do          func(m *Machine) []Transition
}

// caller draws calls as a caller could make them, and some that it should not.
type caller struct {
	at time.Time
	// newest is the generation of the machine.
	newest uint64
	// settings in force.
	settings Settings
}

func settingsOf() *rapid.Generator[Settings] {
	return rapid.Custom(func(t *rapid.T) Settings {
		s := Settings{
			SuccessThreshold:    rapid.Uint32Range(0, 3).Draw(t, "success_threshold"),
			Timeout:             rapid.SampledFrom([]time.Duration{time.Second, 5 * time.Second, time.Minute}).Draw(t, "timeout"),
			WindowSize:          rapid.Uint32Range(1, 30).Draw(t, "window_size"),
			MinRequests:         rapid.Uint32Range(1, 10).Draw(t, "min_requests"),
			SlowMinRequests:     rapid.Uint32Range(1, 10).Draw(t, "slow_call.min_requests"),
			HalfOpenMaxRequests: rapid.Uint32Range(0, 3).Draw(t, "half_open.max_requests"),
			Backoff:             rapid.SampledFrom([]float64{0, 1, 1.5, 100}).Draw(t, "backoff"),
			MaxTimeout:          10 * time.Minute,
			Shadow:              rapid.IntRange(0, 4).Draw(t, "shadow") == 0,
		}
		if rapid.Bool().Draw(t, "count") {
			s.FailureThreshold = policy.Count{N: rapid.Uint32Range(1, 5).Draw(t, "failure_threshold"), Set: true}
		}
		share := rapid.SampledFrom([]float64{0.1, 0.5, 1})
		s.FailureRate = policy.Ratio{Share: share.Draw(t, "failure_rate"), Set: rapid.Bool().Draw(t, "rate")}
		s.SlowRate = policy.Ratio{Share: share.Draw(t, "slow_call.rate"), Set: rapid.Bool().Draw(t, "slow_call")}
		return s
	})
}

func layer1Of(question uint64) *rapid.Generator[Layer1] {
	return rapid.Custom(func(t *rapid.T) Layer1 {
		l := Layer1{Answer: rapid.SampledFrom([]Answer{Looked, Looked, Looked, Unavailable}).Draw(t, "answer")}
		l.Question = rapid.SampledFrom([]uint64{question, question, 0, question / 2, math.MaxUint64}).Draw(t, "question")
		if l.Answer == Looked {
			l.Ejected = rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 0, 3, rapid.ID[string]).Draw(t, "ejected")
			l.Total = rapid.IntRange(len(l.Ejected), 3).Draw(t, "total")
			l.Unhealthy = rapid.IntRange(0, l.Total-len(l.Ejected)).Draw(t, "unhealthy")
		}
		return l
	})
}

// draw draws a call; question is what the machine asks.
func (c *caller) draw(t *rapid.T, question uint64) call {
	c.at = c.at.Add(rapid.OneOf(
		rapid.SampledFrom([]time.Duration{0, 100 * time.Millisecond, time.Second, time.Minute, time.Hour}),
		rapid.Custom(func(t *rapid.T) time.Duration { return -time.Duration(rapid.IntRange(0, 5e9).Draw(t, "back")) }),
	).Draw(t, "pass"))
	at := c.at
	by := Action{Actor: rapid.SampledFrom([]string{"", "alice"}).Draw(t, "actor")}
	observe := func(o Observation) call {
		return call{name: "observe", observation: &o, do: func(m *Machine) []Transition { return m.Observe(o) }}
	}
	o := Observation{At: at, Generation: c.newest}
	if rapid.Bool().Draw(t, "gauge") {
		o.InFlight = Gauge{rapid.Uint64Range(0, 3).Draw(t, "in_flight"), true}
	}
	switch rapid.IntRange(0, 20).Draw(t, "call") {
	case 0:
		order := Order{Action: by}
		if rapid.Bool().Draw(t, "ends") {
			order.Until = at.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "ttl")) * time.Second)
		}
		if rapid.Bool().Draw(t, "force") {
			return call{name: "force open", do: func(m *Machine) []Transition { return m.ForceOpen(at, order) }}
		}
		return call{name: "disable", do: func(m *Machine) []Transition { return m.Disable(at, order) }}
	case 1:
		return call{name: "release", do: func(m *Machine) []Transition { return m.Release(at, by) }}
	case 2:
		c.newest++
		generation := c.newest
		return call{name: "reset", do: func(m *Machine) []Transition { return m.Reset(at, by, generation) }}
	case 3:
		return call{name: "lost", do: func(m *Machine) []Transition { return m.Lost(at, "gone") }}
	case 4:
		return call{name: "seen", do: func(m *Machine) []Transition { return m.Seen(at) }}
	case 5:
		return call{name: "lapse", do: func(m *Machine) []Transition { return m.Lapse(at) }}
	case 6:
		c.settings = settingsOf().Draw(t, "settings")
		s := c.settings
		return call{name: "configure", do: func(m *Machine) []Transition { m.Configure(s); return nil }}
	case 7:
		o.Generation = rapid.Uint64Range(0, c.newest+1).Draw(t, "generation")
		c.newest = max(c.newest, o.Generation)
		o.Hosts = rapid.SliceOfN(resultsOf(), 0, 3).Draw(t, "hosts")
		o.Layer1 = layer1Of(question).Draw(t, "layer1")
		return observe(o)
	case 8, 9, 10:
		return call{name: "tick", do: func(m *Machine) []Transition { return m.Tick(at) }}
	case 11, 12, 13, 14:
		o.Layer1 = layer1Of(question).Draw(t, "layer1")
		return observe(o)
	default:
		o.Hosts = rapid.SliceOfN(resultsOf(), 0, 3).Draw(t, "hosts")
		measured := rapid.Uint64Range(0, 20).Draw(t, "measured")
		o.Slow = SlowCalls{Measured: measured, Slow: rapid.Uint64Range(0, measured+1).Draw(t, "slow")}
		return observe(o)
	}
}

// invariants follows a machine from call to call.
type invariants struct {
	machine *Machine
	// state and at are those of the last transition.
	state State
	at    time.Time
	// ejected is true if the last look since the breaker was last restarted saw every host ejected.
	ejected bool
}

// call makes a call and checks what must hold for it.
func (v *invariants) call(t *rapid.T, c call) []Transition {
	m := v.machine
	before, generation, now, told := serialise(t, m), m.generation, m.now, m.Told()
	out := c.do(m)

	for _, x := range out {
		if x.From != v.state || x.From == x.To || x.Cause == "" || x.At.Before(v.at) {
			t.Fatalf("%s: transition %+v after %s at %s", c.name, x, v.state, v.at)
		}
		v.state, v.at = x.To, x.At
	}
	if v.state != m.State() {
		t.Fatalf("%s: state %s, but the transitions lead to %s", c.name, m.State(), v.state)
	}
	if m.now.Before(now) || m.Since().After(m.now) {
		t.Fatalf("%s: time went from %s to %s, since %s", c.name, now, m.now, m.Since())
	}
	stale := c.observation != nil && c.observation.Generation < generation
	if stale && serialise(t, m) != before {
		t.Fatalf("a stale observation changed\n%s to\n%s", before, serialise(t, m))
	}
	m.window.check(t)
	m.slow.check(t)
	v.permit(t)
	v.halfOpen(t, c, told, stale)
	v.closed(t, c, told, generation, stale)
	return out
}

func (v *invariants) permit(t *rapid.T) {
	m, got := v.machine, v.machine.Permit()
	ok := false
	switch m.Told() {
	case Open, ForcedOpen:
		ok = got == Permit{Limited: true}
	case HalfOpen:
		ok = got.Limited && got.Max >= m.settings.probes() && got.Max <= m.settings.probes()+3
	case Closed, Disabled:
		ok = got == Permit{}
	}
	if !ok {
		t.Fatalf("permit %+v in %s", got, m.Told())
	}
}

// halfOpen: no failure is taken in without opening.
func (v *invariants) halfOpen(t *rapid.T, c call, told State, stale bool) {
	if told != HalfOpen || c.observation == nil || stale || v.machine.settings.Shadow {
		return
	}
	if _, failures := c.observation.results(); failures > 0 && v.machine.Told() != Open {
		t.Fatalf("%d failures in half-open, and then %s", failures, v.machine.Told())
	}
}

// closed: never while every host was last seen to be ejected, unless nothing was seen since the breaker was
// closed by an operator, the end of an order or a lapse.
func (v *invariants) closed(t *rapid.T, c call, told State, generation uint64, stale bool) {
	m := v.machine
	ordered := told == ForcedOpen || told == Disabled
	if c.name == "reset" || m.generation > generation || (ordered && m.Told() == Closed) || (c.name == "lapse" && !ordered) {
		v.ejected = false
	}
	if c.observation != nil && !stale && c.observation.Layer1.Answer != NotAsked {
		l := c.observation.Layer1
		v.ejected = l.Answer == Looked && l.Total > 0 && len(l.Ejected) == l.Total
	}
	if v.ejected && m.Told() == Closed {
		t.Fatalf("%s: closed while every host is ejected", c.name)
	}
}

func serialise(t *rapid.T, m *Machine) string {
	text, err := json.Marshal(m.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func restored(t *rapid.T, m *Machine) *Machine {
	var s Snapshot
	if err := json.Unmarshal([]byte(serialise(t, m)), &s); err != nil {
		t.Fatal(err)
	}
	out, err := Restore(m.settings, s, m.now)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return out
}

func newInvariants(t *rapid.T) (*caller, *invariants) {
	c := &caller{at: began, newest: 1, settings: settingsOf().Draw(t, "settings")}
	return c, &invariants{machine: New(c.settings, began, 1), state: Closed, at: began}
}

func TestMachineInvariants(t *testing.T) {
	visited := map[State]int{}
	rapid.Check(t, func(t *rapid.T) {
		c, v := newInvariants(t)
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			v.call(t, c.draw(t, v.machine.Question()))
			visited[v.machine.State()]++
		}
	})
	for _, s := range []State{Closed, Open, HalfOpen, ForcedOpen, Disabled, Unknown} {
		if visited[s] == 0 {
			t.Errorf("no sequence came to %s", s)
		}
	}
}

// A machine that is restored from a snapshot, at any moment, does from then on what the original does.
func TestMachineRestoredGoesOnTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, v := newInvariants(t)
		twin := restored(t, v.machine)
		for range rapid.IntRange(1, 60).Draw(t, "calls") {
			next := c.draw(t, v.machine.Question())
			want, got := v.call(t, next), next.do(twin)
			if len(want) != len(got) {
				t.Fatalf("%s: %+v, the twin %+v", next.name, want, got)
			}
			for i := range want {
				if want[i].From != got[i].From || want[i].To != got[i].To || want[i].Cause != got[i].Cause || !want[i].At.Equal(got[i].At) {
					t.Fatalf("%s: %+v, the twin %+v", next.name, want[i], got[i])
				}
			}
			if a, b := serialise(t, v.machine), serialise(t, twin); a != b {
				t.Fatalf("%s:\n%s, the twin\n%s", next.name, a, b)
			}
			if m := v.machine; m.State() != twin.State() || m.Permit() != twin.Permit() || m.Counts() != twin.Counts() ||
				!m.Until().Equal(twin.Until()) || !m.Wake().Equal(twin.Wake()) || m.Question() != twin.Question() {
				t.Fatalf("%s: the twin shows another state", next.name)
			}
			if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
				twin = restored(t, twin)
			}
		}
	})
}
