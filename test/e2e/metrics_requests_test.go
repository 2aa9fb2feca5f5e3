package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The retries that are counted are the attempts that reached the service, less the requests.
func TestMetricsCountRetries(t *testing.T) {
	t.Parallel()
	flaky := newScript(t)
	flaky.set(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n%3 != 0 { // the third attempt of each request is good
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	steady := newBackend(t, always(http.StatusOK))
	const off = "breaker: {failure_threshold: 100, window_size: 1000}"
	s := newStack(t, quiet(
		at("flaky", flaky, off, "retry: {max_retries: 3, base_delay: 1ms, max_delay: 2ms, on: [5xx], budget: 100%}"),
		at("steady", steady, off),
		at("shut", steady, off),
	))
	const requests = 6
	for range requests {
		if r := s.get("/flaky"); r.status != http.StatusOK {
			t.Errorf("%d %s", r.status, r.body)
		}
		s.get("/steady")
	}
	s.run("force-open", "shut", "--reason", "a test")
	s.get("/shut")
	// The status is that of the request, not of its attempts.
	s.untilCounted("flaky", map[string]float64{"GET success": requests})
	s.untilCounted("shut", map[string]float64{"GET circuit_open": 1})
	m := s.gatewaySeries(s.envoy)
	want := float64(flaky.seen() - requests)
	if got := m[`gateway_proxy_retries_total{service="flaky"}`]; got != want || want != 2*requests {
		t.Errorf("%v retries are counted of %d attempts for %d requests, want %v", got, flaky.seen(), requests, want)
	}
	// There from the first request on, so that the first retry is an increase.
	for _, name := range []string{"steady", "shut"} {
		if got, ok := m[`gateway_proxy_retries_total{service="`+name+`"}`]; !ok || got != 0 {
			t.Errorf("%s: %v retries, there %t; want 0", name, got, ok)
		}
	}
}

// A 95th percentile can be read from the durations, in seconds, and counts go on over an edit of the gateway.
func TestMetricsTimeRequests(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	b.set(func(n int, w http.ResponseWriter, r *http.Request) {
		if n%10 == 0 {
			after(300*time.Millisecond, good)(n, w, r)
		}
	})
	s := newStack(t, quiet(at("svc", b, "retry: off")))
	const requests = 40
	slow := 0.0
	for range requests {
		if r := s.get("/svc"); r.took > 300*time.Millisecond {
			slow += r.took.Seconds()
		}
	}
	m := s.untilTimed("svc", requests)
	buckets := m.durations(t, "svc")
	if len(buckets) != 9 || buckets[0].bound > 0.02 {
		t.Errorf("buckets %v", buckets)
	}
	// A request that times out is in one that has an end: those of examples/shop take up to 60 s.
	if last := buckets[len(buckets)-2].bound; last <= 60 {
		t.Errorf("the last bound is %v s; %v", last, buckets)
	}
	for _, q := range []float64{0.95, 0.99} {
		if got := quantile(q, buckets); got < 0.25 || got > 1 {
			t.Errorf("the %v quantile is %v s, want one of 0.3 s; %v", q, got, buckets)
		}
	}
	if got := quantile(0.5, buckets); got > 0.25 {
		t.Errorf("the median is %v s; %v", got, buckets)
	}
	sum := m[`gateway_proxy_request_duration_seconds_sum{service="svc",method="GET"}`]
	if sum < 1.15 || sum > slow+requests*0.25 {
		t.Errorf("the sum is %v s, and the four slow ones alone took %v s", sum, slow)
	}
	// A bound is written in a few digits.
	for name := range m {
		if _, le, ok := strings.Cut(name, `le="`); ok && len(le) > 12 {
			t.Errorf("the bound of %s", name)
		}
	}

	s.write("gateway.yaml", "access_log: off\nheaders: {max_count: 50}\n")
	s.until("the listener is another", func() error {
		if n := s.stat(s.envoy, "listener_manager.listener_modified"); n == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	s.get("/svc")
	s.until("requests are counted still", func() error {
		if got := s.gatewaySeries(s.envoy).requests("svc")["GET success"]; got != 1 && got != requests+1 {
			return fmt.Errorf("%v are", got)
		}
		return nil
	})
}
