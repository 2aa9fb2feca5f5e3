package breaker

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// reborn restores the rig's machine, some time later.
func (r *rig) reborn(down time.Duration) *rig {
	r.t.Helper()
	r.now = r.now.Add(down)
	m, err := Restore(r.m.settings, r.m.Snapshot(), r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	return &rig{t: r.t, m: m, now: r.now}
}

func TestRestoreAfterAWhile(t *testing.T) {
	// An order that ended meanwhile ends at the first call.
	newRig(t).forceOpen(time.Minute).reborn(time.Hour).is(ForcedOpen).pass(0).asks(true).
		told("forced_open>closed: its time is over: it was forced open by alice: drill")
	newRig(t).forceOpen(time.Hour).reborn(time.Minute).pass(0).is(ForcedOpen)
	// An open breaker goes on from where it was.
	newRig(t).open().reborn(30 * time.Second).pass(29 * time.Second).asks(false).pass(time.Second).asks(true).look(1).is(HalfOpen)
}

func TestRestoreWhenTheClockWasSetBack(t *testing.T) {
	r := newRig(t).open().pass(20 * time.Second).reborn(-time.Hour)
	if left := r.m.Until().Sub(r.now); left != 40*time.Second {
		t.Errorf("%s are left of the timeout", left)
	}
	if look := r.m.Snapshot().LookAt; !look.IsZero() {
		t.Errorf("looks again at %s", look)
	}
	r.pass(40*time.Second).asks(true).look(1, "a").is(Open)
	r.reborn(-time.Hour).pass(lookAgain).asks(true)

	r = newRig(t).forceOpen(time.Minute)
	r.took(r.m.Lost(r.now, "gone"))
	r = r.reborn(-time.Hour)
	if !r.m.Since().Equal(r.now) {
		t.Errorf("since %s at %s", r.m.Since(), r.now)
	}
	r.took(r.m.Seen(r.now)).is(ForcedOpen)
	if left := r.m.Until().Sub(r.now); left != time.Minute {
		t.Errorf("%s are left of the order", left)
	}
}

func TestRestoreWithOtherSettings(t *testing.T) {
	r := newRig(t).report(50, 0).report(0, 4).look(1)
	s := r.m.settings
	s.WindowSize, s.FailureThreshold.N = 10, 3
	m, err := Restore(s, r.m.Snapshot(), r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.m = m
	r.is(Closed).report(1, 0).told("closed>open: 4 of the last 10 attempts failed")
}

// A restored machine knows the time it was restored at.
func TestRestoreMovesTime(t *testing.T) {
	r := newRig(t).open().reborn(time.Minute)
	r.took(r.m.Tick(began)).asks(true)
}

// A snapshot shares nothing with the machine that it was taken of, nor with one that was restored from it.
func TestSnapshotIsApart(t *testing.T) {
	r := newRig(t).report(0, 3).look(1)
	s := r.m.Snapshot()
	before, _ := json.Marshal(s)
	twin := r.reborn(0)
	r.look(2, "a")
	twin.look(2, "a").report(1, 0)
	if after, _ := json.Marshal(s); !bytes.Equal(after, before) {
		t.Errorf("%s became %s", before, after)
	}
}

func TestRestoreRefusesWhatNoMachineMade(t *testing.T) {
	good := newRig(t).report(5, 3).look(1).report(0, 1).m.Snapshot()
	for name, spoil := range map[string]func(s *Snapshot){
		"no state":               func(s *Snapshot) { s.State = "" },
		"unknown":                func(s *Snapshot) { s.State = Unknown },
		"no order":               func(s *Snapshot) { s.State = ForcedOpen },
		"an order too many":      func(s *Snapshot) { s.Order = &Order{} },
		"no probes":              func(s *Snapshot) { s.State = HalfOpen },
		"probes too many":        func(s *Snapshot) { s.Probes = &Probes{} },
		"a question too many":    func(s *Snapshot) { s.Question = 9 },
		"an answer too many":     func(s *Snapshot) { s.Answered = 9 },
		"an empty batch":         func(s *Snapshot) { s.Window[0].Attempts = 0 },
		"more than came":         func(s *Snapshot) { s.Window[0].Attempts = 9 },
		"more than there can be": func(s *Snapshot) { s.Window[0].Attempts, s.Window[0].WholeAttempts = 1<<50, 1<<50 },
		"more failures":          func(s *Snapshot) { s.Window[0].Failures = 9 },
		"other hosts' failures":  func(s *Snapshot) { s.Window[0].Hosts[0].Failures = 2 },
		"a host of too many":     func(s *Snapshot) { s.Window[0].Hosts[0].Failures = 1<<64 - 1 },
		"batches out of order":   func(s *Snapshot) { s.Window[0].Number = 9 },
		"a time far off":         func(s *Snapshot) { s.Now = s.Now.AddDate(5000, 0, 0) },
		"a state to come":        func(s *Snapshot) { s.Since = s.Now.Add(1) },
		"a look far off":         func(s *Snapshot) { s.LookAt = s.Now.Add(time.Hour) },
		"a loss to come":         func(s *Snapshot) { s.Loss = &Loss{Since: s.Now.Add(1)} },
		"slow calls":             func(s *Snapshot) { s.Slow = []Batch{{}} },
	} {
		var s Snapshot
		text, err := json.Marshal(good)
		if err == nil {
			err = json.Unmarshal(text, &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(standard(), s, began); err != nil {
			t.Fatalf("before %s: %v", name, err)
		}
		spoil(&s)
		if m, err := Restore(standard(), s, began); err == nil {
			t.Errorf("%s: restored as %s", name, m.State())
		}
	}
}

// Whatever a file holds, restoring it is an error or gives a machine that works.
func FuzzRestore(f *testing.F) {
	text, err := json.Marshal(New(standard(), began, 1).Snapshot())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"state":"half_open","probes":{"before":18446744073709551615},"window":[{"attempts":3,"failures":1,"whole_attempts":6,"whole_failures":2,"hosts":[{"address":"a","failures":1}]}]}`))
	f.Add([]byte(`{"state":"forced_open","order":{"until":"2026-03-01T12:00:00Z"},"inquiries":3,"question":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Snapshot
		if json.Unmarshal(text, &s) != nil {
			return
		}
		m, err := Restore(standard(), s, began)
		if err != nil {
			return
		}
		m.window.check(t)
		o := Observation{At: began.Add(time.Hour), Generation: m.Generation(), Hosts: []HostResults{{"a", 7, 3}}}
		o.Layer1 = Layer1{Answer: Looked, Question: m.Question(), Total: 2, Ejected: []string{"a"}}
		m.Observe(o)
		m.Permit()
		m.window.check(t)
	})
}
