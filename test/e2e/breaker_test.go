package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

func hostStates(c *adminv3.ClusterStatus) []envoy.HostState { return envoy.HostStates(c) }

// legacy is the reply of the original system's call.
type legacy struct {
	CircuitBreakers map[string]struct {
		State          string `json:"state"`
		FailureCount   int    `json:"failure_count"`
		SuccessCount   int    `json:"success_count"`
		RecentFailures int    `json:"recent_failures"`
		TotalCalls     int    `json:"total_calls"`
		Summary        string `json:"summary"`
		HostsEjected   int    `json:"hosts_ejected"`
		HostsTotal     int    `json:"hosts_total"`
	} `json:"circuit_breakers"`
}

func (s *stack) state(service string) string {
	s.t.Helper()
	var l legacy
	s.api("/api/v1/circuit-breakers", &l)
	return l.CircuitBreakers[service].State
}

// failing answers every request with 500.
var failing = envoytest.Behaviour{Status: http.StatusInternalServerError}

// twoHosts is a policy of one service on two upstreams, without retries.
func twoHosts(a, b *envoytest.Upstream) string {
	return fmt.Sprintf(`service: svc
upstream: [%s, %s]
routes: [{prefix: /svc}]
retry: off
`, a.Addr(), b.Addr())
}

// hostsDecide has a service's breaker open only once all its hosts are ejected, each after 5 failures, which makes 10 of two.
// By default 5 failures of the service open it too, and whether they are reported before the tenth is a matter of time.
const hostsDecide = "breaker: {failure_threshold: off, failure_rate: 100%, min_requests: 100}\n"

// untilEjected waits until every host that has failed often enough since before is ejected. Envoy's
// workers report a failure to its main thread, which ejects: a request in that very instant, on
// another worker, can still slip through, and is not what is counted.
func (s *stack) untilEjected(service string, before map[*envoytest.Upstream]int, threshold int, hosts ...*envoytest.Upstream) {
	s.t.Helper()
	s.until("the hosts that failed are ejected", func() error {
		ejected := s.ejected(service)
		for _, h := range hosts {
			if h.Requests()-before[h] >= threshold && !slices.Contains(ejected, h.Addr()) {
				return fmt.Errorf("%s is not among %v", h.Addr(), ejected)
			}
		}
		return nil
	})
}

