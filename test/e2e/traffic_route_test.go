package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// named is a backend that answers with its name and the path that it was asked for.
func named(t *testing.T, name string) *backend {
	t.Helper()
	return newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+" "+r.URL.RequestURI())
	})
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	var docs []string
	service := func(name string, routes ...string) {
		doc := fmt.Sprintf("service: %s\nupstream: %v\nretry: off\n", name, named(t, name))
		if len(routes) > 0 {
			doc += "routes:\n  - " + strings.Join(routes, "\n  - ") + "\n"
		}
		docs = append(docs, doc)
	}
	// Neither the order of the services nor that of their routes decides.
	service("a-regex", `{regex: "/api/v[0-9]+/.*"}`, `{regex: "/only/[a-z]+"}`)
	service("b-short", "{prefix: /api}", "{prefix: /}")
	service("c-long", "{prefix: /api/v1}")
	service("d-exact", "{path: /api/v1/exact}", "{path: /}")
	service("e-methods", "{prefix: /api/v1, methods: [DELETE, PATCH]}")
	service("f-headers",
		"{prefix: /api/v1, headers: [{name: X-Canary, exact: yes-please}]}",
		"{prefix: /h, headers: [{name: x-p, prefix: ab}, {name: x-r, regex: '[0-9]+'}]}",
		"{prefix: /h/present, headers: [{name: x-any, present: true}]}",
		"{prefix: /h/absent, headers: [{name: x-any, present: true, invert: true}]}",
		"{prefix: /h/not, headers: [{name: x-env, exact: prod, invert: true}]}")
	service("g-hosts", "{prefix: /, hosts: [shop.example, '*.eu.example']}")
	service("h-rewrites",
		"{prefix: /rw/in, rewrite: /out}", "{prefix: /rw/root, rewrite: /}", "{path: /rw/one, rewrite: /two}")
	service("i-own-name")
	s := newStack(t, policies(docs...))

	for _, tt := range []struct {
		request string // method, path and headers
		header  http.Header
		want    string
	}{
		{"GET /api/v1/exact", nil, "d-exact /api/v1/exact"},
		{"GET /api/v1/exact?q=1", nil, "d-exact /api/v1/exact?q=1"},
		{"GET /api/v1/exact/more", nil, "c-long /api/v1/exact/more"},
		{"GET /api/v1/x", nil, "c-long /api/v1/x"},
		{"GET /api/v1", nil, "c-long /api/v1"},
		{"GET /api/v2/x", nil, "b-short /api/v2/x"},
		{"GET /apiary", nil, "b-short /apiary"}, // by the prefix /, for /api is not one of its segments
		{"GET /api/v11", nil, "b-short /api/v11"},
		{"GET /", nil, "d-exact /"},
		{"GET /a/../api/v1//x", nil, "c-long /api/v1/x"},
		{"DELETE /api/v1/x", nil, "e-methods /api/v1/x"},
		{"PATCH /api/v1/x", nil, "e-methods /api/v1/x"},
		{"POST /api/v1/x", nil, "c-long /api/v1/x"},
		{"GET /api/v1/x", http.Header{"X-Canary": {"yes-please"}}, "f-headers /api/v1/x"},
		{"GET /api/v1/x", http.Header{"X-Canary": {"yes"}}, "c-long /api/v1/x"},
		{"GET /h/1", http.Header{"X-P": {"abc"}, "X-R": {"42"}}, "f-headers /h/1"},
		{"GET /h/1", http.Header{"X-P": {"abc"}}, "b-short /h/1"},
		{"GET /h/1", http.Header{"X-P": {"xab"}, "X-R": {"42"}}, "b-short /h/1"},
		{"GET /h/1", http.Header{"X-P": {"abc"}, "X-R": {"42x"}}, "b-short /h/1"},
		{"GET /h/present", http.Header{"X-Any": {"1"}}, "f-headers /h/present"},
		{"GET /h/present", nil, "b-short /h/present"},
		{"GET /h/absent", nil, "f-headers /h/absent"},
		{"GET /h/absent", http.Header{"X-Any": {"1"}}, "b-short /h/absent"},
		{"GET /h/not", nil, "f-headers /h/not"},
		{"GET /h/not", http.Header{"X-Env": {"test"}}, "f-headers /h/not"},
		{"GET /h/not", http.Header{"X-Env": {"prod"}}, "b-short /h/not"},
		{"GET /api/v1/exact", http.Header{"Host": {"shop.example"}}, "g-hosts /api/v1/exact"},
		{"GET /x", http.Header{"Host": {"SHOP.example:8080"}}, "g-hosts /x"},
		{"GET /x", http.Header{"Host": {"de.eu.example"}}, "g-hosts /x"},
		{"GET /x", http.Header{"Host": {"eu.example"}}, "b-short /x"},
		{"GET /rw/in", nil, "h-rewrites /out"},
		{"GET /rw/in/a?b=c", nil, "h-rewrites /out/a?b=c"},
		{"GET /rw/root", nil, "h-rewrites /"},
		{"GET /rw/root/a", nil, "h-rewrites /a"},
		{"GET /rw/one?q", nil, "h-rewrites /two?q"},
		{"GET /anything/at/all", http.Header{"Host": {"i-own-name"}}, "i-own-name /anything/at/all"},
		{"GET /anything", http.Header{"Host": {"I-Own-Name:80"}}, "i-own-name /anything"},
	} {
		method, path, _ := strings.Cut(tt.request, " ")
		if r := s.do(method, path, tt.header); r.status != http.StatusOK || r.body != tt.want {
			t.Errorf("%s %v: %d %q, want %q", tt.request, tt.header, r.status, r.body, tt.want)
		}
	}
}

