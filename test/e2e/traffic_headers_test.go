package e2e

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

func TestRequestAndCorrelationIDs(t *testing.T) {
	t.Parallel()
	u := newBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		// What a service says of itself does not count.
		w.Header().Set("X-Correlation-Id", "the service's own")
	})
	s := newStack(t, policies(at("svc", u), at("closed", closedPort(t), "retry: off")))
	for _, tt := range []struct{ name, request, correlation string }{
		{"none", "", ""},
		{"a request id", "req-1", ""},
		{"a correlation id", "", "corr-1"},
		{"both", "req 2/x", "corr-2"},
		{"a UUID", "11111111-2222-3333-4444-555555555555", ""},
	} {
		header := http.Header{}
		if tt.request != "" {
			header.Set("X-Request-Id", tt.request)
		}
		if tt.correlation != "" {
			header.Set("X-Correlation-Id", tt.correlation)
		}
		check := func(where string, h http.Header) (request string) {
			request = h.Get("X-Request-Id")
			if tt.request != "" && request != tt.request || tt.request == "" && !uuid.MatchString(request) {
				t.Errorf("%s: x-request-id %q %s", tt.name, request, where)
			}
			want := tt.correlation
			if want == "" {
				want = request
			}
			if got := h.Values("X-Correlation-Id"); len(got) != 1 || got[0] != want {
				t.Errorf("%s: x-correlation-id %q %s, want %q once", tt.name, got, where, want)
			}
			return request
		}
		r := s.do(http.MethodGet, "/svc", header)
		if above, below := check("on the response", r.header), check("at the service", u.one(t).Header); above != below {
			t.Errorf("%s: %q on the response and %q at the service", tt.name, above, below)
		}
		check("on a failure to connect", s.do(http.MethodGet, "/closed", header).header)
		r = s.do(http.MethodGet, "/nowhere", header)
		if id := check("where there is no route", r.header); r.status != http.StatusNotFound || !strings.Contains(r.body, id) {
			t.Errorf("%s: no route: %d %s, want 404 with the request's id", tt.name, r.status, r.body)
		}
	}
	first, second := s.get("/svc").header.Get("X-Request-Id"), s.get("/svc").header.Get("X-Request-Id")
	if first == second {
		t.Errorf("two requests have the id %s", first)
	}
}

func TestEnvoyHeadersOfAClientHaveNoPower(t *testing.T) {
	t.Parallel()
	unavailable := newBackend(t, always(http.StatusServiceUnavailable))
	slow := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			w.WriteHeader(http.StatusOK)
		case <-r.Context().Done():
		}
	})
	s := newStack(t, policies(
		at("down", unavailable, neverEjected, "retry: {max_retries: 2, "+quick+"}"),
		at("slow", slow, "timeout: {request: 25s}"),
	))
	client := http.Header{
		"X-Envoy-Retry-On":                         {"5xx,retriable-status-codes"},
		"X-Envoy-Retry-Grpc-On":                    {"unavailable"},
		"X-Envoy-Max-Retries":                      {"9"},
		"X-Envoy-Retriable-Status-Codes":           {"503"},
		"X-Envoy-Retriable-Header-Names":           {"x-any"},
		"X-Envoy-Hedge-On-Per-Try-Timeout":         {"true"},
		"X-Envoy-Upstream-Rq-Timeout-Ms":           {"50"},
		"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms":   {"40"},
		"X-Envoy-Upstream-Rq-Timeout-Alt-Response": {"1"},
		"X-Envoy-Upstream-Alt-Stat-Name":           {"evil"},
		"X-Envoy-Expected-Rq-Timeout-Ms":           {"1"},
		"X-Envoy-Attempt-Count":                    {"77"},
		"X-Envoy-Is-Timeout-Retry":                 {"true"},
		"X-Envoy-Original-Path":                    {"/evil"},
		"X-Envoy-Internal":                         {"true"},
		"X-Envoy-Force-Trace":                      {"true"},
		"X-Envoy-Decorator-Operation":              {"evil"},
		"X-Envoy-Downstream-Service-Cluster":       {"evil"},
		"X-Envoy-Downstream-Service-Node":          {"evil"},
		"X-Envoy-External-Address":                 {"203.0.113.9"},
		"X-Envoy-Ip-Tags":                          {"evil"},
	}
	if r := s.do(http.MethodPost, "/down", client); r.status != http.StatusServiceUnavailable {
		t.Errorf("POST: %d", r.status)
	}
	unavailable.one(t)
	if r := s.do(http.MethodGet, "/down", client); r.status != http.StatusServiceUnavailable {
		t.Errorf("GET: %d", r.status)
	}
	if got := unavailable.take(); len(got) != 3 {
		t.Errorf("GET: %d attempts, want the policy's 3", len(got))
	}
	if r := s.do(http.MethodGet, "/slow", client); r.status != http.StatusOK {
		t.Errorf("a timeout of the client's: %d after %v: %s", r.status, r.took, r.body)
	}
	a := slow.one(t)
	set := map[string]string{"X-Envoy-Attempt-Count": "1", "X-Envoy-Expected-Rq-Timeout-Ms": "25000"}
	for name, want := range set {
		if got := a.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("the service sees %s: %q, want %s", name, got, want)
		}
	}
	for name, values := range client {
		if got := a.Header.Get(name); set[name] == "" && got == values[0] {
			t.Errorf("the service sees the client's %s: %s", name, got)
		}
	}
}

// A service sees the address that the gateway was connected from, and in x-forwarded-for what the client itself claims
// before it. There Envoy names its own host, where the client is on it.
func TestAddressOfAClient(t *testing.T) {
	t.Parallel()
	u := newBackend(t, always(http.StatusOK))
	s := newStack(t, policies(at("svc", u)))
	for _, claimed := range []string{"", "203.0.113.9"} {
		header := http.Header{}
		if claimed != "" {
			header.Set("X-Forwarded-For", claimed)
		}
		s.do(http.MethodGet, "/svc", header)
		a := u.one(t)
		got := strings.Split(a.Header.Get("X-Forwarded-For"), ",")
		last, err := netip.ParseAddr(got[len(got)-1])
		if before := strings.Join(got[:len(got)-1], ","); before != claimed || err != nil || last.String() == claimed {
			t.Errorf("a client that claims %q: the service sees x-forwarded-for %q", claimed, got)
		}
		if got := a.Header.Values("X-Envoy-External-Address"); len(got) != 1 || got[0] != "127.0.0.1" {
			t.Errorf("a client that claims %q: x-envoy-external-address is %q", claimed, got)
		}
	}
}
