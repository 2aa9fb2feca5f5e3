package breaker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// layer2Service opens at three failures, and for long unless a test says otherwise.
func layer2Service(change ...func(*policy.Service)) *policy.Service {
	svc := service("svc")
	svc.Breaker = policy.Breaker{
		FailureThreshold: policy.Count{N: 3, Set: true}, SuccessThreshold: 2, Timeout: time.Hour,
		WindowSize: 10, HalfOpenMaxRequests: 1, Backoff: 1, MaxTimeout: time.Hour,
	}
	for _, c := range change {
		c(svc)
	}
	return svc
}

func briefly(s *policy.Service) {
	s.Breaker.Timeout, s.Breaker.MaxTimeout = time.Millisecond, time.Millisecond
}

// attempts is a report of p1 of attempts at the first host of svc.
func attempts(successes, failures uint64) xds.LoadReport {
	return xds.LoadReport{Proxy: "p1", Services: []xds.ServiceLoad{{
		Service: "svc", Hosts: []xds.HostLoad{{Address: "127.0.0.1:8001", Successes: successes, Errors: failures, Issued: successes + failures}},
	}}}
}

// until waits for a condition: "" is that it holds.
func until(t *testing.T, what string, look func() string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		state := look()
		if state == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %s", what, deadline, state)
		}
	}
}

// untilState waits for the state of svc, as the board has it without looking.
func (f *fixture) untilState(t *testing.T, want State) {
	t.Helper()
	until(t, "svc is "+string(want), func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if b := f.breaker("svc"); b.State != want {
			return fmt.Sprintf("%+v", b)
		}
		return ""
	})
}

// untilTold waits until p1 has exactly these keys in its layers, the leases apart, and returns the layers.
func (f *fixture) untilTold(t *testing.T, want ...string) (breaker, operator told) {
	t.Helper()
	slices.Sort(want)
	until(t, "p1 is told "+strings.Join(want, ", "), func() string {
		breaker, operator = f.control.layers("p1")
		var got []string
		for _, layer := range []told{breaker, operator} {
			for key, value := range layer.keys {
				if !strings.HasPrefix(key, "breakwater.lease.") {
					got = append(got, fmt.Sprintf("%s=%v", key, value))
				}
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Sprint(got)
		}
		return ""
	})
	return breaker, operator
}

const shut = "upstream.maintenance_mode.svc=100"

// probing is what is told in half-open with n probes.
func probing(n int) []string {
	return []string{
		fmt.Sprintf("circuit_breakers.svc.default.max_requests=%d", n),
		fmt.Sprintf("circuit_breakers.svc.default.max_pending_requests=%d", n),
		"breakwater.half_open.svc=100",
	}
}

func TestReportsMoveTheBreaker(t *testing.T) {
	f := startWith(t, Options{Lease: time.Minute}, []*policy.Service{layer2Service(briefly, func(s *policy.Service) {
		s.Fallback = &policy.Fallback{Status: 200}
	})}, "p1")
	f.Report(attempts(5, 2))
	f.Report(attempts(0, 1))
	// It is open for a moment only: what it was told then is in the events.
	breaker, _ := f.untilTold(t, probing(1)...)
	if breaker.ttl != time.Minute {
		t.Errorf("the lease is %s, want the board's", breaker.ttl)
	}
	f.Report(attempts(1, 0))
	f.Report(attempts(0, 1))
	until(t, "it has opened again", func() string {
		if n := len(f.Events(EventFilter{})); n < 4 {
			return fmt.Sprintf("%d events", n)
		}
		return ""
	})
	f.untilState(t, HalfOpen)
	f.Report(attempts(2, 0))
	f.untilTold(t)
	f.untilState(t, Closed)
	var got []string
	for _, e := range f.Events(EventFilter{Service: "svc"}) {
		got = append(got, fmt.Sprintf("%d %s %s>%s", e.ID, e.Kind, e.From, e.To))
	}
	want := []string{
		"1 transition closed>open", "2 transition open>half_open", "3 transition half_open>open",
		"4 transition open>half_open", "5 transition half_open>closed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	b, err := f.Breaker(t.Context(), "svc")
	if err != nil || b.Proxies[0].Attempts != 12 || b.Proxies[0].Failures != 4 || b.Proxies[0].RecentAttempts != 0 {
		t.Errorf("%+v, %v", b.Proxies[0], err)
	}
}

func TestClosedSinceBeforeTheFirstAttempts(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	before, err := f.Breaker(t.Context(), "svc")
	if err != nil {
		t.Fatal(err)
	}
	f.Report(attempts(5, 0))
	until(t, "the attempts are counted", func() string {
		after, err := f.Breaker(t.Context(), "svc")
		if err != nil || after.Proxies[0].Attempts != 5 {
			return fmt.Sprintf("%+v, %v", after, err)
		}
		if got, want := after.Proxies[0].Since, before.Proxies[0].Since; !got.Equal(want) {
			t.Errorf("closed since %s, want %s", got, want)
		}
		return ""
	})
}

func TestOpenIsToldAndRenewed(t *testing.T) {
	f := startWith(t, Options{Lease: 30 * time.Millisecond}, []*policy.Service{layer2Service(func(s *policy.Service) {
		s.Fallback = &policy.Fallback{Status: 200}
	})}, "p1")
	f.Report(attempts(0, 3))
	first, _ := f.untilTold(t, shut, "breakwater.fallback.svc=100")
	until(t, "the lease is renewed", func() string {
		now, _ := f.control.layers("p1")
		if now.keys[breakerLease] == first.keys[breakerLease] {
			return fmt.Sprint(now)
		}
		return ""
	})
	f.untilState(t, Open)
}

func TestLayer1HandsOver(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].set("svc", "ee")
	f.look(t, "svc", Open)
	f.untilTold(t, shut)
	f.envoys["p1"].set("svc", "..")
	f.look(t, "svc", Open) // for its timeout, though Envoy has its hosts back
	f.untilTold(t, shut)
}

func TestEjectionsAreEvents(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	for _, hosts := range []string{"e.", ".e", ".."} {
		f.envoys["p1"].set("svc", hosts)
		f.look(t, "svc", Closed)
	}
	var got []string
	for _, e := range f.Events(EventFilter{}) {
		got = append(got, fmt.Sprintf("%s %s %s", e.Proxy, e.Kind, e.Host))
	}
	want := []string{
		"p1 host_ejected 127.0.0.1:8001", "p1 host_returned 127.0.0.1:8001", "p1 host_ejected 127.0.0.1:8002",
		"p1 host_returned 127.0.0.1:8002",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What led to the ejections is reported after them.
func TestWhatOpenedItIsInTheWindow(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].set("svc", "ee")
	f.look(t, "svc", Open)
	f.report(t, attempts(0, 3))
	f.report(t, attempts(0, 2)) // what was in flight
	b, err := f.Breaker(t.Context(), "svc")
	if p := b.Proxies[0]; err != nil || p.RecentErrors != 3 || p.RecentAttempts != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestFailuresOfAnEjectedHostDoNotOpen(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].set("svc", "e.")
	for range 3 {
		f.Report(attempts(1, 5))
	}
	until(t, "all is reported", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if p := f.breaker("svc").Proxies[0]; p.Attempts != 18 || p.RecentErrors != 0 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	f.untilState(t, Closed)
	f.untilTold(t)
}

func TestUnseenLayer1DoesNotKeepItClosed(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.envoys["p1"].setDown(true)
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	f.untilState(t, Open) // what it was told is known
}

func TestOverflowsAreNotErrors(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	e := f.envoys["p1"]
	until(t, "what overflowed before is known", func() string {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.stats == 0 {
			return "it was not asked for"
		}
		return ""
	})
	overflow := func(total int, dropped, errors uint64) {
		e.mu.Lock()
		e.counters = map[string]int{"cluster.svc.upstream_rq_active_overflow": total}
		e.mu.Unlock()
		r := attempts(0, errors)
		r.Services[0].Dropped = dropped
		f.report(t, r)
	}
	overflow(10, 10, 10) // all of them
	overflow(15, 5, 5)
	f.untilState(t, Closed)
	overflow(15, 7, 3) // all were over max_pending_requests: these errors are the service's own
	f.untilState(t, Open)
}

// report reports, and waits until that is dealt with.
func (f *fixture) report(t *testing.T, r xds.LoadReport) {
	t.Helper()
	before := time.Now()
	f.Report(r)
	until(t, "the report is dealt with", func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		if at := f.watchers[r.Proxy].reported; !at.After(before) {
			return "the last was at " + at.String()
		}
		return ""
	})
}

func TestShadowActsOnNothing(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service(func(s *policy.Service) { s.Breaker.Shadow = true })}, "p1")
	f.untilShadow(t, Closed)
	f.Report(attempts(0, 3))
	until(t, "it would be open", func() string {
		b, err := f.Breaker(t.Context(), "svc")
		if p := b.Proxies[0]; err != nil || b.State != Closed || !p.Shadow || p.ShadowState != Open {
			return fmt.Sprintf("%+v, %v", b, err)
		}
		return ""
	})
	f.untilTold(t)
	if e := f.Events(EventFilter{Limit: 1}); len(e) != 1 || !e[0].Shadow || e[0].To != Open {
		t.Errorf("events %+v", e)
	}
}

