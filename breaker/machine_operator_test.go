package breaker

import (
	"testing"
	"time"
)

var alice = Action{Actor: "alice", Reason: "drill"}

func (r *rig) forceOpen(ttl time.Duration) *rig { return r.took(r.m.ForceOpen(r.now, r.order(ttl))) }
func (r *rig) disable(ttl time.Duration) *rig   { return r.took(r.m.Disable(r.now, r.order(ttl))) }
func (r *rig) release() *rig                    { return r.took(r.m.Release(r.now, alice)) }

func (r *rig) order(ttl time.Duration) Order {
	o := Order{Action: alice}
	if ttl > 0 {
		o.Until = r.now.Add(ttl)
	}
	return o
}

func TestMachineOrders(t *testing.T) {
	const forced = "closed>forced_open: forced open by alice: drill"
	t.Run("forced open until released", func(t *testing.T) {
		r := newRig(t).forceOpen(0).permits(Permit{Limited: true}).report(1000, 0).look(1).pass(24 * time.Hour).is(ForcedOpen)
		if o, ok := r.m.Order(); !ok || o.Action != alice {
			t.Fatalf("order %+v, %v", o, ok)
		}
		r.release().permits(Permit{}).told(forced, "forced_open>closed: released by alice: drill")
		if _, ok := r.m.Order(); ok {
			t.Fatal("an order is left")
		}
	})
	t.Run("disabled never opens", func(t *testing.T) {
		r := newRig(t).disable(0).permits(Permit{}).report(0, 1000).asks(false).look(1, "a").pass(time.Hour).is(Disabled)
		r.told("closed>disabled: disabled by alice: drill")
	})
	t.Run("released it asks layer 1, and opens by that", func(t *testing.T) {
		r := newRig(t).open().forceOpen(0).look(1, "a").release().is(Closed).asks(true).look(1, "a").is(Open)
		r.told("closed>open: 5 of the last 5 attempts failed", "open>forced_open: forced open by alice: drill",
			"forced_open>closed: released by alice: drill", "closed>open: 1 of 1 host ejected after 5 consecutive failures")
	})
	t.Run("released it has an empty window", func(t *testing.T) {
		newRig(t).report(0, 4).look(1).disable(0).report(0, 4).release().look(1).report(0, 4).look(1).is(Closed)
	})
	t.Run("expires", func(t *testing.T) {
		r := newRig(t).forceOpen(time.Minute)
		if want := began.Add(time.Minute); !r.m.Until().Equal(want) || !r.m.Wake().Equal(want) {
			t.Fatalf("until %s, wake %s", r.m.Until(), r.m.Wake())
		}
		r.pass(time.Minute - 1).is(ForcedOpen).pass(1).asks(true)
		r.told(forced, "forced_open>closed: its time is over: it was forced open by alice: drill")
	})
	t.Run("a later order replaces an earlier one", func(t *testing.T) {
		r := newRig(t).forceOpen(time.Minute).pass(time.Second).forceOpen(time.Hour).pass(time.Minute).is(ForcedOpen)
		if !r.m.Since().Equal(began) {
			t.Fatalf("since %s", r.m.Since())
		}
		r.disable(0).pass(time.Hour).told(forced, "forced_open>disabled: disabled by alice: drill")
	})
	t.Run("nothing to release", func(t *testing.T) {
		newRig(t).open().release().is(Open)
	})
	t.Run("nobody, for no reason", func(t *testing.T) {
		r := newRig(t)
		r.took(r.m.ForceOpen(r.now, Order{})).told("closed>forced_open: forced open by an operator")
	})
}

func TestMachineReset(t *testing.T) {
	for name, r := range map[string]*rig{
		"closed": newRig(t).report(0, 4).look(1), "open": newRig(t).open(), "half-open": newRig(t).halfOpen(),
		"forced open": newRig(t).forceOpen(0), "disabled": newRig(t).disable(time.Hour),
	} {
		before := r.m.Generation()
		r.took(r.m.Reset(r.now, alice, 0)).is(Closed).permits(Permit{})
		if r.m.Generation() != before+1 {
			t.Errorf("%s: generation %d", name, r.m.Generation())
		}
		// What was reported before the reset changes nothing.
		r.took(r.m.Observe(Observation{At: r.now, Generation: before, Layer1: Layer1{Answer: Looked, Total: 1, Ejected: []string{"a"}}}))
		r.report(0, 4).look(1).is(Closed).report(0, 1).look(1).is(Open)
	}
	r := newRig(t).open()
	r.took(r.m.Reset(r.now, alice, 17)).told("closed>open: 5 of the last 5 attempts failed", "open>closed: reset by alice: drill")
	if r.m.Generation() != 17 {
		t.Errorf("generation %d", r.m.Generation())
	}
}

func TestMachineLost(t *testing.T) {
	t.Run("an observation ends it, and the state goes on", func(t *testing.T) {
		r := newRig(t).open().pass(time.Second)
		r.took(r.m.Lost(r.now, "gone")).is(Unknown).permits(Permit{Limited: true})
		if r.m.Told() != Open || r.m.Cause() != "gone" || !r.m.Since().Equal(r.now) || !r.m.Until().IsZero() {
			t.Fatalf("told %s, cause %q, since %s, until %s", r.m.Told(), r.m.Cause(), r.m.Since(), r.m.Until())
		}
		r.took(r.m.Lost(r.now.Add(1), "still gone"))
		r.report(1, 0).is(Open).pass(59 * time.Second).asks(true)
		r.told("closed>open: 5 of the last 5 attempts failed", "open>unknown: gone", "unknown>open: the proxy can be seen again")
	})
	t.Run("what happened meanwhile is told with its end", func(t *testing.T) {
		r := newRig(t).open()
		r.took(r.m.Lost(r.now, "gone")).pass(time.Second)
		r.took(r.m.Lapse(r.now)).is(Unknown).permits(Permit{})
		r.took(r.m.Seen(r.now)).told("closed>open: 5 of the last 5 attempts failed", "open>unknown: gone",
			"unknown>closed: the proxy can be seen again; meanwhile: its lease in the proxy ran out while nobody renewed it")
	})
	t.Run("an order ends while the proxy is not seen", func(t *testing.T) {
		r := newRig(t).forceOpen(time.Minute)
		r.took(r.m.Lost(r.now, "gone")).pass(time.Hour).permits(Permit{}).is(Unknown)
		r.took(r.m.Seen(r.now)).is(Closed)
	})
	t.Run("a look that failed does not end it", func(t *testing.T) {
		r := newRig(t).report(0, 5)
		r.took(r.m.Lost(r.now, "gone")).unavailable().is(Unknown).permits(Permit{Limited: true}).look(1).is(Open)
		r.told("closed>unknown: gone", "unknown>open: the proxy can be seen again; meanwhile: 5 of the last 5 attempts failed (layer 1 could not be asked)")
	})
	t.Run("a lapse", func(t *testing.T) {
		r := newRig(t).halfOpen()
		r.took(r.m.Lapse(r.now)).is(Closed).report(0, 4).look(1).is(Closed)
		r = newRig(t).forceOpen(0)
		r.took(r.m.Lapse(r.now)).is(ForcedOpen)
		r = newRig(t).report(0, 4).look(1)
		r.took(r.m.Lapse(r.now)).report(0, 4).look(1).told()
	})
	t.Run("seeing what was never lost is nothing", func(t *testing.T) {
		r := newRig(t)
		r.took(r.m.Seen(r.now)).told()
	})
}