// Regular expressions come last, and without a route for every path there is a 404.
func TestRegexAndNoRoute(t *testing.T) {
	t.Parallel()
	s := newStack(t, policies(
		fmt.Sprintf("service: a\nupstream: %v\nroutes: [{regex: '/v[0-9]/[a-z]+'}]\n", named(t, "a")),
		fmt.Sprintf("service: r\nupstream: %v\nroutes: [{regex: '/users/([^/]+)/(.*)', rewrite: '/u/\\2/of/\\1'}]\n", named(t, "r")),
		fmt.Sprintf("service: b\nupstream: %v\nroutes: [{prefix: /v1/special}]\n", named(t, "b")),
		fmt.Sprintf("service: c\nupstream: %v\n", named(t, "c")),
	))
	for path, want := range map[string]string{
		"/v1/special": "b /v1/special", "/v1/other": "a /v1/other", "/v2/special?x=1": "a /v2/special?x=1",
		"/users/ada/orders/7?all=1": "r /u/orders/7/of/ada?all=1",
	} {
		if r := s.get(path); r.status != http.StatusOK || r.body != want {
			t.Errorf("%s: %d %q, want %q", path, r.status, r.body, want)
		}
	}
	for _, path := range []string{"/", "/v1", "/v1/Special", "/v1/other/", "/x/v1/other"} {
		r := s.get(path)
		var p problem
		if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.status != http.StatusNotFound || p.Error != "no_route" {
			t.Errorf("%s: %d %s, want 404 no_route", path, r.status, r.body)
		}
	}
}

// TestLargeExpression: an Envoy with the bootstrap of `breakwater bootstrap` takes an expression that one without refuses.
func TestLargeExpression(t *testing.T) {
	t.Parallel()
	tenants := make([]string, 50)
	for i := range tenants {
		tenants[i] = fmt.Sprintf("tenant-%d", 100+i*i)
	}
	s := newStack(t, policies(fmt.Sprintf("service: a\nupstream: %v\nroutes: [{regex: '/(?:%s)/[0-9a-f]{64}'}]\n", named(t, "a"), strings.Join(tenants, "|"))))
	for path, want := range map[string]int{
		"/tenant-2501/" + strings.Repeat("0f", 32): http.StatusOK, "/tenant-2501/" + strings.Repeat("0f", 31): http.StatusNotFound,
	} {
		if r := s.get(path); r.status != want {
			t.Errorf("%s: %d %s, want %d", path, r.status, r.body, want)
		}
	}
	if got := s.refused(s.envoy); got != 0 {
		t.Errorf("Envoy has refused %d updates, want none", got)
	}
}

// The two calls of the original system's API on the gateway's own port, before any service that has every path.
func TestExposedAdmin(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(fmt.Sprintf("service: svc\nupstream: %s\nroutes: [{prefix: /}]\nretry: off\n", u.Addr())))
	if r := s.get("/api/v1/circuit-breakers"); r.body != u.Addr() {
		t.Errorf("not exposed, and yet: %d %s", r.status, r.body)
	}
	s.write("gateway.yaml", "expose_admin: "+s.http+"\n")
	list := func() (l legacy, err error) {
		r := s.get("/api/v1/circuit-breakers")
		if r.status != http.StatusOK {
			return l, fmt.Errorf("%d %s", r.status, r.body)
		}
		return l, json.Unmarshal([]byte(r.body), &l)
	}
	s.until("the gateway answers for the admin API", func() error {
		l, err := list()
		if err == nil && l.CircuitBreakers["svc"].State != "closed" {
			err = fmt.Errorf("%+v", l)
		}
		return err
	})
	u.Behave(failing)
	for range 5 {
		s.get("/x")
	}
	s.untilAllEjected("svc", 1)
	if l, err := list(); err != nil || l.CircuitBreakers["svc"].State != "open" {
		t.Errorf("%+v, %v; want open", l, err)
	}
	u.Behave(envoytest.Behaviour{})
	if r := s.do(http.MethodPost, "/api/v1/circuit-breakers/svc/reset", nil); r.status != http.StatusOK {
		t.Errorf("reset through the gateway: %d %s", r.status, r.body)
	}
	if r := s.get("/x"); r.status != http.StatusOK {
		t.Errorf("after the reset: %d %s", r.status, r.body)
	}
	// Nothing else of the API is exposed.
	for _, path := range []string{"/api/v1/breakers", "/api/v1/config", "/api/v1/proxies", "/metrics", "/readyz"} {
		if r := s.get(path); r.body != u.Addr() {
			t.Errorf("%s: %d %s, want the service", path, r.status, r.body)
		}
	}
	s.write("gateway.yaml", "expose_admin: off\n")
	s.until("it is the service's again", func() error {
		if r := s.get("/api/v1/circuit-breakers"); r.body != u.Addr() {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
}
