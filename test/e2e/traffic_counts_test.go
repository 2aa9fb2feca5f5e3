package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// trafficCounts is the answer to GET /api/v1/breakers/{service}/traffic.
type trafficCounts struct {
	Service string    `json:"service"`
	Time    time.Time `json:"time"`
	Proxies []struct {
		Proxy    string `json:"proxy"`
		Error    string `json:"error"`
		Outcomes []struct {
			Outcome string `json:"outcome"`
			Total   uint64 `json:"total,string"`
		} `json:"outcomes"`
		Retries uint64 `json:"retries,string"`
		Latency []struct {
			Upper *string `json:"upper"`
			Count uint64  `json:"count,string"`
		} `json:"latency"`
	} `json:"proxies"`
}

func (s *stack) traffic(service string) trafficCounts {
	s.t.Helper()
	var out trafficCounts
	s.api("/api/v1/breakers/"+service+"/traffic", &out)
	return out
}

// sameAs compares what the API says of an Envoy's traffic with how the requests ended to their client, and with what that
// Envoy tells Prometheus.
func (c trafficCounts) sameAs(want map[string]uint64, retries uint64, m series) error {
	if len(c.Proxies) != 1 || c.Proxies[0].Error != "" {
		return fmt.Errorf("the proxies are %+v", c.Proxies)
	}
	p := c.Proxies[0]
	got, all, prometheus := map[string]uint64{}, uint64(0), map[string]float64{}
	for _, o := range p.Outcomes {
		got[o.Outcome] = o.Total
		all += o.Total
	}
	if len(p.Outcomes) != 5 || !maps.Equal(got, want) {
		return fmt.Errorf("the outcomes are %v, want %v", got, want)
	}
	for methodAndStatus, n := range m.requests(c.Service) {
		_, status, _ := strings.Cut(methodAndStatus, " ")
		prometheus[status] += n
	}
	for outcome, n := range got {
		if float64(n) != prometheus[outcome] {
			return fmt.Errorf("the outcomes are %v, and %v to Prometheus", got, prometheus)
		}
	}
	if n := m[`gateway_proxy_retries_total{service="`+c.Service+`"}`]; p.Retries != retries || float64(retries) != n {
		return fmt.Errorf("%d retries, and %v to Prometheus, want %d", p.Retries, n, retries)
	}
	if len(p.Latency) != 9 || p.Latency[8].Upper != nil || p.Latency[8].Count != all {
		return fmt.Errorf("the latencies are %+v, want those of all %d requests", p.Latency, all)
	}
	for _, l := range p.Latency {
		le := "+Inf"
		if l.Upper != nil {
			d, err := time.ParseDuration(*l.Upper)
			if err != nil {
				return err
			}
			le = strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
		}
		var n float64
		for _, method := range []string{"GET", "POST"} {
			n += m[`gateway_proxy_request_duration_seconds_bucket{service="`+c.Service+`",method="`+method+`",le="`+le+`"}`]
		}
		if n != float64(l.Count) {
			return fmt.Errorf("%d requests took at most %s s, and %v to Prometheus", l.Count, le, n)
		}
	}
	return nil
}

// What the API says of a service's traffic is what Envoy tells Prometheus: each of the five outcomes, the retries and the
// durations, of that service alone.
func TestTrafficIsWhatPrometheusSees(t *testing.T) {
	t.Parallel()
	b, other := newScript(t), newScript(t)
	const lines = "retry: {max_retries: 1, base_delay: 1ms, max_delay: 2ms, on: [5xx], budget: 100%}\n" +
		"breaker: {failure_threshold: 100, window_size: 1000}\nlimits: {max_requests: 2}"
	s := newStack(t, quiet(at("svc", b, lines), at("svc-b", other)))
	if c := s.traffic("svc"); len(c.Proxies) != 1 || len(c.Proxies[0].Outcomes) != 5 || len(c.Proxies[0].Latency) != 0 {
		t.Errorf("without traffic: %+v", c)
	}
	want := map[string]uint64{"success": 0, "error": 0, "circuit_open": 0, "overloaded": 0, "fallback": 0}
	ended := func(outcome string, status int, r reply) {
		t.Helper()
		want[outcome]++
		if r.status != status {
			t.Errorf("%s: %d, want %d", outcome, r.status, status)
		}
	}
	s.get("/svc-b")
	b.set(func(n int, w http.ResponseWriter, r *http.Request) { // the first is tried again
		if n == 1 {
			bad(n, w, r)
		}
	})
	ended("success", http.StatusOK, s.get("/svc"))
	ended("success", http.StatusOK, s.do(http.MethodPost, "/svc", nil))
	b.set(bad)
	ended("error", http.StatusInternalServerError, s.do(http.MethodPost, "/svc", nil))
	g := newGate()
	b.set(held(g))
	_, replies := s.crowd(6, "/svc", b.backend, g)
	for _, r := range replies {
		if r.status == http.StatusOK {
			ended("success", http.StatusOK, r)
		} else {
			ended("overloaded", http.StatusServiceUnavailable, r)
		}
	}
	s.run("force-open", "svc", "--reason", "a test")
	ended("circuit_open", http.StatusServiceUnavailable, s.get("/svc"))
	s.write("services.yaml", policies(at("svc", b, lines+"\nfallback: {body: a spare}"), at("svc-b", other))["services.yaml"])
	s.until("the fallback is given", func() error {
		r := s.get("/svc")
		if r.status != http.StatusOK {
			ended("circuit_open", http.StatusServiceUnavailable, r)
			return fmt.Errorf("%d", r.status)
		}
		ended("fallback", http.StatusOK, r)
		return nil
	})
	for outcome, n := range want {
		if n == 0 {
			t.Errorf("no request has ended in %s", outcome)
		}
	}
	s.until("the API says what the client and Prometheus see", func() error {
		return s.traffic("svc").sameAs(want, 1, s.gatewaySeries(s.envoy))
	})
}
