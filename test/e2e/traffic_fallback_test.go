package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

func TestStaticFallback(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	upstream := hosts(a.Addr(), b.Addr())
	s := newStack(t, policies(
		at("json", upstream, "retry: off", hostsDecide+`fallback: {status: 203, headers: {x-from: policy, cache-control: "no-store, max-age=0"}, body: '{"score": null, "quote": "100 % \"sure\""}'}`),
		at("text", upstream, "retry: off", hostsDecide+"fallback: {body: come back later}"),
		at("html", upstream, "retry: off", hostsDecide+"fallback: {status: 503, headers: {Content-Type: text/html}, body: <b>sorry</b>}"),
		at("empty", upstream, "retry: off", hostsDecide+"fallback: {status: 204}"),
		at("none", upstream, "retry: off"),
	))
	tests := []struct {
		service     string
		status      int
		contentType string
		header      map[string]string
		body        string
	}{
		{"json", 203, "application/json", map[string]string{"X-From": "policy", "Cache-Control": "no-store, max-age=0"}, `{"score": null, "quote": "100 % \"sure\""}`},
		{"text", 200, "text/plain", nil, "come back later"},
		{"html", 503, "text/html", nil, "<b>sorry</b>"},
		{"empty", 204, "", nil, ""},
	}
	for _, tt := range tests {
		a.Behave(envoytest.Behaviour{})
		b.Behave(envoytest.Behaviour{})
		r := s.get("/" + tt.service)
		if r.status != http.StatusOK || r.header.Get("X-Circuit-Breaker") != "" {
			t.Errorf("%s: a healthy service: %d, breaker %q", tt.service, r.status, r.header.Get("X-Circuit-Breaker"))
		}
		for name := range tt.header {
			if got := r.header.Get(name); got != "" {
				t.Errorf("%s: the service's own reply has the fallback's %s: %s", tt.service, name, got)
			}
		}

		a.Behave(failing)
		b.Behave(failing)
		before := map[*envoytest.Upstream]int{a: a.Requests(), b: b.Requests()}
		for i := range 10 {
			r := s.get("/" + tt.service)
			s.untilEjected(tt.service, before, 5, a, b)
			if r.status != http.StatusInternalServerError || r.header.Get("X-Circuit-Breaker") != "" || r.body == tt.body {
				t.Errorf("%s: failure %d: %d %q, breaker %q; want the service's own 500", tt.service, i+1, r.status, r.body, r.header.Get("X-Circuit-Breaker"))
			}
		}
		s.untilAllEjected(tt.service, 2)
		reached := a.Requests() + b.Requests()
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			r := s.send(1, method, "/"+tt.service, "a body")[0]
			if r.status != tt.status || r.body != tt.body {
				t.Errorf("%s: %s: %d %q, want %d %q", tt.service, method, r.status, r.body, tt.status, tt.body)
			}
			if got := r.header.Get("X-Circuit-Breaker"); got != "fallback" {
				t.Errorf("%s: %s: x-circuit-breaker %q, want fallback", tt.service, method, got)
			}
			if got := r.header.Get("Content-Type"); tt.contentType != "" && got != tt.contentType {
				t.Errorf("%s: %s: content-type %q, want %q", tt.service, method, got, tt.contentType)
			}
			for name, want := range tt.header {
				if got := r.header.Values(name); fmt.Sprint(got) != fmt.Sprint([]string{want}) {
					t.Errorf("%s: %s: %s is %q, want %q once", tt.service, method, name, got, want)
				}
			}
			if r.header.Get("X-Request-Id") == "" || r.header.Get("X-Correlation-Id") == "" {
				t.Errorf("%s: %s: no ids in %v", tt.service, method, r.header)
			}
		}
		if got := a.Requests() + b.Requests(); got != reached {
			t.Errorf("%s: %d requests reached the hosts while the fallback answered", tt.service, got-reached)
		}
		if got := s.state(tt.service); got != "open" {
			t.Errorf("%s is %s, want open", tt.service, got)
		}
	}
	// Each service has its own breaker, though the hosts are the same.
	if got := s.state("none"); got != "closed" {
		t.Errorf("a service without requests is %s, want closed", got)
	}
}
