package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestWhoIsNotAdmittedInHalfOpen: what half-open keeps from the service is answered as by an open breaker, with the
// fallback if there is a static one, and not as an ordinary limit is.
func TestWhoIsNotAdmittedInHalfOpen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, more    string
		status        int
		breaker, body string
		header, value string
	}{
		{name: "without a fallback", status: http.StatusServiceUnavailable, breaker: "open", body: `"error":"circuit_open"`, header: "Retry-After", value: "1"},
		{
			name: "with a static fallback", more: "fallback: {status: 200, headers: {x-from: cache}, body: plain}\n",
			status: http.StatusOK, breaker: "fallback", body: "plain", header: "X-From", value: "cache",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := envoytest.NewUpstream(t)
			s := newStack(t, map[string]string{"svc.yaml": fmt.Sprintf(`service: svc
upstream: %s
routes: [{prefix: /svc}]
retry: {max_retries: 0}
timeout: {request: 2s}
breaker: {failure_threshold: 5, timeout: 1s}
%s`, u.Addr(), tt.more)})
			s.answered(u, "open", http.StatusOK, http.StatusInternalServerError)
			u.Behave(envoytest.Behaviour{Hang: true})
			s.until("it is half-open", func() error {
				if b := s.breaker("svc"); b.State != "half_open" {
					return fmt.Errorf("%+v", b)
				}
				return nil
			})
			before := u.Requests()
			var probe sync.WaitGroup
			defer probe.Wait()
			probe.Go(func() {
				for u.Requests() == before { // Envoy hears of half-open a moment after the API tells it
					_, _ = s.try(http.MethodGet, "/svc", nil)
				}
			})
			s.until("the probe is at the upstream", func() error {
				if n := u.Requests() - before; n != 1 {
					return fmt.Errorf("%d requests", n)
				}
				return nil
			})
			r := s.get("/svc")
			if r.status != tt.status || r.header.Get("X-Circuit-Breaker") != tt.breaker || !strings.Contains(r.body, tt.body) || r.header.Get(tt.header) != tt.value {
				t.Errorf("%d %v: %s", r.status, r.header, r.body)
			}
			if n := u.Requests() - before; n != 1 {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}
