package breaker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// standard are the settings of a policy that sets nothing.
func standard() Settings {
	return Settings{
		FailureThreshold: policy.Count{N: 5, Set: true}, SuccessThreshold: 2, Timeout: time.Minute,
		WindowSize: 100, MinRequests: 10, HalfOpenMaxRequests: 1, Backoff: 1, MaxTimeout: 10 * time.Minute,
	}
}

// rig drives one machine, and answers its questions when told to.
type rig struct {
	t   *testing.T
	m   *Machine
	now time.Time
	// log has every transition as "from>to: cause".
	log []string
}

func newRig(t *testing.T, change ...func(*Settings)) *rig {
	t.Helper()
	s := standard()
	for _, c := range change {
		c(&s)
	}
	return &rig{t: t, m: New(s, began, 1), now: began}
}

func (r *rig) took(transitions []Transition) *rig {
	for _, x := range transitions {
		r.log = append(r.log, fmt.Sprintf("%s>%s: %s", x.From, x.To, x.Cause))
	}
	return r
}

func (r *rig) pass(d time.Duration) *rig {
	r.now = r.now.Add(d)
	return r.took(r.m.Tick(r.now))
}

func (r *rig) observe(o Observation) *rig {
	o.At, o.Generation = r.now, r.m.Generation()
	return r.took(r.m.Observe(o))
}

// report reports attempts at host a.
func (r *rig) report(successes, failures uint64) *rig {
	return r.observe(Observation{Hosts: []HostResults{{"a", successes, failures}}})
}

// flying reports attempts at host a and what is in flight.
func (r *rig) flying(inFlight, successes, failures uint64) *rig {
	return r.observe(Observation{Hosts: []HostResults{{"a", successes, failures}}, InFlight: Gauge{inFlight, true}})
}

// look answers the machine's question: of total hosts these are ejected.
func (r *rig) look(total int, ejected ...string) *rig {
	return r.observe(Observation{Layer1: Layer1{Answer: Looked, Question: r.m.Question(), Total: total, Ejected: ejected}})
}

func (r *rig) unavailable() *rig {
	return r.observe(Observation{Layer1: Layer1{Answer: Unavailable, Question: r.m.Question()}})
}

// open opens the breaker by five failures.
func (r *rig) open() *rig {
	r.t.Helper()
	return r.report(0, 5).look(1).is(Open)
}

// halfOpen opens the breaker and lets its timeout pass.
func (r *rig) halfOpen() *rig {
	r.t.Helper()
	return r.open().pass(time.Minute).look(1).is(HalfOpen)
}

func (r *rig) is(want State) *rig {
	r.t.Helper()
	if got := r.m.State(); got != want {
		r.t.Fatalf("state %s, want %s; transitions:\n%s", got, want, strings.Join(r.log, "\n"))
	}
	return r
}

func (r *rig) asks(want bool) *rig {
	r.t.Helper()
	if got := r.m.Question() != 0; got != want {
		r.t.Fatalf("asks layer 1: %v, want %v", got, want)
	}
	return r
}

func (r *rig) permits(want Permit) *rig {
	r.t.Helper()
	if got := r.m.Permit(); got != want {
		r.t.Fatalf("permit %+v, want %+v", got, want)
	}
	return r
}

func (r *rig) told(want ...string) {
	r.t.Helper()
	if !slices.Equal(r.log, want) {
		r.t.Fatalf("transitions:\n%s\nwant:\n%s", strings.Join(r.log, "\n"), strings.Join(want, "\n"))
	}
}

func rateOnly(s *Settings) {
	s.FailureThreshold = policy.Count{}
	s.FailureRate, s.MinRequests = policy.Ratio{Share: 0.5, Set: true}, 10
}

