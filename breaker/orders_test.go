package breaker

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

func TestOrders(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1", "p2")
	order := func(state State, proxy string, ttl time.Duration) OrderResult {
		t.Helper()
		r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: state, Proxy: proxy, TTL: ttl, Action: Action{Actor: "ann", Reason: "drill"}})
		if err != nil || !r.OK() {
			t.Fatalf("%s on %q: %+v, %v", state, proxy, r, err)
		}
		return r
	}
	if r := order(ForcedOpen, "", time.Hour); len(r.Proxies) != 2 || r.Proxies[1].State != ForcedOpen || r.Until.IsZero() {
		t.Errorf("%+v", r)
	}
	_, operator := f.untilTold(t, shut)
	if operator.ttl < 59*time.Minute || operator.ttl > time.Hour {
		t.Errorf("the proxy keeps it for %s, want the order's hour", operator.ttl)
	}
	b, err := f.Breaker(t.Context(), "svc")
	if o := b.Proxies[0].Order; err != nil || b.State != ForcedOpen || o == nil || o.Actor != "ann" || o.Reason != "drill" {
		t.Errorf("%+v, %v", b, err)
	}
	order(Closed, "", 0)
	f.untilTold(t)
	f.look(t, "svc", Closed)

	if r := order(ForcedOpen, "p1", 0); len(r.Proxies) != 1 {
		t.Errorf("%+v", r)
	}
	_, operator = f.untilTold(t, shut)
	if operator.ttl != 0 {
		t.Errorf("an order without an end is forgotten by the proxy after %s", operator.ttl)
	}
	if _, other := f.control.layers("p2"); len(other.keys) != 0 {
		t.Errorf("p2 is told %v", other)
	}
	order(Disabled, "", 0) // p1 keeps the order of its own
	f.untilTold(t, shut)
	if !f.control.disabled["svc"] {
		t.Error("Envoy goes on ejecting hosts")
	}
	order(Closed, "", 0) // for each proxy too
	f.untilTold(t)
	if f.control.disabled["svc"] {
		t.Error("Envoy ejects no hosts")
	}
	order(ForcedOpen, "", 20*time.Millisecond)
	f.untilState(t, Closed)
	f.untilTold(t)
	until(t, "the order is forgotten", func() string {
		if o := f.Orders(); len(o) > 0 {
			return fmt.Sprintf("%+v", o)
		}
		return ""
	})
	order(Disabled, "", 20*time.Millisecond)
	until(t, "Envoy ejects hosts again", func() string {
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		if f.control.disabled["svc"] {
			return "it does not"
		}
		return ""
	})
}

// An order that replaces one of its kind is no transition, and those who watch are told all the same.
func TestOrderIsReplaced(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	give := func(state State, reason string) {
		t.Helper()
		if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: state, Action: Action{Reason: reason}}); err != nil {
			t.Fatal(err)
		}
	}
	give(ForcedOpen, "one")
	ch := f.Watch(t.Context(), WatchQuery{})
	<-ch
	give(ForcedOpen, "two")
	select {
	case b := <-ch:
		if changed := slices.Collect(b); changed[0].Overview.Order == nil || changed[0].Overview.Order.Reason != "two" {
			t.Errorf("%+v", changed)
		}
	case <-time.After(deadline):
		t.Error("nobody is told")
	}
	give(Closed, "")
	give(Closed, "again")
	var kinds []EventKind
	for _, e := range f.Events(EventFilter{}) {
		if e.Kind != Transitioned {
			kinds = append(kinds, e.Kind)
		}
	}
	if want := []EventKind{WasForcedOpen, WasForcedOpen, WasReleased}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q: there was nothing left to release", kinds, want)
	}
}

func TestOrdersAreRefused(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	for _, tt := range []struct {
		req  OrderRequest
		want error
	}{
		{OrderRequest{Service: "none", State: ForcedOpen}, ErrUnknownService},
		{OrderRequest{Service: "svc", State: ForcedOpen, Proxy: "none"}, ErrUnknownProxy},
		{OrderRequest{Service: "svc", State: Disabled, Proxy: "p1"}, ErrInvalidOrder},
		{OrderRequest{Service: "svc", State: HalfOpen}, ErrInvalidOrder},
		{OrderRequest{Service: "svc", State: ForcedOpen, TTL: -1}, ErrInvalidOrder},
		{OrderRequest{Service: "svc", State: ForcedOpen, TTL: math.MaxInt64}, ErrInvalidOrder},
		{OrderRequest{Service: "svc", State: Closed, TTL: time.Hour}, ErrInvalidOrder},
	} {
		if _, err := f.Order(t.Context(), tt.req); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.req, err, tt.want)
		}
	}
	if e := f.Events(EventFilter{}); len(e) > 0 {
		t.Errorf("events %+v", e)
	}
}

// An order for a proxy that has just gone is kept for its return, and has reached nobody.
func TestOrderForAProxyThatIsAway(t *testing.T) {
	f := startWith(t, Options{Known: func(proxy string) bool { return proxy == "p2" }}, []*policy.Service{layer2Service()}, "p1")
	r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen, Proxy: "p2"})
	if err != nil || r.OK() || len(r.Proxies) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if o := f.Orders(); len(o) != 1 || o[0].Proxy != "p2" {
		t.Errorf("orders %+v", o)
	}
	layers := f.Join(xds.Proxy{ID: "p2"})
	if got := layers.Operator.Keys.AsMap()["upstream.maintenance_mode.svc"]; got != 100.0 {
		t.Errorf("when it connects it is told %v", layers.Operator.Keys)
	}
}
