package e2e

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// answered lets the upstream answer these statuses, one request each, over and over until the breaker of svc is in a state.
func (s *stack) answered(u *envoytest.Upstream, state string, statuses ...int) {
	s.t.Helper()
	s.until(fmt.Sprintf("the answers %v make svc %s", statuses, state), func() error {
		for _, status := range statuses {
			u.Behave(envoytest.Behaviour{Status: status})
			s.get("/svc")
		}
		if b := s.breaker("svc"); b.State != state {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
}

// TestErrorsSayWhatLayer2Counts: breaker.errors goes for layer 2 as for Envoy's ejections, though Envoy's load reports know
// nothing of it. Successes between the errors keep layer 1 out of it.
func TestErrorsSayWhatLayer2Counts(t *testing.T) {
	t.Parallel()
	const policy = `service: svc
upstream: %s
routes: [{prefix: /svc}]
retry: {max_retries: 0}
timeout: {request: 200ms}
breaker: {failure_threshold: 10, errors: %s}
`
	for _, tt := range []struct {
		name, errors string
		trips, not   []int
	}{
		{"more than Envoy's", "[429, '500-599']", []int{200, 429}, []int{200, 404}},
		{"fewer than Envoy's", "['502-504']", []int{200, 502}, []int{200, 500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := envoytest.NewUpstream(t)
			s := newStack(t, map[string]string{"svc.yaml": fmt.Sprintf(policy, u.Addr(), tt.errors)})
			for range 50 {
				for _, status := range tt.not {
					u.Behave(envoytest.Behaviour{Status: status})
					s.get("/svc")
				}
			}
			s.untilState("svc", "closed", map[string]string{"e2e": "closed"})
			s.answered(u, "open", tt.trips...)
		})
	}
	t.Run("a timeout always counts", func(t *testing.T) {
		t.Parallel()
		u := envoytest.NewUpstream(t)
		s := newStack(t, map[string]string{"svc.yaml": fmt.Sprintf(policy, u.Addr(), "[500]")})
		s.until("timeouts make svc open", func() error {
			for _, b := range []envoytest.Behaviour{{}, {Hang: true}} {
				u.Behave(b)
				s.get("/svc")
			}
			if b := s.breaker("svc"); b.State != "open" {
				return fmt.Errorf("%+v", b)
			}
			return nil
		})
	})
}