func TestMachineClosed(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Settings)
		run    func(r *rig)
		want   []string
	}{
		{"under the threshold", nil, func(r *rig) { r.report(95, 4).look(3) }, nil},
		{"no failure needs no look", nil, func(r *rig) { r.report(1000, 0).asks(false) }, nil},
		{"any failure needs one", nil, func(r *rig) { r.report(10, 1).asks(true).look(1).asks(false) }, nil},
		{"no verdict before the answer", nil, func(r *rig) { r.report(0, 50).report(50, 0).pass(time.Hour).asks(true) }, nil},
		{
			"the threshold", nil, func(r *rig) { r.report(32, 4).look(3).report(0, 1).look(3) },
			[]string{"closed>open: 5 of the last 37 attempts failed"},
		},
		{
			"the threshold, unseen", nil, func(r *rig) { r.report(32, 5).unavailable() },
			[]string{"closed>open: 5 of the last 37 attempts failed (layer 1 could not be asked)"},
		},
		{"failures that left the window", nil, func(r *rig) { r.report(0, 4).look(3).report(99, 0).report(0, 4).look(3) }, nil},
		{
			"all hosts ejected", nil, func(r *rig) { r.report(0, 1).look(2, "a", "b") },
			[]string{"closed>open: 2 of 2 hosts ejected after 5 consecutive failures"},
		},
		{
			"all hosts ejected, seen unasked", nil, func(r *rig) { r.look(1, "a") },
			[]string{"closed>open: 1 of 1 host ejected after 5 consecutive failures"},
		},
		{"no host healthy is the health check's business", nil, func(r *rig) {
			r.observe(Observation{Layer1: Layer1{Answer: Looked, Total: 2, Unhealthy: 1, Ejected: []string{"a"}}})
			r.observe(Observation{Layer1: Layer1{Answer: Looked, Total: 2, Unhealthy: 2}})
		}, nil},
		{"no hosts at all", nil, func(r *rig) { r.look(0) }, nil},
		{"one bad host of three", nil, func(r *rig) {
			for range 20 {
				r.report(10, 4).look(3, "a").pass(time.Second)
			}
		}, nil},
		{"its old failures do not return with it", nil, func(r *rig) {
			r.report(0, 4).look(3).report(0, 4).look(3, "a").pass(time.Minute).report(0, 4).look(3)
		}, nil},
		{"the others' failures remain", nil, func(r *rig) {
			r.observe(Observation{Hosts: []HostResults{{"a", 0, 5}, {"b", 3, 4}}}).look(3, "a").is(Closed)
			r.observe(Observation{Hosts: []HostResults{{"b", 2, 1}}}).look(3, "a")
		}, []string{"closed>open: 5 of the last 10 attempts failed"}},
		{"failures of no known host are never taken out", nil, func(r *rig) {
			r.observe(Observation{Hosts: []HostResults{{"", 0, 5}}}).look(2, "")
		}, []string{"closed>open: 5 of the last 5 attempts failed"}},
		{
			"the rate", rateOnly, func(r *rig) { r.report(4, 5).look(1).is(Closed).report(1, 0) },
			[]string{"closed>open: 5 of the last 10 attempts failed: failure_rate is 50%"},
		},
		{"under the rate", rateOnly, func(r *rig) { r.report(6, 5).look(1) }, nil},
		{"the rate with too few attempts", rateOnly, func(r *rig) { r.report(0, 9).look(1) }, nil},
		{
			"a rate that is no binary fraction", func(s *Settings) { rateOnly(s); s.FailureRate.Share = 0.07 },
			func(r *rig) { r.report(93, 7).look(1) },
			[]string{"closed>open: 7 of the last 100 attempts failed: failure_rate is 7%"},
		},
		{"slow attempts", slowHalf, func(r *rig) {
			r.observe(Observation{Slow: SlowCalls{Measured: 3, Slow: 3}}).is(Closed)
			r.observe(Observation{Slow: SlowCalls{Measured: 1}})
		}, []string{"closed>open: 3 of the last 4 attempts were slow: slow_call.rate is 50%"}},
		{"slow attempts under the rate", slowHalf, func(r *rig) { r.observe(Observation{Slow: SlowCalls{Measured: 20, Slow: 9}}) }, nil},
		{
			"slow attempts that nobody asked for", nil,
			func(r *rig) { r.observe(Observation{Slow: SlowCalls{Measured: 100, Slow: 100}}) }, nil,
		},
		{
			"every criterion off", func(s *Settings) { s.FailureThreshold = policy.Count{} },
			func(r *rig) { r.report(0, 1000).look(1) }, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			if tt.change != nil {
				r = newRig(t, tt.change)
			}
			r.permits(Permit{})
			tt.run(r)
			r.told(tt.want...)
		})
	}
}

