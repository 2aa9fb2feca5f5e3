package breaker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// again is p1 on its next stream.
func (f *fixture) again() xds.Proxy {
	p := f.proxies.Connected()[0]
	p.Since = p.Since.Add(time.Second)
	return p
}

// A proxy whose connection broke without a word is back before its old stream has ended.
func TestReconnectBeforeTheOldStreamEnds(t *testing.T) {
	f := startWith(t, Options{Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	p := f.again()
	for range 2 { // it can break again before the board has noticed
		if layers := f.Join(p); layers.Breaker.Keys.AsMap()["upstream.maintenance_mode.svc"] != 100.0 {
			t.Fatalf("it is told %v, and its breaker was open", layers.Breaker)
		}
	}
	f.proxies.connect(p)
	f.untilState(t, Open)
	for _, e := range f.Events(EventFilter{}) {
		if e.Kind == Lapsed || e.To == Closed {
			t.Errorf("%+v", e)
		}
	}
}

// One that joined, and was gone before it was watched, must not find its breaker open after its lease.
func TestJoinIsNoLease(t *testing.T) {
	f := startWith(t, Options{Lease: time.Minute}, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	p := f.again()
	f.Join(p)
	f.mu.Lock()
	j := f.joined["p1"]
	j.at = j.at.Add(-time.Minute)
	f.joined["p1"] = j
	f.mu.Unlock()
	if layers := f.Join(p); len(layers.Breaker.Keys.AsMap()) > 0 {
		t.Errorf("it is told %v", layers.Breaker)
	}
	if e := f.Events(EventFilter{Limit: 1}); len(e) != 1 || e[0].Kind != Lapsed {
		t.Errorf("the last event is %+v, want the lapse", e)
	}
}

func TestFormerStreamConcludesNothing(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.mu.Lock()
	former := f.watchers["p1"]
	f.mu.Unlock()
	f.Join(f.again())
	former.take(t.Context(), arrived{attempts(0, 3), time.Now()})
	former.look(t.Context(), "svc")
	if breaker, _ := f.control.layers("p1"); len(breaker.keys) > 0 {
		t.Errorf("the proxy is told %v", breaker.keys)
	}
	if e := f.Events(EventFilter{}); len(e) > 0 {
		t.Errorf("events %+v", e)
	}
}

// An order that comes after a proxy was told its layers and before it is watched holds there too, and so does a release.
func TestOrderWhileAProxyJoins(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p0")
	f.Join(xds.Proxy{ID: "p1", Since: time.Unix(1, 0)})
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen}); err != nil {
		t.Fatal(err)
	}
	f.proxies.connect(xds.Proxy{ID: "p1", Since: time.Unix(1, 0)})
	f.untilTold(t, shut)
	f.Join(xds.Proxy{ID: "p1", Since: time.Unix(2, 0)})
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: Closed}); err != nil {
		t.Fatal(err)
	}
	f.proxies.connect(xds.Proxy{ID: "p1", Since: time.Unix(2, 0)})
	f.untilTold(t)
}

// A service that is back with an order gets it, though something of it was seen already.
func TestOrderOfAServiceThatIsBack(t *testing.T) {
	svc := layer2Service()
	f := start(t, []*policy.Service{svc}, "p1")
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen}); err != nil {
		t.Fatal(err)
	}
	f.control.serve()
	f.Served()
	f.untilTold(t)
	f.control.serve(svc)
	f.report(t, attempts(1, 0))
	f.Served()
	f.untilTold(t, shut)
}

func TestHangingProxyDelaysNothing(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	hung := f.envoys["p1"].hangUp(t)
	f.mu.Lock()
	w := f.watchers["p1"]
	f.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go w.look(ctx) // as the watcher does by itself: it has no hurry
	<-hung
	// The call gives up after 5 s. Half of that is more than what waits for it may take.
	start := time.Now()
	f.Breakers(t.Context(), Query{})
	if d := time.Since(start); d > 2500*time.Millisecond {
		t.Errorf("the question took %s", d)
	}
	start = time.Now()
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	if d := time.Since(start); d > 2500*time.Millisecond {
		t.Errorf("it opened after %s", d)
	}
}

// A lease is renewed though everything that is asked of the proxy hangs.
func TestHangingProxyKeepsItsLease(t *testing.T) {
	const lease = 400 * time.Millisecond
	other := service("other")
	other.Breaker = policy.Breaker{FailureThreshold: policy.Count{N: 1000, Set: true}, Timeout: time.Hour, WindowSize: 1000}
	f := startWith(t, Options{Lease: lease}, []*policy.Service{other, layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	told, _ := f.untilTold(t, shut)
	f.envoys["p1"].hangUp(t)
	failure := attempts(0, 1)
	failure.Services[0].Service = "other" // each is a question, which takes 500 ms now
	at, longest := time.Now(), time.Duration(0)
	for range 3 {
		f.Report(failure)
	}
	until(t, "all is reported", func() string {
		if now, _ := f.control.layers("p1"); now.keys[breakerLease] != told.keys[breakerLease] {
			longest, at, told = max(longest, time.Since(at)), time.Now(), now
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if p := f.breaker("other").Proxies[0]; p.Failures < 3 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	if longest = max(longest, time.Since(at)); longest >= lease {
		t.Errorf("it was not renewed for %s, and the lease is %s", longest, lease)
	}
}

// A proxy that goes on being silent is no news.
func TestSilenceIsToldOnce(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].setDown(true)
	s := &subscriber{pending: map[string]bool{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	f.mu.Lock()
	w := f.watchers["p1"]
	f.subscribers[s] = struct{}{}
	f.mu.Unlock()
	w.look(t.Context())
	select {
	case <-s.wake:
	default:
		t.Error("nobody is told that it fell silent")
	}
	w.look(t.Context())
	select {
	case <-s.wake:
		t.Error("it is told again")
	default:
	}
}
