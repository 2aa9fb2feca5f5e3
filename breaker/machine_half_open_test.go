package breaker

import (
	"testing"
	"time"
)

func TestMachineHalfOpen(t *testing.T) {
	const opened, tried = "closed>open: 5 of the last 5 attempts failed", "open>half_open: it was open for its timeout of 1m0s"
	t.Run("successes close, with an empty window", func(t *testing.T) {
		r := newRig(t).halfOpen().report(1, 0).is(HalfOpen)
		if c := r.m.Counts(); c.Successes != 1 {
			t.Fatalf("counts %+v", c)
		}
		r.report(1, 0).is(Closed).permits(Permit{}).report(0, 4).look(1).is(Closed)
		r.told(opened, tried, "half_open>closed: 2 of 2 attempts in half-open succeeded")
	})
	t.Run("a failure opens", func(t *testing.T) {
		newRig(t).halfOpen().report(1, 0).report(0, 1).told(opened, tried, "half_open>open: 1 of 2 attempts in half-open failed")
	})
	t.Run("a failure among successes opens", func(t *testing.T) {
		newRig(t).halfOpen().report(50, 1).told(opened, tried, "half_open>open: 1 of 51 attempts in half-open failed")
	})
	t.Run("layer 1 opens", func(t *testing.T) {
		newRig(t).halfOpen().look(1, "a").told(opened, tried, "half_open>open: 1 of 1 host ejected after 5 consecutive failures")
	})
	t.Run("without traffic it waits", func(t *testing.T) {
		r := newRig(t).halfOpen().pass(24*time.Hour).report(0, 0).look(1).unavailable().is(HalfOpen)
		if !r.m.Wake().IsZero() || !r.m.Until().IsZero() || !r.m.Waiting() {
			t.Fatalf("wake %s, until %s, waiting %t", r.m.Wake(), r.m.Until(), r.m.Waiting())
		}
		if r.report(1, 0).is(HalfOpen); r.m.Waiting() {
			t.Fatal("it waits for traffic though a probe has ended")
		}
		if r.report(1, 0).is(Closed); r.m.Waiting() {
			t.Fatal("it waits for traffic though it is closed")
		}
	})
	t.Run("a probe that has not ended is traffic", func(t *testing.T) {
		r := newRig(t).halfOpen()
		r.m.Observe(Observation{At: r.m.now, InFlight: Gauge{Known: true, N: 1}, Generation: r.m.Generation()})
		if r.is(HalfOpen); r.m.Waiting() {
			t.Fatal("it waits for traffic though a probe is at the service")
		}
	})
	t.Run("re-opening backs off up to the bound, and closing forgets it", func(t *testing.T) {
		r := newRig(t, func(s *Settings) { s.Backoff, s.MaxTimeout = 3, 5*time.Minute }).halfOpen()
		for _, open := range []time.Duration{3 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
			r.report(0, 1).is(Open).pass(open - 1).asks(false).pass(1).asks(true).look(1).is(HalfOpen)
		}
		r.report(2, 0).is(Closed).halfOpen()
	})
	t.Run("settings without values let one probe through and close at one success", func(t *testing.T) {
		r := newRig(t, func(s *Settings) { s.SuccessThreshold, s.HalfOpenMaxRequests, s.Backoff, s.MaxTimeout = 0, 0, 0, 0 }).halfOpen()
		r.permits(Permit{Limited: true, Max: 1}).report(1, 0).is(Closed)
	})
}

func TestSettingsOpenFor(t *testing.T) {
	for _, tt := range []struct {
		timeout, longest time.Duration
		backoff          float64
		reopens          uint32
		want             time.Duration
	}{
		{time.Minute, 10 * time.Minute, 1, 50, time.Minute},
		{time.Minute, 10 * time.Minute, 2, 0, time.Minute},
		{time.Minute, 10 * time.Minute, 2, 3, 8 * time.Minute},
		{time.Minute, 10 * time.Minute, 2, 4, 10 * time.Minute},
		{time.Minute, 240 * time.Hour, 100, 1 << 31, 240 * time.Hour},
		{time.Minute, 0, 2, 3, time.Minute},
		{time.Minute, 10 * time.Minute, 0, 3, time.Minute},
		{10 * time.Second, time.Minute, 1.5, 1, 15 * time.Second},
	} {
		s := Settings{Timeout: tt.timeout, MaxTimeout: tt.longest, Backoff: tt.backoff}
		if got := s.openFor(tt.reopens); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestMachineHalfOpenInFlight(t *testing.T) {
	limit := func(n uint64) Permit { return Permit{Limited: true, Max: n} }
	t.Run("as many more are permitted, until fewer are in flight", func(t *testing.T) {
		r := newRig(t).open().flying(3, 0, 0).pass(time.Minute).look(1).is(HalfOpen).permits(limit(4))
		r.flying(4, 0, 0).permits(limit(4)).flying(2, 0, 0).permits(limit(3)).flying(3, 0, 0).permits(limit(3))
		r.flying(0, 0, 0).permits(limit(1)).flying(1, 0, 0).permits(limit(1))
	})
	t.Run("their successes do not close", func(t *testing.T) {
		r := newRig(t).open().flying(3, 0, 0).pass(time.Minute).look(1)
		r.flying(1, 3, 0).is(HalfOpen).flying(0, 1, 0).is(HalfOpen).flying(0, 1, 0).is(Closed)
	})
	t.Run("once none is in flight every success counts", func(t *testing.T) {
		newRig(t).open().flying(3, 0, 0).pass(time.Minute).look(1).flying(0, 0, 0).flying(0, 2, 0).is(Closed)
	})
	t.Run("a long stream holds nothing up", func(t *testing.T) {
		r := newRig(t).open().flying(1, 0, 0).pass(time.Minute).look(1)
		for range 2 {
			r.flying(1, 1, 0).is(HalfOpen).permits(limit(2))
		}
		r.flying(1, 1, 0).is(Closed)
	})
	t.Run("their failure opens", func(t *testing.T) {
		newRig(t).open().flying(3, 0, 0).pass(time.Minute).look(1).flying(2, 0, 1).is(Open)
	})
	t.Run("the gauge may come with the answer", func(t *testing.T) {
		r := newRig(t).open().flying(3, 0, 0).pass(time.Minute)
		r.observe(Observation{InFlight: Gauge{1, true}, Layer1: Layer1{Answer: Looked, Total: 1}}).permits(limit(2))
	})
}

func TestMachineShadow(t *testing.T) {
	shadow := func(s *Settings) { s.Shadow = true }
	open := func(t *testing.T) *rig {
		return newRig(t, shadow).open().flying(50, 1000, 1000).is(Open).pass(time.Minute).look(1).is(HalfOpen)
	}
	open(t).flying(50, 99, 1).is(Closed)
	open(t).flying(50, 60, 40).is(Open)
	open(t).flying(50, 1, 0).is(HalfOpen).flying(50, 70, 30).is(Closed)
	open(t).flying(50, 1, 1).is(Open)
}
