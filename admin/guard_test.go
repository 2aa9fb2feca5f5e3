package admin_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/envoy"
)

func TestBrowsersOfOtherOrigins(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model, AllowedHosts: []string{"ops.example"}})
	const reset = "/api/v1/circuit-breakers/fraud-service/reset"
	for _, tt := range []struct {
		name, method, path string
		header             map[string]string
		status             int
		advice             string // of what can be done, if it is refused
	}{
		{"a tool", "POST", reset, nil, 200, ""},
		{"the own page", "POST", reset, map[string]string{"Origin": run.url, "Sec-Fetch-Site": "same-origin"}, 200, ""},
		{"the own page in an older browser", "POST", reset, map[string]string{"Origin": run.url}, 200, ""},
		{"another site's form", "POST", reset, map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}, 403, ""},
		{"another port of this host", "POST", reset, map[string]string{"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"}, 403, ""},
		{"another site in an older browser", "POST", "/api/v1/breakers/fraud-service/reset", map[string]string{"Origin": "https://evil.example"}, 403, "must pass on the Host header"},
		{"a page without origin", "PUT", "/api/v1/log-level", map[string]string{"Origin": "null"}, 403, "must pass on the Host header"},
		{"a rebound name", "GET", "/api/v1/breakers", map[string]string{"Host": "evil.example"}, 421, "--http-host"},
		{"a rebound name of the same origin", "POST", reset, map[string]string{"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 421, "--http-host"},
		{"localhost", "GET", "/api/v1/breakers", map[string]string{"Host": "localhost:8081"}, 200, ""},
		{"an IPv6 address", "GET", "/api/v1/breakers", map[string]string{"Host": "[::1]:8081"}, 200, ""},
		{"an IPv6 address without port", "GET", "/api/v1/breakers", map[string]string{"Host": "[::1]"}, 200, ""},
		{"an allowed name", "GET", "/api/v1/breakers", map[string]string{"Host": "Ops.Example:443"}, 200, ""},
		{"the own page behind a proxy that ends TLS", "POST", reset, map[string]string{"Host": "ops.example", "Origin": "https://ops.example", "Sec-Fetch-Site": "same-origin"}, 200, ""},
		{"the same in an older browser", "POST", reset, map[string]string{"Host": "ops.example", "Origin": "https://ops.example"}, 200, ""},
		{"the own page behind a proxy that has TLS and another host", "POST", reset, map[string]string{"Origin": "https://ops.example", "Sec-Fetch-Site": "same-origin"}, 200, ""},
		{"the own page behind a proxy without TLS and with another host", "POST", reset, map[string]string{"Origin": "http://ops.example"}, 403, "must pass on the Host header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(model.resets)
			got := do(t, tt.method, run.url+tt.path, "", tt.header)
			if got.status != tt.status {
				t.Errorf("status %d: %s, want %d", got.status, got.body, tt.status)
			}
			if !strings.Contains(got.body, tt.advice) {
				t.Errorf("it is answered %s, without %q", got.body, tt.advice)
			}
			if tt.status >= 400 && len(model.resets) != before {
				t.Error("refused, and yet the model was asked")
			}
			if cors := got.header.Get("Access-Control-Allow-Origin"); cors != "" {
				t.Errorf("Access-Control-Allow-Origin is %q", cors)
			}
			if got.header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", got.header.Get("Content-Type"))
			}
		})
	}
	if got := withoutHost(t, run.url); got != "HTTP/1.0 200 OK" {
		t.Errorf("a check by HTTP/1.0, which needs no host, is answered %q", got)
	}
	preflight := do(t, http.MethodOptions, run.url+"/api/v1/log-level", "", map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"})
	if preflight.status != http.StatusMethodNotAllowed {
		t.Errorf("a preflight is answered with %d", preflight.status)
	}
}

// TestCallersOfTheGateway: the address of who called a gateway is believed from a gateway that proves itself, and from
// nobody else; the guard judges such a call as any other.
func TestCallersOfTheGateway(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model, GatewaySecret: "s3cret"})
	const reset = "/api/v1/circuit-breakers/fraud-service/reset"
	for _, tt := range []struct {
		name   string
		header map[string]string
		actor  string // empty: refused
	}{
		{"through the gateway", map[string]string{envoy.GatewayProof: "s3cret 192.0.2.7", "X-Forwarded-For": "10.0.0.1"}, "192.0.2.7"},
		{"through the gateway by IPv6", map[string]string{envoy.GatewayProof: "s3cret 2001:db8::7"}, "2001:db8::7"},
		{"by itself", map[string]string{"X-Forwarded-For": "192.0.2.7"}, "127.0.0.1"},
		{"with a guess", map[string]string{envoy.GatewayProof: "guess 192.0.2.7", "X-Forwarded-For": "192.0.2.7"}, "127.0.0.1"},
		{"with no secret", map[string]string{envoy.GatewayProof: " 192.0.2.7"}, "127.0.0.1"},
		{"another site through the gateway", map[string]string{envoy.GatewayProof: "s3cret 192.0.2.7", "Origin": "https://evil.example"}, ""},
		{"a rebound name through the gateway", map[string]string{envoy.GatewayProof: "s3cret 192.0.2.7", "Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(model.resets)
			got := do(t, http.MethodPost, run.url+reset, "", tt.header)
			switch {
			case tt.actor == "" && (got.status < 400 || len(model.resets) != before):
				t.Errorf("it is not refused: %d %s", got.status, got.body)
			case tt.actor != "" && (len(model.resets) == before || model.resets[before].Actor != tt.actor):
				t.Errorf("%d %s, resets %+v; want one by %s", got.status, got.body, model.resets[before:], tt.actor)
			}
		})
	}
}

// withoutHost asks for /healthz as HTTP/1.0 does, and gives the status line.
func withoutHost(t *testing.T, url string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /healthz HTTP/1.0\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
