package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// TestAttemptsBeforeARefusal: a reply with x-circuit-breaker says how many attempts were made before it, for the
// breaker can open between the attempts of one request.
func TestAttemptsBeforeARefusal(t *testing.T) {
	t.Parallel()
	// Envoy's workers hear of an ejection a moment after it, so the number of attempts differs from run to run.
	const retry = "retry: {max_retries: 9, base_delay: 5ms, max_delay: 50ms}"
	unavailable := always(http.StatusServiceUnavailable)
	one, two, fallback, full := newBackend(t, unavailable), newBackend(t, unavailable), newBackend(t, unavailable), newBackend(t, hang)
	s := newStack(t, policies(
		at("one", one, retry, "breaker: {failure_threshold: 1}"),
		at("two", two, retry, "breaker: {failure_threshold: 2}"),
		at("fallback", fallback, retry, "breaker: {failure_threshold: 2}", "fallback: {status: 200, body: plain}"),
		at("full", full, retry, "limits: {max_requests: 1, max_pending_requests: 1}"),
		at("liar", newBackend(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Circuit-Breaker-Attempts", "0") })),
		at("other", one, "fallback: {service: liar}"),
	))
	check := func(r reply, breaker string, attempts int) {
		t.Helper()
		if got := r.header.Get("X-Circuit-Breaker"); got != breaker {
			t.Errorf("x-circuit-breaker %q, want %q: %d %s", got, breaker, r.status, r.body)
		}
		if got := r.header.Values("X-Circuit-Breaker-Attempts"); len(got) != 1 || got[0] != fmt.Sprint(attempts) {
			t.Errorf("%s: x-circuit-breaker-attempts %q, want %d", breaker, got, attempts)
		}
	}
	for _, tt := range []struct {
		path    string
		u       *backend
		breaker string
	}{{"/one", one, "open"}, {"/two", two, "open"}, {"/fallback", fallback, "fallback"}} {
		r := s.do(http.MethodPut, tt.path, nil)
		sent := len(tt.u.take())
		check(r, tt.breaker, sent)
		if sent == 0 {
			t.Errorf("%s: no attempt reached the service", tt.path)
		}
		check(s.do(http.MethodPut, tt.path, nil), tt.breaker, 0) // no host in rotation
		s.run("force-open", tt.path[1:], "--reason", "a test")
		check(s.do(http.MethodPut, tt.path, nil), tt.breaker, 0) // maintenance mode, or the fallback's route
		if got := tt.u.take(); len(got) != 0 {
			t.Errorf("%s: %d requests reached the service behind an open breaker", tt.path, len(got))
		}
	}
	var holding sync.WaitGroup
	t.Cleanup(holding.Wait) // the test's context ends before
	holding.Go(func() { _, _ = s.try(http.MethodGet, "/full", nil) })
	s.until("the only place is taken", func() error {
		if n := len(full.got()); n != 1 {
			return fmt.Errorf("%d requests", n)
		}
		return nil
	})
	check(s.do(http.MethodPut, "/full", nil), "overloaded", 0)

	// A service can not say it, but the fallback's route can.
	if r := s.get("/liar"); r.status != http.StatusOK || r.header.Get("X-Circuit-Breaker-Attempts") != "" {
		t.Errorf("%d %v", r.status, r.header)
	}
	s.run("force-open", "other", "--reason", "a test")
	check(s.do(http.MethodPut, "/other", nil), "fallback", 0)
}
