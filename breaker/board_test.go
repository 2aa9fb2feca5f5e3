package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait for a condition.
const deadline = 10 * time.Second

// receive returns the next element as "service=state ...".
func receive(t *testing.T, ch <-chan iter.Seq[Breaker]) string {
	t.Helper()
	select {
	case next, ok := <-ch:
		if !ok {
			return "(closed)"
		}
		var out []string
		for b := range next {
			state := string(b.State)
			if b.Removed {
				state = "removed"
			}
			out = append(out, fmt.Sprintf("%s=%s", b.Service, state))
		}
		return strings.Join(out, " ")
	case <-time.After(deadline):
		t.Fatal("nothing comes from Watch")
		return ""
	}
}

func (f *fixture) look(t *testing.T, service string, want State) {
	t.Helper()
	if b, err := f.Breaker(t.Context(), service); err != nil || b.State != want {
		t.Fatalf("%s is %+v, %v; want %s", service, b, err, want)
	}
}

func TestReset(t *testing.T) {
	for _, tt := range []struct {
		name     string
		before   string
		after    string
		down     bool
		nack     bool
		pushed   bool
		note     string
		errorHas string
	}{
		{name: "nothing to clear", before: "..", after: "..", note: "nothing to clear"},
		{name: "cleared", before: "e.", after: "..", pushed: true, note: "cleared: 127.0.0.1:8001"},
		{name: "ejected again", before: "ee", after: ".e", pushed: true, note: "ejected again since: 127.0.0.1:8002"},
		{name: "not acknowledged", before: "e.", after: "e.", nack: true, pushed: true, errorHas: "did not accept generation 1"},
		{name: "admin unreachable", before: "..", after: "..", down: true, pushed: true, errorHas: "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, []*policy.Service{service("svc")}, "p1")
			e := f.envoys["p1"]
			e.set("svc", tt.before)
			e.setDown(tt.down)
			f.control.onPush = func() error { e.set("svc", tt.after); return nil }
			f.control.acks["p1"] = !tt.nack
			r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
			if err != nil || len(r.Proxies) != 1 || r.Pushed != tt.pushed || (f.control.pushes == 1) != tt.pushed || r.OK() != (tt.errorHas == "") {
				t.Fatalf("%+v, %v after %d pushes", r, err, f.control.pushes)
			}
			if p := r.Proxies[0]; !strings.Contains(p.Note, tt.note) || !strings.Contains(p.Error, tt.errorHas) {
				t.Errorf("%+v, want note %q and error %q", p, tt.note, tt.errorHas)
			}
		})
	}
}

func TestResetIsProvedBesideASilentProxy(t *testing.T) {
	t.Parallel()
	f := start(t, []*policy.Service{service("svc")}, "p1", "p2")
	e := f.envoys["p1"]
	e.set("svc", "e.")
	f.control.onPush = func() error { e.set("svc", ".."); return nil }
	f.control.acks["p1"], f.control.silent = true, "p2"
	r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
	if err != nil || len(r.Proxies) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, p := range r.Proxies {
		if p.Proxy == "p1" && (p.Error != "" || !p.Acknowledged) {
			t.Errorf("it has accepted and been seen, but %+v", p)
		}
		if p.Proxy == "p2" && !strings.Contains(p.Error, "did not accept") {
			t.Errorf("it has said nothing, but %+v", p)
		}
	}
}

func TestResetRefuses(t *testing.T) {
	f := start(t, []*policy.Service{service("dns", "example.test"), service("svc")}, "p1")
	for _, tt := range []struct {
		req  ResetRequest
		want error
	}{
		{ResetRequest{Service: "none"}, ErrUnknownService},
		{ResetRequest{Service: "svc", Host: "127.0.0.1:1"}, ErrUnknownHost},
		{ResetRequest{Service: "dns", Host: "example.test:8001"}, ErrHostNotResettable},
	} {
		if _, err := f.Reset(t.Context(), tt.req); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.req, err, tt.want)
		}
	}
	f.envoys["p1"].set("svc", "e.")
	if r, err := f.Reset(t.Context(), ResetRequest{Service: "svc", Host: "127.0.0.1:8002"}); err != nil || r.Pushed {
		t.Errorf("only the other host is ejected: %+v, %v", r, err)
	}
	f.control.onPush = func() error { return xds.ErrNotPublished }
	if _, err := f.Reset(t.Context(), ResetRequest{Service: "svc"}); !errors.Is(err, ErrUnknownService) {
		t.Errorf("not published: %v", err)
	}
	if _, err := start(t, []*policy.Service{service("svc")}).Reset(t.Context(), ResetRequest{Service: "svc"}); !errors.Is(err, ErrNoProxy) {
		t.Errorf("no proxy: %v", err)
	}
}

