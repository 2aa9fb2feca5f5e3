package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/breakwater/breakwater/test/envoytest"
)

// Each way in which a request ends has the status that the metrics documentation says, and each request one.
func TestMetricsCountEachStatus(t *testing.T) {
	t.Parallel()
	u := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("do") {
		case "404":
			w.WriteHeader(http.StatusNotFound)
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		case "reset":
			envoytest.Reset(w)
		case "cut": // a good answer that does not end
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "half an ")
			_ = http.NewResponseController(w).Flush()
			envoytest.Reset(w)
		case "hang":
			<-r.Context().Done()
		case "lie":
			w.Header().Set("X-Circuit-Breaker", "open")
		case "lie-fallback":
			w.Header().Set("X-Circuit-Breaker", "fallback")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	const off = "breaker: {failure_threshold: 100, window_size: 1000}"
	s := newStack(t, quiet(
		at("good", u, "retry: off", off),
		at("wrong", u, "retry: off", off),
		at("late", u, "retry: off", off, "timeout: {request: 300ms}"),
		at("gone", closedPort(t), "retry: off", off),
		at("liar", u, "retry: off", off),
		at("shut", u), at("static", u, "fallback: {status: 503, body: sorry}"),
		at("elsewhere", u, "fallback: {service: good}"),
		at("worse", u, "fallback: {service: shut}"),
		at("ejected", u, "retry: off", "breaker: {failure_threshold: 1}"),
		at("spare", u, "retry: off", "breaker: {failure_threshold: 1}", "fallback: {body: a spare}"),
	))
	n := func(service, do string, status int, times ...string) {
		t.Helper()
		for _, method := range times {
			if r := s.do(method, "/"+service+"?do="+do, nil); r.status != status {
				t.Errorf("%s %s %s: %d, want %d", method, service, do, r.status, status)
			}
		}
	}
	// What the service answers is a success, a client's error too.
	n("good", "", 200, "GET", "GET", "POST", "HEAD")
	n("good", "404", 404, "DELETE")
	s.untilCounted("good", map[string]float64{"GET success": 2, "POST success": 1, "HEAD success": 1, "DELETE success": 1})

	n("wrong", "500", 500, "GET", "PUT")
	n("wrong", "reset", 503, "GET")
	if r, err := s.try(http.MethodGet, "/wrong?do=cut", nil); err == nil {
		t.Errorf("half an answer is a whole one: %d %q", r.status, r.body)
	}
	s.untilCounted("wrong", map[string]float64{"GET error": 3, "PUT error": 1})

	n("late", "hang", 504, "GET")
	s.untilCounted("late", map[string]float64{"GET error": 1})
	n("gone", "", 503, "GET")
	s.untilCounted("gone", map[string]float64{"GET error": 1})

	// A service's own header is only a header.
	n("liar", "lie", 200, "GET")
	n("liar", "lie-fallback", 503, "GET")
	s.untilCounted("liar", map[string]float64{"GET success": 1, "GET error": 1})

	// What an operator has shut.
	for _, name := range []string{"shut", "static", "elsewhere", "worse"} {
		s.run("force-open", name, "--reason", "a test")
	}
	n("shut", "", 503, "GET", "GET", "GET")
	s.untilCounted("shut", map[string]float64{"GET circuit_open": 3})
	n("static", "", 503, "POST", "GET")
	s.untilCounted("static", map[string]float64{"GET fallback": 1, "POST fallback": 1})
	n("elsewhere", "", 200, "GET")
	n("elsewhere", "500", 500, "GET")
	s.untilCounted("elsewhere", map[string]float64{"GET fallback": 1, "GET error": 1})
	n("worse", "", 503, "GET")
	s.untilCounted("worse", map[string]float64{"GET circuit_open": 1})

	// What Envoy has ejected, before anybody has turned a key.
	n("ejected", "500", 500, "GET")
	s.untilAllEjected("ejected", 1)
	n("ejected", "", 503, "GET")
	s.untilCounted("ejected", map[string]float64{"GET error": 1, "GET circuit_open": 1})
	n("spare", "500", 500, "GET")
	s.untilAllEjected("spare", 1)
	n("spare", "", 200, "GET")
	s.untilCounted("spare", map[string]float64{"GET error": 1, "GET fallback": 1})
}

