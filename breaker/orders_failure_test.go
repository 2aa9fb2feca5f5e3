package breaker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// enforceFails lets SetEnforcing fail until the returned function is called.
func (c *fakeControl) enforceFails() (mend func()) {
	set := func(f func() error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.onEnforce = f
	}
	set(func() error { return errors.New("the disk is full") })
	return func() { set(nil) }
}

// muted lets no proxy accept or refuse anything from now on.
func (c *fakeControl) muted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}

func TestOrderThatFailsIsNone(t *testing.T) {
	kept := memory(t)
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
	f.control.enforceFails()
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: Disabled}); err == nil {
		t.Fatal("no error")
	}
	if o, e := f.Orders(), f.Events(EventFilter{}); len(o)+len(e) > 0 {
		t.Errorf("orders %+v, events %+v", o, e)
	}
	var stored []StandingOrder
	if _, err := kept.Load(ordersDoc, &stored); err != nil || len(stored) > 0 {
		t.Errorf("after a restart it would be in force: %+v, %v", stored, err)
	}
	f.look(t, "svc", Closed)
}

// The end of an order is tried again: hosts must not stay in rotation for ever.
func TestEndOfAnOrderFails(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: Disabled, TTL: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	mend := f.control.enforceFails()
	f.untilState(t, Closed)
	mend()
	until(t, "Envoy ejects hosts again", func() string {
		f.control.mu.Lock()
		defer f.control.mu.Unlock()
		if f.control.disabled["svc"] {
			return "it does not"
		}
		return ""
	})
}

// When the order of one proxy ends the one for all goes on: nothing is let through in between.
func TestOrderBeneathAnother(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	for _, req := range []OrderRequest{{Action: Action{Reason: "all"}}, {Proxy: "p1", TTL: 50 * time.Millisecond}} {
		req.Service, req.State = "svc", ForcedOpen
		if _, err := f.Order(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the order for all is in force", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if o, ok := f.watchers["p1"].machines["svc"].Order(); !ok || o.Reason != "all" {
			return fmt.Sprintf("it is %+v", o)
		}
		return ""
	})
	for _, e := range f.Events(EventFilter{}) {
		if e.Kind == Transitioned && e.To != ForcedOpen {
			t.Errorf("%+v", e)
		}
	}
}

// A breaker that is released while Envoy has every host ejected opens at once, which is no failure of the release.
func TestReleaseOfADeadService(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].set("svc", "ee")
	for range 30 {
		for _, state := range []State{ForcedOpen, Closed} {
			r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: state})
			if err != nil || !r.OK() {
				t.Fatalf("%s: %+v, %v", state, r, err)
			}
		}
		f.untilState(t, Open)
	}
}

// What a breaker in shadow would do is nothing that a proxy was told.
func TestReleaseInShadow(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service(func(s *policy.Service) { s.Breaker.Shadow = true })}, "p1")
	f.Report(attempts(0, 3))
	f.untilShadow(t, Open)
	if r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: Closed}); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
	r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
	if err != nil || r.Pushed || r.Proxies[0].From != Closed {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestHalfOpenKeepsTheLimits(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service(briefly, func(s *policy.Service) {
		s.Breaker.HalfOpenMaxRequests = 100
		s.Limits = policy.Limits{MaxConnections: 9, MaxPendingRequests: 4, MaxRequests: 7}
	})}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, "circuit_breakers.svc.default.max_requests=7", "circuit_breakers.svc.default.max_pending_requests=4", "breakwater.half_open.svc=100")
}

// One proxy's release does not end the order for all, and says so.
func TestReleaseOfOneProxyBeneathAll(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	for _, req := range []OrderRequest{{State: ForcedOpen}, {State: Closed, Proxy: "p1"}} {
		req.Service = "svc"
		r, err := f.Order(t.Context(), req)
		if err != nil || !r.OK() || r.Proxies[0].State != ForcedOpen {
			t.Fatalf("%+v, %v", r, err)
		}
		if told := strings.Contains(r.Proxies[0].Note, "for all proxies"); told != (req.State == Closed) {
			t.Errorf("%s: %q", req.State, r.Proxies[0].Note)
		}
	}
}

// A proxy that does not answer keeps no other order back.
func TestOrdersDoNotWaitForEachOther(t *testing.T) {
	a, b := service("a"), service("b")
	f := start(t, []*policy.Service{a, b}, "p1")
	f.control.muted()
	ctx, cancel := context.WithCancel(t.Context())
	var orders sync.WaitGroup
	var ended atomic.Int32
	defer orders.Wait()
	defer cancel()
	for _, name := range []string{"a", "b"} {
		orders.Go(func() {
			if r, err := f.Order(ctx, OrderRequest{Service: name, State: ForcedOpen}); err != nil || r.OK() {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			ended.Add(1)
		})
	}
	f.untilTold(t, "upstream.maintenance_mode.a=100", "upstream.maintenance_mode.b=100")
	if n := ended.Load(); n > 0 {
		t.Error("one order had to end before the other was carried out")
	}
}