func TestWatch(t *testing.T) {
	f := start(t, []*policy.Service{service("a"), service("b")}, "p1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch := f.Watch(ctx, WatchQuery{})
	if got := receive(t, ch); got != "a=closed b=closed" {
		t.Fatalf("first element: %s", got)
	}
	// Each board does this as it begins, and may be as late with it as this. Without an order nothing changes.
	f.settle("a")
	f.settle("b")
	f.envoys["p1"].set("b", "uu")
	f.look(t, "b", Open)
	if got := receive(t, ch); got != "b=open" {
		t.Fatalf("b opened: %s", got)
	}

	// Nobody receives: one element may be waiting, all later changes become one more.
	for range 5 {
		f.envoys["p1"].set("a", "uu")
		f.look(t, "a", Open)
		f.envoys["p1"].set("a", "..")
		f.look(t, "a", Closed)
	}
	f.envoys["p1"].set("b", "..")
	f.look(t, "b", Closed)
	elements := 0
	for got := ""; !strings.Contains(got, "b=closed"); elements++ {
		got = receive(t, ch)
	}
	if elements > 2 {
		t.Errorf("11 changes came in %d elements, want at most 2", elements)
	}

	f.control.serve(service("b"))
	f.Served()
	if got := receive(t, ch); got != "a=removed b=closed" {
		t.Errorf("a is no longer served: %s", got)
	}
	cancel()
	if got := receive(t, ch); got != "(closed)" {
		t.Errorf("ctx ended: %s", got)
	}

	ch = f.Watch(t.Context(), WatchQuery{})
	receive(t, ch)
	f.stop()
	if got := receive(t, ch); got != "(closed)" {
		t.Errorf("the board ended: %s", got)
	}
	if got := receive(t, f.Watch(t.Context(), WatchQuery{})); got != "(closed)" {
		t.Errorf("Watch of an ended board: %s", got)
	}
}

func TestManyServices(t *testing.T) {
	var services []*policy.Service
	for i := range 2*chunk + 50 {
		services = append(services, service(fmt.Sprintf("s%03d", i)))
	}
	f := start(t, services, "p1")
	e := f.envoys["p1"]
	// known is how many services were seen, and how many hosts of the last are ejected.
	// It looks as a question does, but as long as it takes.
	known := func() (n, ejected int) {
		f.watchers["p1"].look(t.Context())
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, svc := range services {
			b := f.breaker(svc.Name)
			if b.State != Unknown {
				n++
			}
			ejected = b.Proxies[0].EjectedHosts
		}
		return n, ejected
	}
	// The first look was at one chunk; the gauge brings the last service in ahead of its turn.
	e.set("s449", "ee")
	if n, last := known(); n != 2*chunk+1 || last != 2 {
		t.Errorf("second look: %d known, %d hosts of the last are ejected", n, last)
	}
	if n, last := known(); n != len(services) || last != 2 {
		t.Errorf("third look: %d known, %d hosts of the last are ejected", n, last)
	}
	e.set("s449", "..")
	if _, last := known(); last != 0 {
		t.Errorf("an ejection that ended is looked at once more: %d", last)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stats != 5 {
		t.Errorf("%d calls of /stats in 4 looks and one for the overflows", e.stats)
	}
}

func TestProxiesComeAndGo(t *testing.T) {
	f := start(t, []*policy.Service{service("svc")}, "p1", "p2")
	ch := f.Watch(t.Context(), WatchQuery{})
	if got := receive(t, ch); got != "svc=closed" {
		t.Fatalf("first element: %s", got)
	}
	f.envoys["p2"].set("svc", "uu")
	b, err := f.Breaker(t.Context(), "svc")
	if err != nil || b.Summary != "open on 1 of 2 proxies" || b.Proxies[0].Proxy != "p1" {
		t.Errorf("p2 is open: %+v, %v", b, err)
	}
	if got := receive(t, ch); got != "svc=open" {
		t.Errorf("p2 is open: %s", got)
	}

	f.envoys["p2"].setDown(true)
	f.look(t, "svc", Unknown)
	if got := receive(t, ch); got != "svc=unknown" {
		t.Errorf("p2 does not answer: %s", got)
	}
	if h := f.Health()["p2"]; h.Reachable || !strings.Contains(h.Error, "503") {
		t.Errorf("health of p2: %+v", h)
	}
	f.envoys["p2"].setDown(false)
	f.look(t, "svc", Open)
	if got := receive(t, ch); got != "svc=open" {
		t.Errorf("p2 answers again: %s", got)
	}

	f.proxies.connect(xds.Proxy{ID: "p3"}) // names no admin port
	if got := receive(t, ch); got != "svc=unknown" {
		t.Errorf("only p3 is connected: %s", got)
	}
	if h := f.Health(); len(h) != 1 || !strings.Contains(h["p3"].Error, "admin port") {
		t.Errorf("only p3 is connected: %+v", h)
	}
	r, err := f.Reset(t.Context(), ResetRequest{Service: "svc"})
	if err != nil || !r.Pushed || r.OK() || !strings.Contains(r.Proxies[0].Error, "admin port") {
		t.Errorf("reset of a proxy that can not be asked: %+v, %v", r, err)
	}
	if _, err := f.Breaker(t.Context(), "none"); !errors.Is(err, ErrUnknownService) {
		t.Errorf("unknown service: %v", err)
	}
}

// What changes within the time between two elements is one element, and the last of it is never lost.
func TestWatchEvery(t *testing.T) {
	const every = 700 * time.Millisecond
	f := start(t, []*policy.Service{service("a"), service("b")}, "p1")
	e := f.envoys["p1"]
	ch := f.Watch(t.Context(), WatchQuery{Every: every})
	if got := receive(t, ch); got != "a=closed b=closed" {
		t.Fatalf("first element: %s", got)
	}
	last := time.Now()
	for round := range 2 {
		for _, state := range []State{Open, Closed, Open} {
			if round == 1 { // the other way round
				state = map[State]State{Open: Closed, Closed: Open}[state]
			}
			e.set("b", map[State]string{Open: "uu", Closed: ".."}[state])
			f.look(t, "b", state)
		}
		want := []string{"b=open", "b=closed"}[round]
		if got := receive(t, ch); got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
		if d := time.Since(last); d < every-20*time.Millisecond {
			t.Errorf("round %d came after %s", round, d)
		}
		last = time.Now()
	}
	// Nothing else was on its way.
	e.set("a", "uu")
	f.look(t, "a", Open)
	if got := receive(t, ch); got != "a=open" {
		t.Errorf("then: %s", got)
	}
}
