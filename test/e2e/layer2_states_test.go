package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// layer2 is a policy of which layer 2 decides, for errors that are not in a row.
func layer2(service string, upstream any, timeout time.Duration, more ...string) string {
	breaker := fmt.Sprintf("breaker:\n  failure_threshold: 5\n  success_threshold: 2\n  timeout: %s", timeout)
	for _, m := range more {
		breaker += "\n  " + m
	}
	return at(service, upstream, "retry: off", breaker)
}

func TestLayer2TripsAndRecovers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		service string
		max     int
		b       *script
	}{{"one", 1, newScript(t)}, {"three", 3, newScript(t)}}
	docs := make([]string, len(tests))
	for i, tt := range tests {
		docs[i] = layer2(tt.service, tt.b, 2*time.Second, fmt.Sprintf("half_open: {max_requests: %d}", tt.max))
	}
	s := newLayer2(t, docs...)
	for _, tt := range tests {
		// 1. Closed: all requests pass, whatever fails, until the fifth failure is reported.
		s.trip(tt.service, tt.b)

		// 2. Open: none reaches the service, and each is answered at once.
		replies := s.mustBeOpen(tt.service, tt.b, 20)
		// The bound is the promise; the fastest keeps a busy machine out of it.
		fastest := slices.MinFunc(replies, func(a, b reply) int { return int(a.took - b.took) })
		if fastest.took > 5*time.Millisecond {
			t.Errorf("%s: an open breaker answers in %v, want below 5 ms", tt.service, fastest.took)
		}
		if got := replies[0].header.Get("Retry-After"); got != "2" {
			t.Errorf("%s: retry-after %q, want the breaker's 2 s", tt.service, got)
		}

		// 3. Half-open: no more than the probes are at the service at a time.
		g := newGate()
		tt.b.set(held(g))
		s.untilHalfOpen(tt.service)
		reached, replies := s.crowd(50, "/"+tt.service, tt.b.backend, g)
		// Two workers that decide in the same instant may exceed the limit by one.
		if reached < tt.max || reached > tt.max+1 {
			t.Errorf("%s: %d of 50 requests at a time reached the service, want %d", tt.service, reached, tt.max)
		}
		if got := byStatus(replies); got[http.StatusOK] != reached || got[http.StatusServiceUnavailable] != 50-reached {
			t.Errorf("%s: replies by status %v, want %d × 200 and 503 for the rest", tt.service, got, reached)
		}

		// 4. After two successes it is closed, and all requests pass.
		tt.b.set(good)
		s.untilCloses(tt.service)
		for _, r := range s.send(20, http.MethodGet, "/"+tt.service, "") {
			if r.status != http.StatusOK {
				t.Errorf("%s: closed again: %d %s", tt.service, r.status, r.body)
			}
		}
		gone := s.mustHaveGone(tt.service, "closed→open", "open→half_open", "half_open→closed")
		if len(gone) == 3 {
			if d := gone[1].At.Sub(gone[0].At); d < 1990*time.Millisecond || d > 4*time.Second {
				t.Errorf("%s: open for %v, want 2 s", tt.service, d)
			}
			if want := "5 of the last 9 attempts failed"; gone[0].Cause != want {
				t.Errorf("%s: opened because %q, want %q", tt.service, gone[0].Cause, want)
			}
		}
	}
}

