package e2e

import (
	"net/http"
	"testing"
	"time"
)

// tookAbout checks that a reply came when it should have, not before, and with much room for a busy
// machine after.
func (r reply) tookAbout(t *testing.T, what string, want time.Duration) {
	t.Helper()
	// A timer of Envoy's ends up to a millisecond early, as it counts whole ones.
	if r.took < want-50*time.Millisecond || r.took > want+5*time.Second {
		t.Errorf("%s: answered after %v, want about %v", what, r.took, want)
	}
}

func TestTimeoutsOfAPolicy(t *testing.T) {
	t.Parallel()
	hung, good := newBackend(t, hang), newBackend(t, always(http.StatusOK))
	s := newStack(t, policies(
		at("request", hung, neverEjected, "timeout: {request: 500ms}"),
		at("tries", hung, neverEjected, "timeout: {request: 20s, per_try: 300ms}", "retry: {max_retries: 2, "+quick+"}"),
		at("bounded", hung, neverEjected, "timeout: {request: 900ms, per_try: 300ms}", "retry: {max_retries: 20, "+quick+"}"),
		at("other", hosts(hung.addr, good.addr), neverEjected, "timeout: {request: 20s, per_try: 300ms}", "retry: {max_retries: 1, "+quick+"}"),
		at("idle", hung, neverEjected, "timeout: {request: off, idle: 500ms}"),
		at("plain", good),
	))

	r := s.get("/request")
	if err := r.fails("request", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
		t.Error(err)
	}
	r.tookAbout(t, "a request timeout", 500*time.Millisecond)
	if a := hung.one(t); a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms") != "500" {
		t.Errorf("the service is told a timeout of %q ms, want 500", a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"))
	}

	r = s.get("/tries")
	if err := r.fails("tries", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
		t.Error(err)
	}
	r.tookAbout(t, "three attempts", 900*time.Millisecond)
	if got := hung.take(); len(got) != 3 {
		t.Errorf("%d attempts that time out, want 3", len(got))
	}

	// What a POST has done by its timeout nobody knows.
	r = s.do(http.MethodPost, "/tries", nil)
	if err := r.fails("tries", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
		t.Error(err)
	}
	r.tookAbout(t, "a POST", 300*time.Millisecond)
	hung.one(t)

	r = s.get("/bounded")
	if err := r.fails("bounded", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
		t.Error(err)
	}
	r.tookAbout(t, "all attempts together", 900*time.Millisecond)
	if got := hung.take(); len(got) < 2 || len(got) > 4 {
		t.Errorf("%d attempts of 300 ms within 900 ms", len(got))
	}

	for range 4 {
		if r := s.get("/other"); r.status != http.StatusOK {
			t.Errorf("with a second host that answers: %d %s", r.status, r.body)
		}
	}
	if n := len(hung.take()); n == 0 {
		t.Error("the hanging host was never tried: the test shows nothing")
	}
	if n := len(good.take()); n != 4 {
		t.Errorf("the good host got %d requests, want 4", n)
	}

	r = s.get("/idle")
	if err := r.fails("idle", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
		t.Error(err)
	}
	r.tookAbout(t, "an idle timeout", 500*time.Millisecond)
	hung.take()

	s.get("/plain")
	if a := good.one(t); a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms") != "30000" {
		t.Errorf("by default the service is told a timeout of %q ms, want 30000", a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"))
	}
}

// Without a request timeout of the policy's Envoy must not come with its own of 15 s.
func TestRequestTimeoutOff(t *testing.T) {
	t.Parallel()
	const answersAfter = 16 * time.Second
	slow := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(answersAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
			w.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
		}
	})
	s := newStack(t, policies(at("slow", slow, "timeout: {request: off}")))
	if r := s.get("/slow"); r.status != http.StatusOK || r.took < answersAfter {
		t.Errorf("%d after %v: %s", r.status, r.took, r.body)
	}
	if a := slow.one(t); a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms") != "" {
		t.Errorf("the service is told a timeout of %q ms", a.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"))
	}
}

// Five timeouts in a row are five failures of the host.
func TestTimeoutsOpenTheBreaker(t *testing.T) {
	t.Parallel()
	hung := newBackend(t, hang)
	s := newStack(t, policies(at("svc", hung, "retry: off", "timeout: {request: 200ms}")))
	for i := range 5 {
		if err := s.get("/svc").fails("svc", http.StatusGatewayTimeout, "upstream_timeout"); err != nil {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	s.untilAllEjected("svc", 1)
	if err := s.get("/svc").isOpen(); err != nil {
		t.Error(err)
	}
	if got := hung.take(); len(got) != 5 {
		t.Errorf("%d requests reached the service, want 5", len(got))
	}
}