// TestTripOfTheDefaults: without a word about the breaker it opens after no fewer than 5 failures, no host gets more than 5,
// and once it is open it stays so.
func TestTripOfTheDefaults(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": twoHosts(a, b)})
	a.Behave(failing)
	b.Behave(failing)
	before := map[*envoytest.Upstream]int{a: a.Requests(), b: b.Requests()}
	failed := 0
	for i := range 20 {
		r := s.get("/svc")
		s.untilEjected("svc", before, 5, a, b)
		if r.status == http.StatusInternalServerError && r.header.Get("X-Circuit-Breaker") == "" {
			if failed++; failed != i+1 {
				t.Errorf("request %d reached the service after the breaker had opened", i+1)
			}
		} else if err := r.isOpen(); err != nil {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	atA, atB := a.Requests()-before[a], b.Requests()-before[b]
	if failed < 5 || atA+atB != failed || atA > 5 || atB > 5 {
		t.Errorf("%d requests failed, %d and %d reached the hosts; want 5 to 10, and up to 5 each", failed, atA, atB)
	}
	s.until("it is open", func() error {
		if got := s.state("svc"); got != "open" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

func TestTripWatchReset(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": twoHosts(a, b) + hostsDecide})
	if r := s.get("/svc"); r.status != http.StatusOK {
		t.Fatalf("a healthy service answers %d: %s", r.status, r.body)
	}
	if got := s.state("svc"); got != "closed" {
		t.Errorf("state %q, want closed", got)
	}
	before := map[*envoytest.Upstream]int{a: a.Requests(), b: b.Requests()}
	a.Behave(failing)
	b.Behave(failing)
	var fast []time.Duration
	for i := range 20 {
		r := s.get("/svc")
		s.untilEjected("svc", before, 5, a, b)
		if i < 10 {
			if r.status != http.StatusInternalServerError || r.header.Get("X-Circuit-Breaker") != "" {
				t.Errorf("request %d: %d with x-circuit-breaker %q, want the upstream's own 500", i+1, r.status, r.header.Get("X-Circuit-Breaker"))
			}
			continue
		}
		if r.status != http.StatusServiceUnavailable || r.header.Get("X-Circuit-Breaker") != "open" || r.header.Get("Retry-After") != "60" {
			t.Errorf("request %d: %d %v, want 503 with x-circuit-breaker: open and retry-after: 60", i+1, r.status, r.header)
		}
		if !strings.Contains(r.body, `"circuit_open"`) || !strings.Contains(r.body, `"svc"`) {
			t.Errorf("request %d: body %s", i+1, r.body)
		}
		fast = append(fast, r.took)
	}
	if atA, atB := a.Requests()-before[a], b.Requests()-before[b]; atA != 5 || atB != 5 {
		t.Errorf("%d and %d requests reached the hosts, want exactly 5 each", atA, atB)
	}
	// The bound is the promise; the median, and that a later ten may keep it, keep a busy machine out of it.
	s.until("an open breaker answers within 5 ms", func() error {
		slices.Sort(fast)
		median := fast[len(fast)/2]
		if median <= 5*time.Millisecond {
			return nil
		}
		fast = nil
		for range 10 {
			fast = append(fast, s.get("/svc").took)
		}
		return fmt.Errorf("the median of ten is %v", median)
	})
	if got := s.state("svc"); got != "open" {
		t.Errorf("state %q, want open", got)
	}
	if got := s.ejected("svc"); len(got) != 2 {
		t.Errorf("Envoy says that %v are ejected, want both", got)
	}
	out := s.run("status")
	if !strings.Contains(out, "open on 1 of 1 proxy") || !strings.Contains(out, "2 of 2") {
		t.Errorf("status says:\n%s", out)
	}

	a.Behave(envoytest.Behaviour{})
	b.Behave(envoytest.Behaviour{})
	s.run("reset", "svc", "--reason", "it is back")
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("after the reset Envoy says that %v are ejected", got)
	}
	for range 4 {
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("after the reset: %d: %s", r.status, r.body)
		}
	}
	if got := s.state("svc"); got != "closed" {
		t.Errorf("state after the reset %q, want closed", got)
	}
	if out := s.run("reset", "svc"); !strings.Contains(out, "nothing") {
		t.Errorf("a reset with nothing to clear says:\n%s", out)
	}
}

func TestResetOneHost(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": twoHosts(a, b) + hostsDecide})
	a.Behave(failing)
	b.Behave(failing)
	for range 12 {
		s.get("/svc")
	}
	s.untilAllEjected("svc", 2)
	a.Behave(envoytest.Behaviour{})
	b.Behave(envoytest.Behaviour{})
	s.run("reset", "svc", "--host", a.Addr())
	if got := s.ejected("svc"); !slices.Equal(got, []string{b.Addr()}) {
		t.Errorf("ejected after the reset of %s: %v, want the other", a.Addr(), got)
	}
	reached := b.Requests()
	for range 6 {
		if r := s.get("/svc"); r.status != http.StatusOK || r.body != a.Addr() {
			t.Errorf("answered by %q with %d, want %s", r.body, r.status, a.Addr())
		}
	}
	if b.Requests() != reached {
		t.Error("the host that was not reset got requests")
	}
	_, stderr, code := s.command("reset", "svc", "--host", "127.0.0.1:1")
	if code != 1 || !strings.Contains(stderr, a.Addr()) {
		t.Errorf("reset of an unknown host: exit code %d, %q; want 1 and the known hosts", code, stderr)
	}
}
