package e2e

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"testing"
	"time"
)

// share answers that percentage of requests with 500, as irregularly as a hash of their numbers is.
func share(percent uint32) answer {
	return func(n int, w http.ResponseWriter, r *http.Request) {
		hash := fnv.New32a()
		fmt.Fprint(hash, n)
		if hash.Sum32()%100 < percent {
			bad(n, w, r)
			return
		}
		good(n, w, r)
	}
}

// rated is a policy of which a rate alone decides; layer 1 ejects nobody but after a number in a row that chance does not
// reach.
func rated(service string, b *script, more string) string {
	return at(service, b, "retry: off", "breaker: {failure_threshold: off, failure_rate: 50%, min_requests: 20, window_size: 100, timeout: 1m}\n"+more)
}

func TestLayer2ByRate(t *testing.T) {
	t.Parallel()
	calm, sick := newScript(t), newScript(t)
	s := newLayer2(t, rated("calm", calm, ""), rated("sick", sick, ""))
	// 1. At 1 % errors it does not open.
	const requests, senders = 2000, 8
	calm.set(share(1))
	s.client.Transport = &http.Transport{MaxIdleConnsPerHost: senders}
	defer s.client.CloseIdleConnections()
	failures := make([]int, senders)
	concurrently(senders, func(i int) {
		for range requests / senders {
			r, err := s.try(http.MethodGet, "/calm", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if r.status != http.StatusOK {
				failures[i]++
			}
		}
	})
	total := 0
	for _, n := range failures {
		total += n
	}
	if calm.seen() != requests || total == 0 || total > requests/50 {
		t.Errorf("%d of %d requests reached it, and %d failed", calm.seen(), requests, total)
	}
	// 2. At 60 % it does.
	sick.set(func(n int, w http.ResponseWriter, r *http.Request) {
		if n%5 < 3 {
			bad(n, w, r)
			return
		}
		good(n, w, r)
	})
	start := time.Now()
	for sick.seen() < 20 {
		s.get("/sick")
	}
	s.untilOpen("sick")
	t.Logf("60 %% errors: open after %v", time.Since(start))
	s.mustBeOpen("sick", sick, 5)
	s.mustHaveGone("calm")
	s.mustHaveGone("sick", "closed→open")
}

// What a limit keeps from a service says nothing of it.
func TestLayer2TakesNoOverflowForAFailure(t *testing.T) {
	t.Parallel()
	const limits = "limits: {max_requests: 1, max_pending_requests: 1}"
	well, ill, tried := newScript(t), newScript(t), newScript(t)
	s := newLayer2(t,
		layer2("well", well, time.Minute)+limits+"\n",
		rated("ill", ill, limits),
		layer2("tried", tried, time.Second)+limits+"\n",
	)
	s.trip("tried", tried)
	// 1. A service that is well, and one that errs at 10 %, with far more callers than they take.
	well.set(after(5*time.Millisecond, good))
	ill.set(after(5*time.Millisecond, share(10)))
	// 2. And one that is half-open.
	tried.set(after(5*time.Millisecond, good))
	stops := []func() []reply{
		s.workers(50, "/well", 5*time.Millisecond), s.workers(25, "/ill", 5*time.Millisecond), s.workers(25, "/tried", 5*time.Millisecond),
	}
	s.untilIs("tried", "closed")
	before := well.seen()
	s.until("there is much more load", func() error {
		if n := well.seen() - before; n < 100 {
			return fmt.Errorf("%d requests reached it", n)
		}
		return nil
	})
	for i, stop := range stops {
		replies := stop()
		got := byStatus(replies)
		if got[http.StatusServiceUnavailable] < 100 {
			t.Errorf("load %d: replies by status %v, want overflows", i, got)
		}
	}
	s.mustHaveGone("well")
	s.mustHaveGone("ill")
	s.mustHaveGone("tried", "closed→open", "open→half_open", "half_open→closed")
}

// Nor do overflows hide a failure: under the same load a probe that fails opens again.
func TestLayer2SeesAFailureAmongOverflows(t *testing.T) {
	t.Parallel()
	const cycles = 4
	b := newScript(t)
	s := newLayer2(t, at("svc", b, "retry: off", "breaker: {failure_threshold: 5, success_threshold: 10, timeout: 300ms}"))
	s.trip("svc", b)
	b.set(after(20*time.Millisecond, alternating))
	stop := s.workers(50, "/svc", 5*time.Millisecond)
	s.until("it has opened again several times", func() error {
		if gone := s.transitions("svc"); len(gone) < 1+2*cycles {
			return fmt.Errorf("%v", gone)
		}
		return nil
	})
	stop()
	gone := s.transitions("svc")[:1+2*cycles]
	for i := 1; i < len(gone); i += 2 {
		half, again := gone[i], gone[i+1]
		if half.String() != "open→half_open" || again.String() != "half_open→open" {
			t.Fatalf("transitions %v", gone)
		}
	}
	_, reached := b.peak(gone[2*cycles].At)
	// A report comes every 100 ms, and there is time for five probes in between.
	if reached < cycles || reached > 10*cycles {
		t.Errorf("%d probes reached the service in %d times that it was half-open", reached, cycles)
	}
}