func TestLayer2BacksOff(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, layer2("svc", b, 300*time.Millisecond, "backoff: 2", "max_timeout: 900ms"))
	s.trip("svc", b)
	// 1. One failure in half-open opens again.
	for range 3 {
		b.set(bad)
		s.untilHalfOpen("svc")
		if r := s.get("/svc"); r.status != http.StatusInternalServerError {
			t.Errorf("the probe is answered %d, want the service's own 500", r.status)
		}
		s.untilOpen("svc")
		s.mustBeOpen("svc", b, 3)
		if n := b.seen(); n != 1 {
			t.Errorf("%d probes reached the service, want 1", n)
		}
	}
	// 2. Once it has been closed it backs off from the beginning.
	b.set(good)
	s.untilHalfOpen("svc")
	s.untilCloses("svc")
	s.trip("svc", b)
	s.untilHalfOpen("svc")
	gone := s.mustHaveGone("svc", "closed→open", "open→half_open", "half_open→open", "open→half_open", "half_open→open",
		"open→half_open", "half_open→open", "open→half_open", "half_open→closed", "closed→open", "open→half_open")
	want := []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond, 900 * time.Millisecond, 300 * time.Millisecond}
	for i := range gone {
		if gone[i].From != "open" {
			continue
		}
		if d := gone[i].At.Sub(gone[i-1].At); d < want[0]-10*time.Millisecond || d > want[0]+700*time.Millisecond {
			t.Errorf("transition %d: open for %v, want %v", i+1, d, want[0])
		}
		want = want[1:]
	}
}

// When Envoy takes a host back that it had ejected, callers who were waiting for it do not all get through.
func TestLayer2TakesOverFromLayer1(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 3} {
		t.Run(fmt.Sprintf("max_requests %d", limit), func(t *testing.T) {
			t.Parallel()
			b := newScript(t)
			s := newLayer2(t, layer2("svc", b, time.Second, fmt.Sprintf("half_open: {max_requests: %d}", limit)))
			// 1. All requests of 50 callers fail: layer 1 opens, and layer 2 after it.
			b.set(after(20*time.Millisecond, bad))
			stop := s.workers(50, "/svc", 20*time.Millisecond)
			s.untilAllEjected("svc", 1)
			s.untilOpen("svc")
			s.until("nobody is at the service", func() error {
				if n := b.there(); n != 0 {
					return fmt.Errorf("%d are", n)
				}
				return nil
			})
			// 2. The service is well again, and slow. Until it has proved itself it has no more than the probes.
			b.set(after(100*time.Millisecond, good))
			s.untilIs("svc", "closed")
			stop()
			gone := s.mustHaveGone("svc", "closed→open", "open→half_open", "half_open→closed")
			if len(gone) != 3 {
				return
			}
			peak, arrived := b.peak(gone[2].At)
			t.Logf("before it closed %d requests reached the service, at most %d at a time; opened by: %s", arrived, peak, gone[0].Cause)
			// Two workers that decide in the same instant may exceed the limit by one.
			if peak > limit+1 || arrived == 0 {
				t.Errorf("%d requests were at the service at a time before it had proved itself, want at most %d", peak, limit)
			}
		})
	}
}

// A bad host among good ones is layer 1's business, however often it comes back.
func TestLayer2LeavesABadHostToLayer1(t *testing.T) {
	t.Parallel()
	a, c, dead := newScript(t), newScript(t), newScript(t)
	dead.set(bad)
	s := newLayer2(t, layer2("svc", hosts(a.addr, dead.addr, c.addr), 500*time.Millisecond))
	stop := s.workers(4, "/svc", 10*time.Millisecond)
	// Each time that Envoy takes it back it fails five times more.
	const cycles = 4
	s.until(fmt.Sprintf("the bad host was ejected %d times", cycles), func() error {
		if n := s.stat(s.envoy, "cluster.svc.outlier_detection.ejections_enforced_total"); n < cycles {
			return fmt.Errorf("%d times", n)
		}
		if got := s.breaker("svc"); got.State != "closed" {
			t.Fatalf("it is %+v", got)
		}
		return nil
	})
	replies := byStatus(stop())
	failed := dead.seen()
	if replies[http.StatusOK] != a.seen()+c.seen() || replies[http.StatusInternalServerError] != failed || len(replies) != 2 {
		t.Errorf("replies by status %v; the good hosts got %d and %d requests, the bad one %d", replies, a.seen(), c.seen(), failed)
	}
	if failed < 5*cycles {
		t.Errorf("%d requests reached the bad host in %d ejections", failed, cycles)
	}
	s.mustHaveGone("svc")
}
