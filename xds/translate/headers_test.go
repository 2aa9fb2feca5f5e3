package translate_test

import (
	"net/http"
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
