package translate_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A client's own x-envoy-* headers must not buy it retries, time, or anything else.
func TestClientHeadersHaveNoPower(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, testGateway(), service("pay", up.host(t)))
	send := func(method string, headers ...string) (answer, []*http.Request) {
		t.Helper()
		a := g.send(method, "/pay", headers...)
		return a, up.take()
	}

	powers := []string{
		"x-envoy-retry-on", "5xx,gateway-error,retriable-status-codes",
		"x-envoy-retry-grpc-on", "unavailable",
		"x-envoy-max-retries", "7",
		"x-envoy-retriable-status-codes", "500,503",
		"x-envoy-retriable-header-names", "x-again",
		"x-envoy-hedge-on-per-try-timeout", "true",
		"x-envoy-upstream-rq-timeout-ms", "100",
		"x-envoy-upstream-rq-per-try-timeout-ms", "50",
		"x-envoy-upstream-alt-stat-name", "alt",
		"x-envoy-upstream-stream-duration-ms", "50",
		"x-envoy-expected-rq-timeout-ms", "77",
		"x-envoy-attempt-count", "9",
		"x-envoy-internal", "true",
		"x-envoy-force-trace", "true",
		"x-envoy-decorator-operation", "mine",
		"x-envoy-original-path", "/elsewhere",
		"x-envoy-downstream-service-cluster", "mine",
		"x-envoy-is-timeout-retry", "true",
		"x-envoy-ip-tags", "vip",
	}
	up.handle(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Again", "yes")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	a, got := send("GET", powers...)
	if a.status != http.StatusServiceUnavailable || len(got) != 1 {
		t.Errorf("a failing upstream: status %d after %d attempts, want 503 after 1", a.status, len(got))
	}
	for name, values := range got[0].Header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "x-envoy-") {
			continue
		}
		want := map[string]string{
			"x-envoy-attempt-count":          "1",
			"x-envoy-expected-rq-timeout-ms": "30000",
			"x-envoy-external-address":       "127.0.0.1",
		}[name]
		if len(values) != 1 || values[0] != want {
			t.Errorf("the upstream sees %s: %q, want %q", name, values, want)
		}
	}

	up.handle(func(_ http.ResponseWriter, _ *http.Request) { <-time.After(250 * time.Millisecond) })
	if a, got := send("GET", powers...); a.status != http.StatusOK || len(got) != 1 {
		t.Errorf("a slow upstream: status %d after %d attempts, want 200 after 1", a.status, len(got))
	}
}

func TestRequestAndCorrelationIDs(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, testGateway(), service("pay", up.host(t)))
	const uuid = "7d3f1c52-7f7c-4a3b-9f59-2b0a3f1d9f11"
	for _, tt := range []struct {
		name                   string
		headers                []string
		request, correlation   string // what is kept; empty: made
		correlationIsRequestID bool
	}{
		{name: "none", correlationIsRequestID: true},
		{name: "uuid", headers: []string{"x-request-id", uuid}, request: uuid, correlationIsRequestID: true},
		{name: "any text", headers: []string{"x-request-id", "order 66"}, request: "order 66", correlationIsRequestID: true},
		{name: "correlation", headers: []string{"x-correlation-id", "c1"}, correlation: "c1"},
		{
			name: "both", headers: []string{"x-request-id", uuid, "x-correlation-id", "c2"},
			request: uuid, correlation: "c2",
		},
	} {
		for _, path := range []string{"/pay", "/nobody"} {
			a := g.send("GET", path, tt.headers...)
			request, correlation := a.header.Get("X-Request-Id"), a.header.Get("X-Correlation-Id")
			if request == "" || tt.request != "" && request != tt.request {
				t.Errorf("%s %s: request id %q, want %q", tt.name, path, request, tt.request)
			}
			want := tt.correlation
			if tt.correlationIsRequestID {
				want = request
			}
			if correlation != want {
				t.Errorf("%s %s: correlation id %q, want %q", tt.name, path, correlation, want)
			}
			for _, r := range up.take() {
				if r.Header.Get("X-Request-Id") != request || r.Header.Get("X-Correlation-Id") != correlation {
					t.Errorf("%s %s: the upstream sees %v, the client %q and %q",
						tt.name, path, r.Header, request, correlation)
				}
			}
		}
	}
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	gw := testGateway()
	gw.AccessLog = filepath.Join(t.TempDir(), "access.log")
	g := startGateway(t, gw, service("pay", up.host(t)))
	g.send("GET", "/pay?a=1", "x-request-id", "r1", "x-correlation-id", "c1")
	g.setRuntime(map[string]any{"upstream.maintenance_mode.pay": 100})
	g.send("GET", "/pay")
	g.send("GET", "/nobody")
	var lines []map[string]any
	g.waitFor("three lines", func() error {
		b, err := os.ReadFile(gw.AccessLog)
		if err != nil {
			return err
		}
		lines = nil
		for line := range strings.Lines(string(b)) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				return err
			}
			lines = append(lines, fields)
		}
		if len(lines) != 3 {
			return fmt.Errorf("%d lines", len(lines))
		}
		return nil
	})
	for i, want := range []map[string]any{
		{
			"method": "GET", "path": "/pay?a=1", "status": 200.0, "service": "pay", "attempts": 1.0,
			"request_id": "r1", "correlation_id": "c1", "upstream_host": up.Listener.Addr().String(),
			"protocol": "HTTP/1.1", "bytes_sent": 2.0, "details": "via_upstream", "breaker": nil,
		},
		{"status": 503.0, "service": "pay", "flags": "UO", "details": "maintenance_mode", "breaker": "open"},
		{"status": 404.0, "service": nil, "flags": "NR", "details": "route_not_found", "attempts": 0.0},
	} {
		for field, value := range want {
			if lines[i][field] != value {
				t.Errorf("line %d: %s is %v, want %v", i+1, field, lines[i][field], value)
			}
		}
	}
}
