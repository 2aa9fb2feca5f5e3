package breaker

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds"
)

// killed is the state directory of a process that can be killed: from then on nothing is written.
type killed struct {
	*store.Dir
	dead atomic.Bool
	// slow is true while documents are not saved, as if the process were killed before.
	slow atomic.Bool
}

var errKilled = errors.New("killed")

func (k *killed) Save(name string, v any) error {
	if k.dead.Load() || k.slow.Load() {
		return errKilled
	}
	return k.Dir.Save(name, v)
}

func (k *killed) Append(name string, v any) error {
	if k.dead.Load() {
		return errKilled
	}
	return k.Dir.Append(name, v)
}

func (k *killed) Turn(name string) error {
	if k.dead.Load() {
		return errKilled
	}
	return k.Dir.Turn(name)
}

func (k *killed) Drop(name string) error {
	if k.dead.Load() {
		return errKilled
	}
	return k.Dir.Drop(name)
}

// What a proxy was told outlives the process though it ends before anything is saved, and so do the events.
func TestKilledBeforeTheSave(t *testing.T) {
	kept := &killed{Dir: memory(t)}
	kept.slow.Store(true)
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	kept.dead.Store(true)
	f.stop()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept.Dir, Lease: time.Minute})
	if layers := g.Join(xds.Proxy{ID: "p1"}); layers.Breaker.Keys.AsMap()["upstream.maintenance_mode.svc"] != 100.0 {
		t.Errorf("the proxy is told %v", layers.Breaker)
	}
	events := g.Events(EventFilter{})
	if n := len(events); n == 0 || events[n-1].From != Closed || events[n-1].To != Open {
		t.Errorf("events %+v, want the last to be that it opened", events)
	}
}

// Who has struck off a proxy, and why, outlives the process as that does, and what is parked of the proxy is left as it was.
func TestKilledAfterAProxyWasForgotten(t *testing.T) {
	kept := &killed{Dir: memory(t)}
	at := time.Now().Add(-time.Second).UTC()
	snapshot := New(Settings{}, at, 0).Snapshot()
	if err := kept.Save(breakersDoc, map[string]parked{"p1": {At: at, Snapshots: map[string]Snapshot{"svc": snapshot}}}); err != nil {
		t.Fatal(err)
	}
	kept.slow.Store(true)
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()})
	f.Forgot("p1", Action{Actor: "ann", Reason: "scaled down"})
	kept.dead.Store(true)
	f.stop()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept.Dir})
	events := g.Events(EventFilter{})
	if len(events) != 1 || events[0].Kind != WasForgotten || events[0].Proxy != "p1" || events[0].Actor != "ann" || events[0].Cause != "scaled down" {
		t.Errorf("events %+v", events)
	}
	if p := g.parked["p1"]; len(g.parked) != 1 || !p.At.Equal(at) || len(p.Snapshots) != 1 {
		t.Errorf("parked %+v", g.parked)
	}
}

// Whenever the process ends, the proxy is told by the next one what it was told by the last, whatever was saved by then.
func TestKilledAtAnyTime(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		kept := &killed{Dir: memory(t)}
		f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
		for range 1 + r.IntN(6) {
			kept.slow.Store(r.IntN(2) == 0)
			switch r.IntN(4) {
			case 0, 1:
				f.Report(attempts(0, 3))
			case 2:
				if _, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); err != nil {
					t.Fatal(err)
				}
			case 3:
				f.Report(attempts(uint64(r.IntN(3)), 0))
			}
			for range r.IntN(200) {
				runtime.Gosched() // let the board do some of it
			}
		}
		f.mu.Lock() // nothing is being told now
		told, _ := f.control.layers("p1")
		kept.dead.Store(true)
		f.mu.Unlock()
		f.stop()
		g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept.Dir, Lease: time.Minute})
		next := g.Join(xds.Proxy{ID: "p1"}).Breaker.Keys.AsMap()
		delete(next, breakerLease)
		want := map[string]any{}
		for key, v := range told.keys {
			if key != breakerLease {
				want[key] = v
			}
		}
		if diff := cmp.Diff(want, next); diff != "" {
			t.Fatalf("seed %d: told (-before +after):\n%s", seed, diff)
		}
	}
}

// A lease that has run out while the proxy was away has run out for good, though nothing can be saved but by the journal.
func TestKilledAfterALapse(t *testing.T) {
	kept := &killed{Dir: memory(t)}
	kept.slow.Store(true)
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	f.stop()
	const expired = time.Nanosecond
	for _, lease := range []time.Duration{expired, time.Minute, expired} {
		g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept, Lease: lease})
		if layers := g.Join(xds.Proxy{ID: "p1"}); layers.Breaker.Keys.AsMap()["upstream.maintenance_mode.svc"] == 100.0 {
			t.Errorf("with a lease of %v the proxy is told %v", lease, layers.Breaker)
		}
		lapsed := 0
		for _, e := range g.Events(EventFilter{}) {
			if e.Kind == Lapsed {
				lapsed++
			}
		}
		if lapsed != 1 {
			t.Errorf("it has lapsed %d times", lapsed)
		}
	}
}
