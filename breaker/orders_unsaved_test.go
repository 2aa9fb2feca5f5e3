package breaker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// An order that cannot be saved is carried out, holds for a quarter of an hour at most, and says so until it is saved.
func TestOrderThatCannotBeSaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	kept, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []time.Duration{0, time.Hour, time.Minute} {
		r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen, TTL: ttl})
		want := time.Minute
		if ttl != want {
			want = unsavedTTL
		}
		if left := time.Until(r.Until); err != nil || !r.OK() || r.NotSaved == "" || left > want || left < want-deadline {
			t.Fatalf("TTL %s: %+v with %s left, %v", ttl, r, left, err)
		}
		f.untilTold(t, shut)
		if o := f.Orders(); len(o) != 1 || !o[0].NotSaved || !o[0].Until.Equal(r.Until) {
			t.Errorf("TTL %s: orders %+v", ttl, o)
		}
	}
	if r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); err != nil || !r.OK() || r.NotSaved == "" {
		t.Errorf("reset: %+v, %v", r, err)
	}
	if r, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: Closed}); err != nil || !r.OK() || r.NotSaved == "" {
		t.Errorf("release: %+v, %v", r, err)
	}
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	go func() { _ = kept.Run(t.Context()) }()
	until(t, "it is saved", func() string {
		if o := f.Orders(); len(o) != 1 || o[0].NotSaved {
			return "it is not"
		}
		return ""
	})
	f.stop()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept})
	if o := g.Orders(); len(o) != 1 || time.Until(o[0].Until) > unsavedTTL {
		t.Errorf("after a restart: %+v", o)
	}
}

// A TTL does not grow by what is done to the time of day while Breakwater is not there.
func TestTTLWhenTheClockWasSet(t *testing.T) {
	now := time.Now()
	action := Action{Reason: "drill"}
	for _, tt := range []struct {
		name string
		kept StandingOrder
		most time.Duration // 0: it is over
	}{
		{"it was not", StandingOrder{Since: now.Add(-5 * time.Minute), Left: 12 * time.Minute, Order: Order{action, now.Add(10 * time.Minute)}}, 10 * time.Minute},
		{"back by an hour", StandingOrder{Since: now.Add(55 * time.Minute), Left: 10 * time.Minute, Order: Order{action, now.Add(70 * time.Minute)}}, 10 * time.Minute},
		{"back by an hour, of an earlier version", StandingOrder{Since: now.Add(55 * time.Minute), Order: Order{action, now.Add(70 * time.Minute)}}, 15 * time.Minute},
		{"it was over, back by an hour", StandingOrder{Since: now.Add(30 * time.Minute), Left: -time.Minute, Order: Order{action, now.Add(40 * time.Minute)}}, 0},
		{"ahead", StandingOrder{Since: now.Add(-time.Hour), Left: 10 * time.Minute, Order: Order{action, now.Add(-45 * time.Minute)}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kept := memory(t)
			tt.kept.Service, tt.kept.State = "svc", ForcedOpen
			if err := kept.Save(ordersDoc, []StandingOrder{tt.kept}); err != nil {
				t.Fatal(err)
			}
			f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1")
			orders := f.Orders()
			if tt.most == 0 {
				if len(orders) > 0 {
					t.Errorf("%+v", orders)
				}
				return
			}
			if len(orders) != 1 {
				t.Fatalf("%+v", orders)
			}
			if left := time.Until(orders[0].Until); left > tt.most || left < tt.most-deadline {
				t.Errorf("it holds for %s, want %s", left, tt.most)
			}
			if _, operator := f.untilTold(t, shut); operator.ttl > tt.most {
				t.Errorf("the proxy keeps it for %s", operator.ttl)
			}
			f.stop()
			var saved []StandingOrder
			if _, err := kept.Load(ordersDoc, &saved); err != nil || len(saved) != 1 || saved[0].Left > tt.most || saved[0].Left <= 0 {
				t.Errorf("at the end it is kept as %+v, %v", saved, err)
			}
		})
	}
}
