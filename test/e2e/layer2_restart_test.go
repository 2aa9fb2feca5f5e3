package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// ends are the ways in which Breakwater ends.
var ends = []struct {
	how string
	do  func(*stack)
}{{"kill -9", (*stack).kill}, {"SIGTERM", (*stack).stop}}

// newLayer2On is newLayer2 with a bootstrap and further arguments of serve.
func newLayer2On(t *testing.T, change []func(*bootstrapv3.Bootstrap), args []string, docs ...string) *stack {
	t.Helper()
	s := newPlane(t, quiet(docs...), append(args, jsonLog...)...)
	s.envoy = s.startEnvoy("e2e", change...)
	s.untilReporting()
	return s
}

// restart starts Breakwater again and waits until its proxy is back. Envoy waits for five seconds before it
// reports its load again.
func (s *stack) restart() {
	s.t.Helper()
	s.start()
	s.untilConnected(1)
}

// While Breakwater is away its breakers stay what they are, and afterwards they go on from there.
func TestLayer2OutlivesBreakwater(t *testing.T) {
	t.Parallel()
	closed, open, half := newScript(t), newScript(t), newScript(t)
	s := newLayer2On(t, nil, nil,
		layer2("closed", closed, time.Second), layer2("open", open, time.Minute), layer2("half", half, time.Second))
	// 1. One service is closed, one open and one half-open.
	s.trip("open", open)
	s.trip("half", half)
	s.untilHalfOpen("half")
	opened := s.transitions("open")
	for _, end := range ends {
		// 2. Breakwater ends, stays away, and comes back, while requests go on.
		stop := s.workers(2, "/open", 5*time.Millisecond)
		end.do(s)
		g := newGate()
		half.set(held(g))
		// Two workers that decide in the same instant may exceed the limit by one.
		if reached, _ := s.crowd(20, "/half", half.backend, g); reached < 1 || reached > 2 {
			t.Errorf("%s: half-open and alone: %d of 20 requests reached the service, want 1", end.how, reached)
		}
		half.set(good)
		for range 5 {
			if r := s.get("/closed"); r.status != http.StatusOK {
				t.Errorf("%s: closed and alone: %d", end.how, r.status)
			}
		}
		s.restart()

		// 3. Each is in the state that it was in, and no request reached what is open.
		for service, want := range map[string]string{"closed": "closed", "open": "open", "half": "half_open"} {
			s.untilIs(service, want)
		}
		for _, r := range stop() {
			if err := r.isOpen(); err != nil {
				t.Errorf("%s: %v", end.how, err)
				break
			}
		}
		if n := open.seen(); n != 0 {
			t.Errorf("%s: %d requests reached an open service", end.how, n)
		}
		if got := s.transitions("open"); len(got) != len(opened) {
			t.Errorf("%s: transitions %v since", end.how, got[len(opened):])
		}
	}
	// 4. Each goes on.
	s.untilReporting()
	s.untilCloses("half")
	s.trip("closed", closed)
	s.mustBeOpen("closed", closed, 3)
}

// What Envoy was told is never forgotten, though Breakwater ends in the instant in which it has said so.
func TestLayer2KilledAsItOpens(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2On(t, nil, nil, layer2("svc", b, time.Minute))
	b.set(alternating)
	// No pause between two requests: it is killed within a millisecond or two of the effect.
	for start := time.Now(); s.get("/svc").status != http.StatusServiceUnavailable; {
		if time.Since(start) > 15*time.Second {
			t.Fatal("no request is refused")
		}
	}
	s.kill()
	s.restart()
	s.untilIs("svc", "open")
	s.mustBeOpen("svc", b, 3)
	s.mustHaveGone("svc", "closed→open")
}

// An open breaker must not stay open for ever because nobody is there to close it.
func TestLayer2LeaseRunsOut(t *testing.T) {
	t.Parallel()
	const lease = 2 * time.Second
	b := newScript(t)
	s := newLayer2On(t, nil, []string{"--lease", lease.String()}, layer2("svc", b, time.Minute))
	s.trip("svc", b)
	// 1. While Breakwater is there it is open for longer than the lease.
	start := time.Now()
	s.until("the lease was renewed several times", func() error {
		s.mustBeOpen("svc", b, 1)
		if d := time.Since(start); d < lease*3/2 {
			return fmt.Errorf("%v have gone by", d)
		}
		return nil
	})
	// 2. When it is not, Envoy lets requests through once the lease is over, and not before.
	s.kill()
	gone := time.Now()
	s.until("requests pass again", func() error {
		if r := s.get("/svc"); r.status != http.StatusOK {
			return r.asError()
		}
		return nil
	})
	// It was renewed up to a third of the lease before.
	if took := time.Since(gone); took < lease*2/3-300*time.Millisecond || took > lease+time.Second {
		t.Errorf("requests pass %v after Breakwater was killed, want %v at most", took, lease)
	}
	// 3. When it is back it says so.
	s.restart()
	s.untilIs("svc", "closed")
	gones := s.mustHaveGone("svc", "closed→open", "open→closed")
	if cause := gones[len(gones)-1].Cause; !strings.Contains(cause, "lease") {
		t.Errorf("it closed because %q", cause)
	}
	for range 5 {
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("closed: %d", r.status)
		}
	}
}

// asError says what the reply is.
func (r reply) asError() error { return fmt.Errorf("%d %s", r.status, r.body) }