func TestMetricsCountGRPCStatuses(t *testing.T) {
	t.Parallel()
	b := newGRPCBackend(t, codes.OK)
	u := newBackend(t, always(http.StatusNotFound))
	s := newStack(t, quiet(
		"service: rpc\nupstream: "+b.String()+"\nretry: off\nbreaker: {failure_threshold: 100, window_size: 1000}\n",
		at("plain", u, "retry: off"),
	))
	c := s.grpcClient("rpc")
	want := map[string]float64{}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		b.code.Store(uint32(code))
		status := "POST success"
		if slices.Contains([]codes.Code{
			codes.Unknown, codes.DeadlineExceeded, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss,
		}, code) {
			status = "POST error"
		}
		if got, _ := unary(t.Context(), c); got != code {
			t.Errorf("%s, want %s", got, code)
		}
		if got, _ := streaming(t.Context(), c); got != code {
			t.Errorf("%s, want %s", got, code)
		}
		want[status] += 2
		s.untilCounted("rpc", want)
	}
	// The status that Envoy makes up for others than gRPC: UNIMPLEMENTED of a 404.
	if r := s.do(http.MethodGet, "/plain", http.Header{"Content-Type": {"application/grpcish"}}); r.status != http.StatusNotFound {
		t.Errorf("%d, want 404", r.status)
	}
	s.untilCounted("plain", map[string]float64{"GET success": 1})
}

// What a limit refuses is overloaded, or kept back by the breaker while it is half-open, as the reply says.
func TestMetricsTellOverloadsFromProbes(t *testing.T) {
	t.Parallel()
	b, full := newScript(t), newScript(t)
	s := newLayer2(t, layer2("svc", b, time.Second), layer2("spare", b, time.Second)+"fallback: {body: a spare}\n",
		at("full", full, "limits: {max_requests: 2}"))
	g := newGate()
	full.set(held(g))
	reached, replies := s.crowd(8, "/full", full.backend, g)
	s.untilCounted("full", map[string]float64{"GET success": float64(reached), "GET overloaded": float64(len(replies) - reached)})

	for service, kept := range map[string]string{"svc": "GET circuit_open", "spare": "GET fallback"} {
		s.trip(service, b)
		probe := newGate()
		b.set(held(probe))
		s.untilHalfOpen(service)
		before := s.gatewaySeries(s.envoy).requests(service)
		reached, replies = s.crowd(8, "/"+service, b.backend, probe)
		s.until("the probes are counted", func() error {
			got := s.gatewaySeries(s.envoy).requests(service)
			if got["GET success"]-before["GET success"] != float64(reached) || got[kept]-before[kept] != float64(len(replies)-reached) ||
				got["GET overloaded"] != 0 {
				return fmt.Errorf("%v before and %v after %d of %d have reached the service", before, got, reached, len(replies))
			}
			return nil
		})
	}
}

// Whatever clients send, there are no more series: no service is made up, and methods are of a list.
func TestMetricsHaveBoundedLabels(t *testing.T) {
	t.Parallel()
	u := newBackend(t, always(http.StatusOK))
	s := newStack(t, quiet(at("svc", u, "retry: off")))
	two := &http.Transport{Protocols: &http.Protocols{}}
	two.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(two.CloseIdleConnections)
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: two}
	for _, method := range []string{"GET", "BREW", "A", "PROPFIND", "get", strings.Repeat("X", 500), `Q'1`} {
		s.do(method, "/svc", nil)
		s.do(method, "/svc/"+method, nil)
	}
	for i := range 20 {
		if r := s.do(http.MethodGet, fmt.Sprintf("/nobody-%d", i), nil); r.status != http.StatusNotFound {
			t.Errorf("%d of nobody's path", r.status)
		}
		s.do(http.MethodGet, "/nobody", http.Header{"Host": {fmt.Sprintf("host-%d.example", i)}})
	}
	s.untilCounted("svc", map[string]float64{"GET success": 2, "OTHER success": 12})
	m := s.untilTimed("svc", 14)
	for _, metric := range []string{"gateway_proxy_requests_total", "gateway_proxy_retries_total", "gateway_proxy_request_duration_seconds_count"} {
		if got := m.labelValues(metric, "service"); !slices.Equal(got, []string{"svc"}) {
			t.Errorf("%s has the services %q, want svc alone", metric, got)
		}
	}
	for _, metric := range []string{"gateway_proxy_requests_total", "gateway_proxy_request_duration_seconds_count"} {
		if got := m.labelValues(metric, "method"); !slices.Equal(got, []string{"GET", "OTHER"}) {
			t.Errorf("%s has the methods %q", metric, got)
		}
	}
	page, err := s.fetch("http://" + s.envoy.AdminAddr + "/stats/prometheus?usedonly")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page, "nobody") || strings.Contains(page, "example") {
		t.Error("a path or host that no policy has is in the scrape")
	}
}
