package breaker

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// Documents that are edited by hand open nothing that no one could close.
func TestAbsurdMemory(t *testing.T) {
	kept, now := memory(t), time.Now()
	forced := Snapshot{Now: now, Since: now, State: ForcedOpen, Order: &Order{}}
	for name, doc := range map[string]any{
		breakersDoc: map[string]any{"p1": parked{At: now, Snapshots: map[string]Snapshot{"svc": forced}}, "p2": nil},
		ordersDoc:   []StandingOrder{{Service: "svc", State: Open}, {Service: "svc", Proxy: "p1"}, {Service: "svc", Proxy: "p2", State: Disabled}, {}},
		eventsDoc:   []Event{{ID: 7, Service: "a"}, {ID: math.MaxUint64, Service: "b"}, {ID: 3, Service: "c"}},
	} {
		if err := kept.Save(name, doc); err != nil {
			t.Fatal(err)
		}
	}
	f := startWith(t, Options{Memory: kept}, []*policy.Service{layer2Service()}, "p1", "p2")
	if layers := f.Join(xds.Proxy{ID: "p3"}); len(layers.Operator.Keys.AsMap()) > 0 {
		t.Errorf("one that joins is told %v", layers.Operator)
	}
	f.untilTold(t)
	if o := f.Orders(); len(o) > 0 {
		t.Errorf("orders %+v", o)
	}
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	var got []uint64
	for _, e := range f.Events(EventFilter{}) {
		got = append(got, e.ID)
	}
	if len(got) != 4 || got[0] != 1 || got[3] != 4 {
		t.Errorf("the events have the ids %v", got)
	}
}

// untilShadow waits for the state that svc would have.
func (f *fixture) untilShadow(t *testing.T, want State) {
	t.Helper()
	until(t, "svc would be "+string(want), func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p := f.breaker("svc").Proxies[0]; p.ShadowState != want {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
}

// A breaker in shadow has no lease that could run out.
func TestShadowDoesNotLapse(t *testing.T) {
	kept, svc := memory(t), layer2Service(func(s *policy.Service) { s.Breaker.Shadow = true })
	f := startWith(t, Options{Memory: kept}, []*policy.Service{svc}, "p1")
	f.Report(attempts(0, 3))
	f.untilShadow(t, Open)
	f.stop()
	g := NewBoard(Options{Control: f.control, Proxies: f.proxies, Layers: f.control, Memory: kept})
	g.Join(xds.Proxy{ID: "p1"})
	if e := g.Events(EventFilter{Limit: 1}); len(e) != 1 || e[0].Kind != Transitioned {
		t.Errorf("the last event is %+v, want that it would have opened", e)
	}
}
