package e2e

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// checked is a service with a health check whose two answers are set apart.
type checked struct {
	*backend
	health, service atomic.Int32 // statuses
	checks          atomic.Int64
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	c := &checked{}
	c.health.Store(http.StatusOK)
	c.service.Store(http.StatusOK)
	c.backend = newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			c.checks.Add(1)
			w.WriteHeader(int(c.health.Load()))
			return
		}
		w.WriteHeader(int(c.service.Load()))
	})
	return c
}

// served counts the requests since the last take that are no health checks.
func (c *checked) served() int {
	n := 0
	for _, a := range c.take() {
		if a.URL.Path != "/health" {
			n++
		}
	}
	return n
}

const checkOften = "health_check: {path: /health, interval: 200ms, timeout: 200ms, healthy_threshold: 1, unhealthy_threshold: 3"

func TestHealthCheckTakesAHostOut(t *testing.T) {
	t.Parallel()
	a, b := newChecked(t), newChecked(t)
	s := newStack(t, policies(at("svc", hosts(a.addr, b.addr), "retry: off", checkOften+"}")))
	unhealthy := func(n int) {
		t.Helper()
		s.until(fmt.Sprintf("%d hosts are unhealthy", n), func() error {
			status, err := s.envoy.Admin().Clusters(t.Context(), "svc")
			if err != nil {
				return err
			}
			got := 0
			for _, h := range hostStates(status.GetClusterStatuses()[0]) {
				if h.Unhealthy {
					got++
				}
			}
			if got != n {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
	}
	spread := func(toA, toB bool) {
		t.Helper()
		a.take()
		b.take()
		for range 10 {
			if r := s.get("/svc"); r.status != http.StatusOK {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if gotA, gotB := a.served(), b.served(); gotA > 0 != toA || gotB > 0 != toB || gotA+gotB != 10 {
			t.Errorf("of 10 requests %d reached one host and %d the other", gotA, gotB)
		}
	}
	unhealthy(0)
	spread(true, true)
	a.health.Store(http.StatusServiceUnavailable)
	unhealthy(1)
	spread(false, true)
	// A redirect is no pass.
	a.health.Store(http.StatusFound)
	b.health.Store(http.StatusInternalServerError)
	unhealthy(2)
	if r := s.get("/svc"); r.status != http.StatusServiceUnavailable {
		t.Errorf("without a healthy host: %d %s", r.status, r.body)
	}
	a.health.Store(http.StatusNoContent)
	b.health.Store(http.StatusOK)
	unhealthy(0)
	spread(true, true)
}

func TestHealthCheckAndEjection(t *testing.T) {
	t.Parallel()
	for _, uneject := range []bool{false, true} {
		t.Run(fmt.Sprintf("uneject=%t", uneject), func(t *testing.T) {
			t.Parallel()
			u := newChecked(t)
			s := newStack(t, policies(at("svc", u, "retry: off", fmt.Sprintf("%s, uneject: %t}", checkOften, uneject),
				"breaker: {timeout: 5m}")))
			u.service.Store(http.StatusInternalServerError)
			for range 5 {
				s.get("/svc")
			}
			s.until("Envoy has ejected the host", func() error {
				if n := s.stat(s.envoy, "cluster.svc.outlier_detection.ejections_enforced_total"); n != 1 {
					return fmt.Errorf("%d ejections", n)
				}
				return nil
			})
			u.service.Store(http.StatusOK)
			if uneject {
				s.until("a passing check lets the host in", func() error {
					if r := s.get("/svc"); r.status != http.StatusOK {
						return fmt.Errorf("%d %s", r.status, r.body)
					}
					return nil
				})
				return
			}
			before := u.checks.Load()
			s.until("ten checks have passed", func() error {
				if n := u.checks.Load() - before; n < 10 {
					return fmt.Errorf("%d have", n)
				}
				return nil
			})
			if err := s.get("/svc").isOpen(); err != nil {
				t.Error(err)
			}
			if got := s.ejected("svc"); len(got) != 1 {
				t.Errorf("ejected: %v, want the host still", got)
			}
		})
	}
}