// An answer judges what was reported before it was asked for, and no more.
func TestMachineAnswersJudgeWhatWasAsked(t *testing.T) {
	r := newRig(t)
	answer := func(question uint64, ejected ...string) {
		r.observe(Observation{Layer1: Layer1{Answer: Looked, Question: question, Total: 3, Ejected: ejected}})
	}
	r.report(0, 1)
	first := r.m.Question()
	r.report(0, 5) // host a is ejected after these, which the first look can not have seen
	answer(first)
	r.is(Closed).asks(true)
	answer(0)
	r.is(Closed).asks(true)
	answer(r.m.Question(), "a")
	r.is(Closed).asks(false)

	// Looks that are slower than the reports still come to a verdict.
	r = newRig(t)
	for range 5 {
		r.report(0, 1)
	}
	behind := r.m.Question()
	r.report(0, 1)
	answer(behind)
	r.told("closed>open: 5 of the last 6 attempts failed")
}

// Failures that were judged stay judged, whatever looks come later.
func TestMachineJudgedStaysJudged(t *testing.T) {
	r := newRig(t, rateOnly).report(4, 5).look(1)
	r.observe(Observation{Layer1: Layer1{Answer: Looked, Total: 1}}).is(Closed)
	r.report(1, 0).is(Open)
}

func TestMachineRotation(t *testing.T) {
	r := newRig(t).look(3, "a")
	want := Rotation{Known: true, Ejected: 1, Total: 3}
	wants := func(want Rotation) {
		t.Helper()
		if got := r.m.Rotation(); got != want {
			t.Fatalf("rotation %+v, want %+v", got, want)
		}
	}
	wants(want)
	r.unavailable()
	wants(Rotation{})
	r.look(3, "a").took(r.m.Reset(r.now, alice, 0))
	wants(Rotation{})
	r.look(3, "a").report(1, 0)
	wants(want)
	r.took(r.m.Observe(Observation{At: r.now, Generation: r.m.Generation() + 1}))
	wants(Rotation{})
}

func slowHalf(s *Settings) { s.SlowRate, s.SlowMinRequests = policy.Ratio{Share: 0.5, Set: true}, 4 }

func TestMachineSlowWindowEmpties(t *testing.T) {
	slow := func(slow uint64) Observation { return Observation{Slow: SlowCalls{Measured: 4, Slow: slow}} }
	r := newRig(t, slowHalf).observe(slow(2)).is(Open).pass(time.Minute).look(1).report(2, 0).is(Closed)
	if c := r.m.Counts(); c.Measured != 0 || c.Slow != 0 {
		t.Fatalf("counts %+v", c)
	}
	r.observe(slow(1))
	off := r.m.settings
	off.SlowRate = policy.Ratio{}
	on := r.m.settings
	r.m.Configure(off)
	r.m.Configure(on)
	r.observe(Observation{Slow: SlowCalls{Measured: 4, Slow: 1}}).is(Closed)
	if c := r.m.Counts(); c.Measured != 4 || c.Slow != 1 {
		t.Fatalf("counts %+v", c)
	}
}

// A question that a state asked does not outlive it.
func TestMachineQuestionsEndWithTheirState(t *testing.T) {
	r := newRig(t, slowHalf)
	r.observe(Observation{Hosts: []HostResults{{"a", 3, 1}}, Slow: SlowCalls{Measured: 4, Slow: 4}}).is(Open).asks(false)
	r = newRig(t).report(0, 1).asks(true)
	r.took(r.m.Reset(r.now, alice, 0)).asks(false)
}

