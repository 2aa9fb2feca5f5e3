package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

func TestEjectionEndsAfterItsTimeout(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(at("svc", u.Addr(), "retry: off", "breaker: {failure_threshold: 3, timeout: 2s}")))
	// Twice, for Envoy would make the second ejection longer than the first.
	for range 2 {
		u.Behave(failing)
		for range 3 {
			s.get("/svc")
		}
		start := time.Now()
		s.untilAllEjected("svc", 1)
		r := s.get("/svc")
		if err := r.isOpen(); err != nil {
			t.Error(err)
		}
		if got := r.header.Get("Retry-After"); got != "2" {
			t.Errorf("retry-after %q, want the breaker's 2 s", got)
		}
		u.Behave(envoytest.Behaviour{})
		s.until("the service is back", func() error {
			if r := s.get("/svc"); r.status != http.StatusOK {
				return fmt.Errorf("%d %s", r.status, r.body)
			}
			return nil
		})
		// Envoy looks once a second for what is to end.
		if took := time.Since(start); took < 1800*time.Millisecond || took > 6*time.Second {
			t.Errorf("the service was back after %v, want 2 to 3 s", took)
		}
		s.until("it has proved itself", func() error {
			s.get("/svc")
			if got := s.state("svc"); got != "closed" {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
	}
	if u.Requests() < 8 {
		t.Errorf("%d requests reached the service", u.Requests())
	}
}

func TestOneBadHostOfThree(t *testing.T) {
	t.Parallel()
	a, b, bad := envoytest.NewUpstream(t), envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	bad.Behave(failing)
	s := newStack(t, policies(at("svc", hosts(a.Addr(), bad.Addr(), b.Addr()), "retry: off")))
	failed := 0
	for range 30 {
		switch r := s.get("/svc"); r.status {
		case http.StatusOK:
		case http.StatusInternalServerError:
			failed++
		default:
			t.Errorf("%d %s", r.status, r.body)
		}
		s.untilEjected("svc", map[*envoytest.Upstream]int{}, 5, bad)
	}
	if failed != 5 || bad.Requests() != 5 {
		t.Errorf("%d requests failed, and %d reached the bad host; want 5", failed, bad.Requests())
	}
	if a.Requests()+b.Requests() != 25 || a.Requests() < 8 || b.Requests() < 8 {
		t.Errorf("the good hosts got %d and %d requests, want 25 in even shares", a.Requests(), b.Requests())
	}
	var l legacy
	s.api("/api/v1/circuit-breakers", &l)
	if got := l.CircuitBreakers["svc"]; got.State != "closed" || got.HostsEjected != 1 || got.HostsTotal != 3 {
		t.Errorf("the API says %+v; want closed with 1 of 3 ejected", got)
	}
	if out := s.run("status"); !strings.Contains(out, "closed") || !strings.Contains(out, "1 of 3") {
		t.Errorf("status says:\n%s", out)
	}
}

// A success in between starts the count of consecutive failures anew.
func TestFailuresInARowCount(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(at("svc", u.Addr(), "retry: off", "breaker: {failure_threshold: 3}")))
	for range 6 {
		u.Behave(failing)
		s.get("/svc")
		s.get("/svc")
		u.Behave(envoytest.Behaviour{})
		s.get("/svc")
	}
	if got := s.ejected("svc"); len(got) != 0 || u.Requests() != 18 {
		t.Errorf("ejected %v after %d requests; want none, for no three failures came in a row", got, u.Requests())
	}
}

// The policy says which statuses are failures.
func TestErrorsOfAPolicy(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(
		at("custom", u.Addr(), "retry: off", "breaker: {errors: [429, 502-503]}"),
		at("plain", u.Addr(), "retry: off"),
		at("refused", closedPort(t), "retry: off", "breaker: {errors: [429]}"),
	))
	for _, tt := range []struct {
		service string
		status  int
		opens   bool
	}{
		{"custom", 500, false},
		{"plain", 429, false},
		{"plain", 404, false},
		{"custom", 429, true},
		{"plain", 500, true},
	} {
		u.Behave(envoytest.Behaviour{Status: tt.status})
		for range 5 {
			if r := s.get("/" + tt.service); r.status != tt.status || r.header.Get("X-Circuit-Breaker") != "" {
				t.Errorf("%s: %d, breaker %q; want the service's own %d", tt.service, r.status, r.header.Get("X-Circuit-Breaker"), tt.status)
			}
		}
		if tt.opens {
			s.untilAllEjected(tt.service, 1)
			continue
		}
		for range 5 {
			s.get("/" + tt.service)
		}
		if got := s.ejected(tt.service); len(got) != 0 {
			t.Errorf("%s: %v ejected for %d", tt.service, got, tt.status)
		}
	}
	// A host that can not be connected to has failed, whatever the statuses.
	for range 5 {
		s.get("/refused")
	}
	s.untilAllEjected("refused", 1)
}

// The environment is above what is built in, and below the policy.
func TestEnvironmentOfServe(t *testing.T) {
	t.Parallel()
	u := newBackend(t, always(http.StatusInternalServerError))
	s := newPlane(t, policies(
		at("built-in", u),
		at("own", u, "retry: {max_retries: 2, "+quick+"}", "breaker: {failure_threshold: 6}", "timeout: {request: 7s}"),
	))
	s.stop()
	s.env = []string{"CB_FAILURE_THRESHOLD=2", "CB_TIMEOUT=33", "RETRY_MAX_RETRIES=0", "TIMEOUT_READ=12.5"}
	s.start()
	s.envoy = s.startEnvoy("e2e")

	s.get("/built-in")
	if got := u.got()[0].Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != "12500" {
		t.Errorf("a timeout of %s ms, want that of TIMEOUT_READ", got)
	}
	s.get("/built-in")
	s.untilAllEjected("built-in", 1)
	r := s.get("/built-in")
	if err := r.isOpen(); err != nil {
		t.Error(err)
	}
	if got := r.header.Get("Retry-After"); got != "33" {
		t.Errorf("retry-after %q, want CB_TIMEOUT", got)
	}
	if n := len(u.take()); n != 2 {
		t.Errorf("%d requests reached the service, want CB_FAILURE_THRESHOLD without retries", n)
	}

	s.get("/own")
	attempts := u.take()
	if got := s.ejected("own"); len(got) != 0 || len(attempts) != 3 {
		t.Fatalf("ejected %v after %d attempts, want none after 3", got, len(attempts))
	}
	// A retry is told what is left of the time.
	if got := attempts[0].Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != "7000" {
		t.Errorf("a timeout of %s ms, want the policy's", got)
	}
	s.get("/own")
	s.untilAllEjected("own", 1)
}
