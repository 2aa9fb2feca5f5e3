package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRetryByMethodAndCondition counts the attempts that reach a service which only fails.
func TestRetryByMethodAndCondition(t *testing.T) {
	t.Parallel()
	unavailable := newBackend(t, always(http.StatusServiceUnavailable))
	busy := newBackend(t, always(http.StatusTooManyRequests))
	rude := newBackend(t, breakOff)
	s := newStack(t, policies(
		at("plain", unavailable, neverEjected, "retry: {"+quick+"}"),
		at("twice", unavailable, neverEjected, "retry: {max_retries: 2, "+quick+"}"),
		at("posts", unavailable, neverEjected, "retry: {methods: [POST], "+quick+"}"),
		at("nothing", unavailable, neverEjected, "retry: off"),
		at("zero", unavailable, neverEjected, "retry: {max_retries: 0}"),
		at("limited", busy, neverEjected, "retry: {on: [429], "+quick+"}"),
		at("limited-not", busy, neverEjected, "retry: {"+quick+"}"),
		at("limited-503", unavailable, neverEjected, "retry: {on: [429], "+quick+"}"),
		at("rude", rude, neverEjected, "retry: {"+quick+"}"),
		at("rude-posts", rude, neverEjected, "retry: {methods: [POST], "+quick+"}"),
	))
	for _, tt := range []struct {
		method, path string
		backend      *backend
		status       int
		attempts     int
	}{
		{"GET", "/plain", unavailable, 503, 4},
		{"HEAD", "/plain", unavailable, 503, 4},
		{"PUT", "/plain", unavailable, 503, 4},
		{"DELETE", "/plain", unavailable, 503, 4},
		{"OPTIONS", "/plain", unavailable, 503, 4},
		{"POST", "/plain", unavailable, 503, 1},
		{"PATCH", "/plain", unavailable, 503, 1},
		{"GET", "/twice", unavailable, 503, 3},
		{"POST", "/posts", unavailable, 503, 4},
		{"GET", "/posts", unavailable, 503, 1},
		{"GET", "/nothing", unavailable, 503, 1},
		{"GET", "/zero", unavailable, 503, 1},
		{"GET", "/limited", busy, 429, 4},
		{"POST", "/limited", busy, 429, 1},
		{"GET", "/limited-not", busy, 429, 1},
		{"GET", "/limited-503", unavailable, 503, 1},
		// The connection ends after the service has read the request: nobody knows what it did.
		{"GET", "/rude", rude, 503, 4},
		{"POST", "/rude", rude, 503, 1},
		{"POST", "/rude-posts", rude, 503, 4},
	} {
		r := s.send(1, tt.method, tt.path, "a body")[0]
		if r.status != tt.status {
			t.Errorf("%s %s: status %d, want %d: %s", tt.method, tt.path, r.status, tt.status, r.body)
		}
		got := tt.backend.take()
		if len(got) != tt.attempts {
			t.Errorf("%s %s: %d attempts, want %d", tt.method, tt.path, len(got), tt.attempts)
		}
		for i, a := range got {
			if a.attempt() != fmt.Sprint(i+1) || a.body != "a body" {
				t.Errorf("%s %s: attempt %d says that it is %q, and has the body %q", tt.method, tt.path, i+1, a.attempt(), a.body)
			}
		}
		if tt.backend == rude {
			if err := r.fails(strings.TrimPrefix(tt.path, "/"), tt.status, "upstream_reset"); err != nil {
				t.Errorf("%s %s: %v", tt.method, tt.path, err)
			}
		}
	}
}

// A POST whose connection is refused never reached anybody: it goes to the other host, once, whole.
func TestRefusedPostReachesTheOtherHostOnce(t *testing.T) {
	t.Parallel()
	live := newBackend(t, always(http.StatusNoContent))
	s := newStack(t, policies(at("pay", hosts(closedPort(t), live.addr), neverEjected, "retry: {max_retries: 1, "+quick+"}")))
	const requests = 20
	seen, second := map[string]int{}, 0
	for i := range requests {
		body := fmt.Sprintf("payment %d", i)
		if r := s.send(1, http.MethodPost, "/pay", body)[0]; r.status != http.StatusNoContent {
			t.Errorf("%s: %d: %s", body, r.status, r.body)
		}
	}
	for _, a := range live.take() {
		seen[a.body]++
		if a.attempt() == "2" {
			second++
		}
	}
	for i := range requests {
		if body := fmt.Sprintf("payment %d", i); seen[body] != 1 {
			t.Errorf("%s arrived %d times", body, seen[body])
		}
	}
	if second < requests/4 {
		t.Errorf("%d of %d were second attempts: the closed port was hardly tried", second, requests)
	}
}

