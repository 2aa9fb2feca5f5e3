package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// A request that began before the breaker opened and goes on holds a slot of half-open, but not that of the probes.
func TestLayer2ProbesBesideALongStream(t *testing.T) {
	t.Parallel()
	for _, streams := range []int{1, 5} {
		t.Run(fmt.Sprintf("%d streams", streams), func(t *testing.T) {
			t.Parallel()
			b := newScript(t)
			s := newLayer2(t, layer2("svc", b, time.Second))
			// 1. Streams begin.
			g := newGate()
			b.set(held(g))
			done := make(chan []reply, 1)
			go func() { done <- s.send(streams, http.MethodGet, "/svc", "") }()
			s.until("the streams have begun", func() error {
				if n := b.there(); n != streams {
					return fmt.Errorf("%d have", n)
				}
				return nil
			})
			// 2. It opens while they go on.
			s.trip("svc", b)
			s.mustBeOpen("svc", b, 5)
			// 3. Half-open has room for one probe beside them.
			probe := newGate()
			b.set(held(probe))
			s.untilHalfOpen("svc")
			reached, _ := s.crowd(20, "/svc", b.backend, probe)
			if reached < 1 || reached > 2 {
				t.Errorf("%d of 20 requests at a time reached the service beside the streams, want 1", reached)
			}
			// 4. It closes while they go on.
			b.set(good)
			s.untilCloses("svc")
			if n := b.there(); n != streams {
				t.Errorf("%d streams are left, want %d", n, streams)
			}
			g.release()
			if got := byStatus(<-done); got[http.StatusOK] != streams {
				t.Errorf("the streams ended with %v", got)
			}
			s.mustHaveGone("svc", "closed→open", "open→half_open", "half_open→closed")
		})
	}
}

// A stream of before that ends while it is half-open takes its slot with it.
func TestLayer2LongStreamEndsInHalfOpen(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, layer2("svc", b, time.Second))
	g := newGate()
	b.set(held(g))
	done := make(chan []reply, 1)
	go func() { done <- s.send(1, http.MethodGet, "/svc", "") }()
	s.until("the stream has begun", func() error {
		if n := b.there(); n != 1 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	s.trip("svc", b)
	s.untilHalfOpen("svc")
	g.release()
	<-done
	// Its success alone is no probe's.
	s.until("the permit is down to the probes", func() error {
		keys, err := s.envoy.Admin().Runtime(t.Context())
		if err != nil {
			return err
		}
		if got := keys["circuit_breakers.svc.default.max_requests"]; got != "1" {
			return fmt.Errorf("max_requests is %q", got)
		}
		return nil
	})
	if got := s.breaker("svc").State; got != "half_open" {
		t.Errorf("it is %s, want half_open", got)
	}
	probe := newGate()
	b.set(held(probe))
	if reached, _ := s.crowd(20, "/svc", b.backend, probe); reached < 1 || reached > 2 {
		t.Errorf("%d of 20 requests at a time reached the service, want 1", reached)
	}
	b.set(good)
	s.untilCloses("svc")
}

// A probe is one attempt: one that is retried would be several, and the failure of each would be hidden.
func TestLayer2DoesNotRetryProbes(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, at("svc", b, "retry: {max_retries: 3, "+quick+"}", "breaker: {failure_threshold: 5, timeout: 1s}"))
	// 1. Closed: what fails is tried again.
	b.set(alternating)
	for range 5 {
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("the retry is answered %d", r.status)
		}
	}
	if n := b.seen(); n != 10 {
		t.Errorf("%d attempts at 5 requests, want 10", n)
	}
	s.untilOpen("svc")
	// 2. Half-open: it is not.
	b.set(bad)
	b.take()
	s.untilHalfOpen("svc")
	if r := s.get("/svc"); r.status != http.StatusInternalServerError {
		t.Errorf("the probe is answered %d", r.status)
	}
	s.untilOpen("svc")
	if got := b.take(); len(got) != 1 || got[0].attempt() != "1" {
		t.Errorf("%d attempts in half-open, want 1", len(got))
	}
	// 3. Closed again: it is.
	b.set(good)
	s.untilHalfOpen("svc")
	s.untilCloses("svc")
	b.set(alternating)
	if r := s.get("/svc"); r.status != http.StatusOK || b.seen() != 2 {
		t.Errorf("closed again: %d after %d attempts", r.status, b.seen())
	}
	s.mustHaveGone("svc", "closed→open", "open→half_open", "half_open→open", "open→half_open", "half_open→closed")
}
