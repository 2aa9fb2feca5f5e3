package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// leave sends a request and cancels it once a condition holds. It returns whether an answer had begun.
func (s *stack) leave(transport *http.Transport, path, what string, condition func() error) (begun bool) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.gateway+path, http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan bool, 1)
	go func() {
		resp, err := transport.RoundTrip(req)
		if err == nil {
			<-ctx.Done()
			resp.Body.Close()
		}
		done <- err == nil
	}()
	s.until(what, condition)
	cancel()
	return <-done
}

// A client that leaves before there is an answer tells nothing about the service: its request has no status, and is
// counted apart. An answer that it does not read to its end is a success.
func TestMetricsCountAbandonedRequests(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	const off = "breaker: {failure_threshold: 100, window_size: 1000}"
	s := newStack(t, quiet(
		at("left", b, "retry: off", off),
		at("retried", b, "retry: {max_retries: 3, base_delay: 10s, max_delay: 10s}", off),
		at("begun", b, "retry: off", off),
	))
	is := func(service string, abandoned float64, counted map[string]float64) {
		t.Helper()
		s.until("the requests that were left are counted", func() error {
			got := s.gatewaySeries(s.envoy)[`gateway_proxy_abandoned_total{service="`+service+`"}`]
			if got != abandoned {
				return fmt.Errorf("%v of %s are, want %v", got, service, abandoned)
			}
			return nil
		})
		s.untilCounted(service, counted)
	}
	one, two := &http.Transport{DisableKeepAlives: true}, &http.Transport{Protocols: &http.Protocols{}}
	two.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(two.CloseIdleConnections)

	g := newGate()
	b.set(held(g))
	s.leave(one, "/left", "the request is there", b.one)
	is("left", 1, map[string]float64{})
	s.leave(two, "/left", "the request is there", b.one)
	is("left", 2, map[string]float64{})

	b.set(func(n int, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	for n, transport := range []*http.Transport{one, two} {
		if !s.leave(transport, "/begun", "the answer has begun", func() error {
			if got := s.stat(s.envoy, "cluster.begun.upstream_rq_200"); got != uint64(n+1) {
				return fmt.Errorf("%d have", got)
			}
			return b.one()
		}) {
			t.Error("the client has no answer")
		}
		is("begun", 0, map[string]float64{"GET success": float64(n + 1)})
	}

	b.set(bad)
	s.leave(one, "/retried", "the first attempt has failed", func() error {
		if n := s.stat(s.envoy, "cluster.retried.retry.upstream_rq_500"); n != 1 {
			return fmt.Errorf("%d have", n)
		}
		return nil
	})
	is("retried", 1, map[string]float64{})
	s.get("/left")
	is("left", 2, map[string]float64{"GET error": 1})
}