func TestRetryAvoidsTheHostThatFailed(t *testing.T) {
	t.Parallel()
	bad, good := newBackend(t, always(http.StatusServiceUnavailable)), newBackend(t, always(http.StatusOK))
	s := newStack(t, policies(at("svc", hosts(bad.addr, good.addr), neverEjected, "retry: {max_retries: 1, "+quick+"}")))
	const requests = 40
	for i := range requests {
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("request %d: %d", i+1, r.status)
		}
	}
	if n := len(bad.take()); n < requests/4 {
		t.Errorf("the failing host got %d of %d requests: the test shows little", n, requests)
	}
	if n := len(good.take()); n != requests {
		t.Errorf("the good host got %d requests, want each of %d once", n, requests)
	}
}

// TestRetryBudget fails many requests at the same moment and counts the retries that follow.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	const requests = 60
	for _, tt := range []struct {
		budget   string
		min, max int
	}{
		// 20 % of the requests that are active, and never fewer than three. Workers that decide
		// in the same instant may each exceed it by one.
		{"20%", 3, requests/5 + 2},
		// Fewer are active with each that has failed, so that it meets the retries half-way.
		{"100%", requests / 3, requests},
	} {
		t.Run(tt.budget, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			first, answered := 0, make(chan struct{})
			allArrived := make(chan struct{})
			u := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
				wait := (<-chan struct{})(answered)
				code := http.StatusOK
				if r.Header.Get("X-Envoy-Attempt-Count") == "1" {
					mu.Lock()
					if first++; first == requests {
						close(allArrived)
					}
					mu.Unlock()
					wait, code = allArrived, http.StatusServiceUnavailable
				}
				select {
				case <-wait:
					w.WriteHeader(code)
				case <-r.Context().Done():
				}
			})
			s := newStack(t, policies(at("svc", u, neverEjected, "retry: {max_retries: 3, budget: "+tt.budget+", "+quick+"}")))
			replies := make(chan []reply)
			go func() { replies <- s.send(requests, http.MethodGet, "/svc", "") }()
			// The retries are held until every request has either failed or been tried again.
			s.until("all requests have failed or are tried again", func() error {
				overflow := s.stat(s.envoy, "cluster.svc.upstream_rq_retry_overflow")
				if arrived := len(u.got()); arrived+int(overflow) != 2*requests {
					return fmt.Errorf("%d arrived, %d were not to be tried again", arrived, overflow)
				}
				return nil
			})
			close(answered)
			got := byStatus(<-replies)
			retries := len(u.take()) - requests
			t.Logf("budget %s: %d retries of %d requests", tt.budget, retries, requests)
			if retries < tt.min || retries > tt.max {
				t.Errorf("%d retries, want %d to %d", retries, tt.min, tt.max)
			}
			if got[http.StatusOK] != retries || got[http.StatusServiceUnavailable] != requests-retries {
				t.Errorf("%d retries, and replies by status %v", retries, got)
			}
		})
	}
}

func TestBackOffOfEachAttempt(t *testing.T) {
	t.Parallel()
	u := newBackend(t, always(http.StatusServiceUnavailable))
	s := newStack(t, policies(at("svc", u, neverEjected, "retry: {max_retries: 4, base_delay: 100ms, max_delay: 400ms}")))
	// Envoy draws the n-th delay from 0 to (2^n - 1) times the base, at most max_delay
	// (its documentation of the router filter, x-envoy-max-retries).
	bounds := []time.Duration{100 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond, 400 * time.Millisecond}
	const slack = 400 * time.Millisecond // for a busy machine
	const rounds, parallel = 3, 3        // three retries at a time are within every budget
	var total time.Duration
	for range rounds {
		s.send(parallel, http.MethodGet, "/svc", "")
		byRequest := map[string][]arrival{}
		for _, a := range u.take() {
			id := a.Header.Get("X-Request-Id")
			byRequest[id] = append(byRequest[id], a)
		}
		for id, attempts := range byRequest {
			if len(attempts) != 1+len(bounds) {
				t.Errorf("%s: %d attempts, want %d", id, len(attempts), 1+len(bounds))
				continue
			}
			for n, bound := range bounds {
				gap := attempts[n+1].at.Sub(attempts[n].at)
				total += gap
				if gap > bound+slack {
					t.Errorf("retry %d came after %v, want at most %v", n+1, gap, bound)
				}
			}
		}
		if len(byRequest) != parallel {
			t.Errorf("%d requests, want %d", len(byRequest), parallel)
		}
	}
	// The mean of the sum is over 4 s.
	if total < time.Second {
		t.Errorf("all delays together are %v", total)
	}
}
