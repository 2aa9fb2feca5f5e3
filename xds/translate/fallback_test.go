package translate_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// A static fallback answers as the policy says in each way that a breaker opens: hosts
// ejected by Envoy alone, forced open, and the fallback's own key.
func TestStaticFallback(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	body := `{"rate": "100%", "note": "no (live) data", "quote": "\"\\"}`
	rich := service("rich", up.host(t))
	rich.Fallback = &policy.Fallback{
		Status: 200, Body: body,
		Headers: []policy.Header{{Name: "x-cache", Value: `say "50%(a)%" \ é`}, {Name: "cache-control", Value: "no-store"}},
	}
	typed := service("typed", up.host(t))
	typed.Fallback = &policy.Fallback{
		Status: 429, Body: `{"a": 1}`,
		Headers: []policy.Header{{Name: "Content-Type", Value: "application/problem+json"}},
	}
	empty := service("empty", up.host(t))
	empty.Fallback = &policy.Fallback{Status: 204}
	plain := service("plain", up.host(t))
	plain.Fallback = &policy.Fallback{Status: 202, Body: "come back later"}
	g := startGateway(t, testGateway(), rich, typed, empty, plain)

	check := func(t *testing.T) {
		t.Helper()
		up.take()
		a := g.send("GET", "/rich")
		if a.status != http.StatusOK || a.body != body {
			t.Errorf("rich: %d %s", a.status, a.body)
		}
		wantHeader(t, a, "x-cache", `say "50%(a)%" \ é`)
		wantHeader(t, a, "cache-control", "no-store")
		wantHeader(t, a, "content-type", "application/json")
		wantHeader(t, a, "x-circuit-breaker", "fallback")
		wantHeader(t, a, "retry-after", "")
		a = g.send("POST", "/typed")
		if a.status != http.StatusTooManyRequests || a.body != `{"a": 1}` {
			t.Errorf("typed: %d %s", a.status, a.body)
		}
		wantHeader(t, a, "content-type", "application/problem+json")
		a = g.send("GET", "/empty")
		if a.status != http.StatusNoContent || a.body != "" {
			t.Errorf("empty: %d %s", a.status, a.body)
		}
		a = g.send("GET", "/plain")
		if a.status != http.StatusAccepted || a.body != "come back later" {
			t.Errorf("plain: %d %s", a.status, a.body)
		}
		wantHeader(t, a, "content-type", "text/plain")
		wantHeader(t, a, "x-circuit-breaker", "fallback")
		if n := len(up.take()); n != 0 {
			t.Errorf("%d requests reached the services", n)
		}
	}

	t.Run("key", func(t *testing.T) {
		g.setRuntime(map[string]any{
			"breakwater.fallback.rich": 100, "breakwater.fallback.typed": 100,
			"breakwater.fallback.empty": 100, "breakwater.fallback.plain": 100,
		})
		check(t)
	})
	t.Run("maintenance mode", func(t *testing.T) {
		g.setRuntime(map[string]any{
			"upstream.maintenance_mode.rich": 100, "upstream.maintenance_mode.typed": 100,
			"upstream.maintenance_mode.empty": 100, "upstream.maintenance_mode.plain": 100,
		})
		check(t)
	})
	t.Run("ejected", func(t *testing.T) {
		g.setRuntime(nil)
		up.handle(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Cache", "its own")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusInternalServerError)
		})
		for _, name := range []string{"rich", "typed", "empty", "plain"} {
			for range 5 { // the service's own replies stay as they are
				a := g.send("GET", "/"+name)
				wantHeader(t, a, "x-cache", "its own")
				wantHeader(t, a, "content-type", "text/html")
				wantHeader(t, a, "cache-control", "")
				wantHeader(t, a, "x-circuit-breaker", "")
			}
			g.waitFor("the ejection of "+name, func() error {
				if n := g.clusterStat(name, "outlier_detection.ejections_active"); n != "1" {
					return fmt.Errorf("%s hosts ejected", n)
				}
				return nil
			})
		}
		check(t)
	})
}

// A status that the listener has no mapper for keeps Envoy's 503, with all else as the
// policy says, until the fallback's key is turned.
func TestStaticFallbackWithARareStatus(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	s := service("tea", up.host(t))
	s.Fallback = &policy.Fallback{Status: 418, Body: "short and stout"}
	g := startGateway(t, testGateway(), s)
	g.setRuntime(map[string]any{"upstream.maintenance_mode.tea": 100})
	a := g.send("GET", "/tea")
	if a.status != http.StatusServiceUnavailable || a.body != "short and stout" {
		t.Errorf("maintenance mode: %d %s", a.status, a.body)
	}
	wantHeader(t, a, "x-circuit-breaker", "fallback")
	g.setRuntime(map[string]any{"breakwater.fallback.tea": 100})
	if a := g.send("GET", "/tea"); a.status != http.StatusTeapot || a.body != "short and stout" {
		t.Errorf("key: %d %s", a.status, a.body)
	}
}

func TestFallbackService(t *testing.T) {
	t.Parallel()
	up, cache := startUpstream(t), startUpstream(t)
	s := service("pay", up.host(t))
	s.Fallback = &policy.Fallback{Service: "pay-cache"}
	c := service("pay-cache", cache.host(t))
	g := startGateway(t, testGateway(), s, c)
	a := g.send("GET", "/pay/1")
	wantHeader(t, a, "x-circuit-breaker", "")
	if n := len(up.take()); n != 1 {
		t.Errorf("%d requests reached the service, want 1", n)
	}
	g.setRuntime(map[string]any{"breakwater.fallback.pay": 100})
	a = g.send("GET", "/pay/1")
	wantHeader(t, a, "x-circuit-breaker", "fallback")
	if got := cache.take(); len(got) != 1 || got[0].URL.Path != "/pay/1" {
		t.Errorf("the fallback service got %v", got)
	}
	if n := len(up.take()); n != 0 {
		t.Errorf("%d requests reached the service, want 0", n)
	}
}
