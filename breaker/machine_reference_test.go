package breaker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reference is the breaker that each instance of the original system had in its request path: call by call, with the
// outcome of each known at once.
type reference struct {
	state     State
	opened    time.Time
	recent    []bool // failed, the last 100 calls
	successes int
}

// allow is asked before each call.
func (r *reference) allow(now time.Time) bool {
	if r.state == Open && now.Sub(r.opened) >= 60*time.Second {
		r.state, r.successes = HalfOpen, 0
	}
	return r.state != Open
}

// record is told of each call's outcome.
func (r *reference) record(now time.Time, failed bool) {
	if r.state == HalfOpen {
		if failed {
			r.state, r.opened = Open, now
		} else if r.successes++; r.successes >= 2 {
			r.state, r.recent = Closed, nil
		}
		return
	}
	r.recent = append(r.recent, failed)
	r.recent = r.recent[max(0, len(r.recent)-100):]
	if r.failures() >= 5 {
		r.state, r.opened = Open, now
	}
}

func (r *reference) failures() (n uint64) {
	for _, failed := range r.recent {
		if failed {
			n++
		}
	}
	return n
}

// Told of one attempt at a time the machine is the original breaker.
func TestMachineAgainstTheOriginal(t *testing.T) {
	closed := 0
	rapid.Check(t, func(t *rapid.T) {
		want, m := &reference{state: Closed}, New(standard(), began, 1)
		now := began
		look := func() {
			m.Observe(Observation{At: now, Generation: 1, Layer1: Layer1{Answer: Looked, Question: m.Question(), Total: 1}})
		}
		// Failures come in spells, so that the breaker opens, closes and stays as it is.
		for range rapid.IntRange(1, 8).Draw(t, "spells") {
			rarely := rapid.SampledFrom([]int{1, 2, 10, 25, 1000}).Draw(t, "rarely")
			for range rapid.IntRange(1, 120).Draw(t, "calls") {
				now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Second, 20 * time.Second, time.Minute}).Draw(t, "pass"))
				m.Tick(now)
				if m.Question() != 0 {
					look()
				}
				before := want.state
				if allowed := want.allow(now); allowed != (m.Permit() != Permit{Limited: true}) {
					t.Fatalf("the original allows a call: %v, permit %+v in %s", allowed, m.Permit(), m.State())
				}
				if want.state != Open {
					failed := rapid.IntRange(1, rarely).Draw(t, "failed") == 1
					want.record(now, failed)
					one := HostResults{Address: "a", Successes: 1}
					if failed {
						one = HostResults{Address: "a", Failures: 1}
					}
					m.Observe(Observation{At: now, Generation: 1, Hosts: []HostResults{one}})
					if m.Question() != 0 {
						look()
					}
				}
				if m.State() != want.state {
					t.Fatalf("%s (%s), the original is %s", m.State(), m.Cause(), want.state)
				}
				if want.state == Closed && m.Counts().Failures != want.failures() {
					t.Fatalf("%d failures, the original has %d", m.Counts().Failures, want.failures())
				}
				if before == HalfOpen && want.state == Closed {
					closed++
				}
			}
		}
	})
	if closed == 0 {
		t.Error("no sequence closed the breaker again")
	}
}