func TestMachineOpen(t *testing.T) {
	r := newRig(t).open().permits(Permit{Limited: true})
	if want := began.Add(time.Minute); !r.m.Until().Equal(want) || !r.m.Wake().Equal(want) {
		t.Fatalf("until %s, wake %s, want %s", r.m.Until(), r.m.Wake(), want)
	}
	r.report(1000, 0).report(0, 1000).look(1).is(Open)
	if c := r.m.Counts(); c != (Counts{Attempts: 5, Failures: 5, TotalAttempts: 2005, TotalFailures: 1005}) {
		t.Fatalf("counts %+v", c)
	}
	r.pass(time.Minute - time.Nanosecond).asks(false).look(1).is(Open)

	// It asks for a host in rotation until it is told of one.
	r.pass(time.Nanosecond).asks(true).is(Open)
	r.look(1, "a").asks(false).is(Open)
	if want := r.now.Add(lookAgain); !r.m.Wake().Equal(want) {
		t.Fatalf("wake %s, want %s", r.m.Wake(), want)
	}
	r.pass(lookAgain).asks(true).look(0).is(Open)
	r.pass(lookAgain).asks(true).look(2, "a").is(HalfOpen).asks(false).permits(Permit{Limited: true, Max: 1})
	r.told("closed>open: 5 of the last 5 attempts failed", "open>half_open: it was open for its timeout of 1m0s")
}

// A health check that un-ejects ends what ejections have opened, and nothing else; over a restart too.
func TestMachineUnejects(t *testing.T) {
	unejects := func(s *Settings) { s.Unejects = true }
	r := newRig(t, unejects).look(1, "a").is(Open).look(1, "a").is(Open).reborn(0).look(1).is(HalfOpen)
	r.look(1, "a").is(Open).look(1).is(HalfOpen)
	r.told("open>half_open: a host has passed its health check",
		"half_open>open: 1 of 1 host ejected after 5 consecutive failures", "open>half_open: a host has passed its health check")
	newRig(t, unejects).open().look(1).is(Open)
	newRig(t).look(1, "a").look(1).is(Open)
}

// Without layer 1 an open breaker ends all the same.
func TestMachineOpenUnavailable(t *testing.T) {
	r := newRig(t).open().unavailable().is(Open).pass(time.Minute).unavailable().is(HalfOpen)
	r.told("closed>open: 5 of the last 5 attempts failed",
		"open>half_open: it was open for its timeout of 1m0s (layer 1 could not be asked)")
}

func TestMachineConfigure(t *testing.T) {
	r := newRig(t).report(50, 0).report(0, 4).look(1)
	s := standard()
	s.WindowSize = 10
	r.m.Configure(s)
	if c := r.m.Counts(); c.Attempts != 10 || c.Failures != 4 {
		t.Fatalf("counts %+v", c)
	}
	s.WindowSize, s.FailureThreshold.N = 100, 3
	r.m.Configure(s)
	r.is(Closed).report(1, 0).told("closed>open: 4 of the last 11 attempts failed")

	s.Timeout = time.Second
	r.m.Configure(s)
	r.pass(time.Second).asks(true)
	s.Timeout = time.Hour // while the question is under way
	r.m.Configure(s)
	r.look(1).is(Open).asks(false).pass(time.Minute).asks(false)
	s.Timeout = time.Minute
	r.m.Configure(s)
	r.pass(0).asks(true).look(1).is(HalfOpen)
	s.SuccessThreshold = 1
	r.m.Configure(s)
	r.is(HalfOpen).report(1, 0).is(Closed)
}

func TestSettingsOf(t *testing.T) {
	svc := &policy.Service{Breaker: policy.Breaker{
		FailureThreshold: policy.Count{N: 3, Set: true}, SuccessThreshold: 4, Timeout: 5 * time.Second, WindowSize: 60,
		FailureRate: policy.Ratio{Share: 0.7, Set: true}, MinRequests: 8, HalfOpenMaxRequests: 9, Backoff: 1.5,
		MaxTimeout: time.Minute, Shadow: true,
	}}
	want := Settings{
		FailureThreshold: policy.Count{N: 3, Set: true}, SuccessThreshold: 4, Timeout: 5 * time.Second, WindowSize: 60,
		FailureRate: policy.Ratio{Share: 0.7, Set: true}, MinRequests: 8, HalfOpenMaxRequests: 9, Backoff: 1.5,
		MaxTimeout: time.Minute, Shadow: true,
	}
	if got := SettingsOf(svc); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	svc.Breaker.SlowCall = &policy.SlowCall{Duration: time.Second, Rate: 0.2, MinRequests: 11}
	want.SlowRate, want.SlowMinRequests = policy.Ratio{Share: 0.2, Set: true}, 11
	if got := SettingsOf(svc); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