func TestResetOfWhatLayer2HasOpened(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilTold(t, shut)
	r, err := f.Reset(t.Context(), ResetRequest{Service: "svc", Action: Action{Actor: "ann", Reason: "mended"}})
	if err != nil || !r.OK() || !r.Pushed || r.Proxies[0].From != Open || r.Proxies[0].Note != "closed: the breaker was open" {
		t.Errorf("%+v, %v", r, err)
	}
	if f.control.pushes != 0 {
		t.Error("the cluster was replaced, though nothing was ejected")
	}
	f.untilTold(t)
	f.look(t, "svc", Closed)
	// The next report is in part of before the reset.
	f.report(t, attempts(0, 3))
	f.report(t, attempts(0, 2))
	f.look(t, "svc", Closed)
	e := f.Events(EventFilter{})
	if x := e[len(e)-2]; x.Kind != WasReset || x.Actor != "ann" || x.Cause != "mended" {
		t.Errorf("the event before the transition is %+v", x)
	}
}

func TestFollowEvents(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.Report(attempts(0, 3))
	f.untilState(t, Open)
	ch := f.FollowEvents(t.Context(), EventFilter{Service: "svc", Limit: 5})
	next := func() Event {
		t.Helper()
		select {
		case e, ok := <-ch:
			if !ok {
				t.Fatal("the channel is closed")
			}
			return e
		case <-time.After(deadline):
			t.Fatal("no event comes")
		}
		return Event{}
	}
	if e := next(); e.To != Open {
		t.Errorf("%+v, want what was before", e)
	}
	if _, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); err != nil {
		t.Fatal(err)
	}
	if a, b := next(), next(); a.Kind != WasReset || b.To != Closed || b.ID != a.ID+1 {
		t.Errorf("%+v, %+v", a, b)
	}
	f.stop()
	if _, ok := <-ch; ok {
		t.Error("more events than happened")
	}
}
