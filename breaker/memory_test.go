package breaker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds"
)

// memory returns a store that outlives a board.
func memory(t *testing.T) *store.Dir {
	t.Helper()
	d, err := store.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRestart(t *testing.T) {
	kept, svc := memory(t), layer2Service()
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{svc}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", Proxy: "p1", State: ForcedOpen, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", Proxy: "p1", State: Closed}); err != nil {
		t.Fatal(err)
	}
	f.Report(attempts(0, 3)) // in part of before: an order has no part in it
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	events := len(f.Events(EventFilter{}))
	f.stop()

	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept, Lease: time.Minute})
	layers := g.Join(xds.Proxy{ID: "p1"})
	if layers.Breaker.Keys.AsMap()["upstream.maintenance_mode.svc"] != 100.0 || layers.Breaker.TTL != time.Minute {
		t.Errorf("a proxy that comes back within the lease is told %v", layers.Breaker)
	}
	if got := g.Events(EventFilter{}); len(got) != events {
		t.Errorf("%d events, want the %d of before", len(got), events)
	}
	if layers := g.Join(xds.Proxy{ID: "p2"}); len(layers.Breaker.Keys.AsMap()) > 0 {
		t.Errorf("another proxy is told %v", layers.Breaker)
	}
}

func TestRestartAfterTheLease(t *testing.T) {
	kept, svc := memory(t), layer2Service()
	f := startWith(t, Options{Memory: kept, Lease: time.Minute}, []*policy.Service{svc}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	f.stop()
	stored := map[string]parked{}
	if found, err := kept.Load(breakersDoc, &stored); !found || err != nil {
		t.Fatal(found, err)
	}
	p := stored["p1"]
	p.At = p.At.Add(-time.Minute)
	if err := kept.Save(breakersDoc, map[string]parked{"p1": p}); err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept, Lease: time.Minute, Registerer: reg})
	g.Served()
	if layers := g.Join(xds.Proxy{ID: "p1"}); len(layers.Breaker.Keys.AsMap()) > 0 {
		t.Errorf("a proxy that comes back after the lease is told %v", layers.Breaker)
	}
	got := gathered(t, reg)
	for _, state := range []State{Closed, Open, HalfOpen, Unknown} {
		want := 0.0
		if state == Closed {
			want = 1
		}
		if n := got["gateway_circuit_breaker_state_changes{svc,"+string(state)+"}"]; n != want {
			t.Errorf("%v transitions to %s are counted, want %v", n, state, want)
		}
	}
	e := g.Events(EventFilter{Limit: 1})
	if len(e) != 1 || e[0].Kind != Lapsed || e[0].From != Open || e[0].To != Closed {
		t.Errorf("the last event is %+v, want the lapse", e)
	}
}

func TestProxyJoinsWhileForcedOpen(t *testing.T) {
	kept := memory(t)
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()})
	if r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen}); err != nil || len(r.Proxies) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if layers := f.Join(xds.Proxy{ID: "late"}); layers.Operator.Keys.AsMap()["upstream.maintenance_mode.svc"] != 100.0 {
		t.Errorf("one that joins is told %v", layers.Operator)
	}
	f.stop()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept})
	if layers := g.Join(xds.Proxy{ID: "later"}); layers.Operator.Keys.AsMap()["upstream.maintenance_mode.svc"] != 100.0 {
		t.Errorf("after a restart one that joins is told %v", layers.Operator)
	}
}

func TestCorruptMemoryIsNoCrash(t *testing.T) {
	kept := memory(t)
	for _, name := range []string{breakersDoc, ordersDoc, eventsDoc} {
		if err := kept.Save(name, "not that"); err != nil {
			t.Fatal(err)
		}
	}
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
}
