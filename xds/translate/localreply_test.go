package translate_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// wantReply checks a reply that the gateway made itself.
func wantReply(t *testing.T, a answer, status int, kind, service string) {
	t.Helper()
	if a.status != status {
		t.Errorf("status %d, want %d", a.status, status)
	}
	fields := a.fields(t)
	if fields["error"] != kind {
		t.Errorf("error %q, want %q: %s", fields["error"], kind, a.body)
	}
	if service == "" && fields["service"] != nil || service != "" && fields["service"] != service {
		t.Errorf("service %v, want %q", fields["service"], service)
	}
	if fields["status"] != float64(status) {
		t.Errorf("status in the body %v, want %d", fields["status"], status)
	}
	for _, name := range []string{"message", "details"} {
		if s, ok := fields[name].(string); !ok || s == "" {
			t.Errorf("%s is %v", name, fields[name])
		}
	}
	if id := fields["request_id"]; id != a.header.Get("X-Request-Id") {
		t.Errorf("request_id %v, want that of the header, %q", id, a.header.Get("X-Request-Id"))
	}
	if got := a.header.Get("X-Correlation-Id"); got == "" {
		t.Error("no x-correlation-id")
	}
}

func wantHeader(t *testing.T, a answer, name, want string) {
	t.Helper()
	if got := strings.Join(a.header.Values(name), ","); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestEjectedHostsAnswerCircuitOpen(t *testing.T) {
	t.Parallel()
	one, two := startUpstream(t), startUpstream(t)
	g := startGateway(t, testGateway(), service("pay", one.host(t), two.host(t)))
	for _, up := range []*upstream{one, two} {
		up.handle(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.Write([]byte("the service's own words"))
		})
	}
	// Envoy counts in the worker and ejects in the main thread, and a worker that is quick
	// sends on in between. A page of the admin API after each request waits for both.
	for g.clusterStat("pay", "outlier_detection.ejections_active") != "2" {
		a := g.send("GET", "/pay")
		// The service's own 503 is not the gateway's.
		if a.status != http.StatusServiceUnavailable || a.body != "the service's own words" {
			t.Fatalf("got %d %q", a.status, a.body)
		}
		wantHeader(t, a, "x-circuit-breaker", "")
		wantHeader(t, a, "retry-after", "")
	}
	if n := len(one.take()) + len(two.take()); n != 10 {
		t.Errorf("%d requests reached the hosts, want 5 of each", n)
	}
	for range 20 {
		start := time.Now()
		a := g.send("GET", "/pay")
		wantReply(t, a, http.StatusServiceUnavailable, "circuit_open", "pay")
		wantHeader(t, a, "x-circuit-breaker", "open")
		wantHeader(t, a, "retry-after", "60")
		if took := time.Since(start); took > time.Second {
			t.Errorf("failing fast took %s", took)
		}
	}
	if n := len(one.take()) + len(two.take()); n != 0 {
		t.Errorf("%d requests reached the hosts of an open breaker", n)
	}
}

func TestMaintenanceModeAnswersCircuitOpen(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	s := service("pay", up.host(t))
	s.Breaker.Timeout = 1500 * time.Millisecond
	g := startGateway(t, testGateway(), s)
	g.setRuntime(map[string]any{"upstream.maintenance_mode.pay": 100})
	a := g.send("POST", "/pay")
	wantReply(t, a, http.StatusServiceUnavailable, "circuit_open", "pay")
	wantHeader(t, a, "x-circuit-breaker", "open")
	wantHeader(t, a, "retry-after", "2") // whole seconds, not less than the timeout
	if n := len(up.take()); n != 0 {
		t.Errorf("%d requests reached the service", n)
	}
}

func TestOverflowAnswersOverloaded(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, testGateway(), service("pay", up.host(t)))
	g.setRuntime(map[string]any{
		"circuit_breakers.pay.default.max_requests":         0,
		"circuit_breakers.pay.default.max_pending_requests": 0,
	})
	a := g.send("GET", "/pay")
	wantReply(t, a, http.StatusServiceUnavailable, "overloaded", "pay")
	wantHeader(t, a, "x-circuit-breaker", "overloaded")
	wantHeader(t, a, "retry-after", "1")
}

func TestTimeoutsAnswerUpstreamTimeout(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	up.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	request := service("request", up.host(t))
	request.Timeout.Request.D = 50 * time.Millisecond
	try := service("try", up.host(t))
	try.Timeout.PerTry = policy.Duration{D: 50 * time.Millisecond, Set: true}
	idle := service("idle", up.host(t))
	idle.Timeout.Request.Set = false
	idle.Timeout.Idle.D = 50 * time.Millisecond
	g := startGateway(t, testGateway(), request, try, idle)
	for _, name := range []string{"request", "try", "idle"} {
		a := g.send("GET", "/"+name)
		wantReply(t, a, http.StatusGatewayTimeout, "upstream_timeout", name)
		wantHeader(t, a, "x-circuit-breaker", "")
	}
}

func TestConnectionErrorsAreToldApart(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	resetting := startUpstream(t)
	resetting.handle(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	})
	g := startGateway(t, testGateway(),
		service("closed", hostOf(t, closed.Addr().String())), service("resetting", resetting.host(t)))
	wantReply(t, g.send("GET", "/closed"), http.StatusServiceUnavailable, "connect_failure", "closed")
	wantReply(t, g.send("GET", "/resetting"), http.StatusServiceUnavailable, "upstream_reset", "resetting")
}

func TestGatewayAnswersItsOwnErrorsInJSON(t *testing.T) {
	t.Parallel()
	gw := testGateway()
	gw.MaxHeaders = 20
	g := startGateway(t, gw, service("pay", startUpstream(t).host(t)))
	wantReply(t, g.send("GET", "/nobody"), http.StatusNotFound, "no_route", "")
	var many []string
	for range 30 {
		many = append(many, "x-many", "1")
	}
	a := g.send("GET", "/pay", many...)
	if a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", a.status)
	}
	if f := a.fields(t); f["error"] != "gateway_error" {
		t.Errorf("%v", f)
	}
	a = g.send("GET", "/pay%2Fx")
	if a.status != http.StatusTemporaryRedirect || a.header.Get("Location") != "/pay/x" || a.body != "" {
		t.Errorf("a path with an escaped slash: %v", a)
	}
}
