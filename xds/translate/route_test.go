package translate_test

import (
	"fmt"
	"math/rand"
	"net/http"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

func withRoutes(s *policy.Service, routes ...policy.Route) *policy.Service {
	s.Routes = routes
	return s
}

// routedBy starts a gateway of services that answer with their own name and the path
// and host that they were sent.
func routedBy(t *testing.T, gw *policy.Gateway, services map[string][]policy.Route) *gateway {
	t.Helper()
	var all []*policy.Service
	for name, routes := range services {
		up := startUpstream(t)
		up.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte(name + " " + r.URL.RequestURI()))
		})
		all = append(all, withRoutes(service(name, up.host(t)), routes...))
	}
	return startGateway(t, gw, all...)
}

func TestRoutePrecedence(t *testing.T) {
	t.Parallel()
	prefix := func(v string) policy.Route { return policy.Route{Match: policy.MatchPrefix, Value: v} }
	g := routedBy(t, testGateway(), map[string][]policy.Route{
		"root":    {prefix("/")},
		"api":     {prefix("/api")},
		"deep":    {prefix("/api/v1/deep")},
		"exact":   {{Match: policy.MatchPath, Value: "/api/v1/deep/exact"}},
		"numbers": {{Match: policy.MatchRegex, Value: "/numbers/[0-9]+"}},
		"number":  {prefix("/numbers/1")},
		"writes":  {{Match: policy.MatchPrefix, Value: "/api", Methods: []string{"POST", "PUT"}}},
		"canary": {{
			Match: policy.MatchPrefix, Value: "/api", Methods: []string{"POST"},
			Headers: []policy.HeaderMatch{{Name: "x-canary", Exact: "yes"}},
		}},
		"hosted": {{Match: policy.MatchPrefix, Value: "/api", Hosts: []string{"Shop.example", "*.shop.example"}}},
	})
	for _, tt := range []struct {
		method, path string
		headers      []string
		want         string
	}{
		{"GET", "/", nil, "root /"},
		{"GET", "/apixyz", nil, "root /apixyz"},
		{"GET", "/api", nil, "api /api"},
		{"GET", "/api/", nil, "api /api/"},
		{"GET", "/api?q=1", nil, "api /api?q=1"},
		{"GET", "/api/v1/deeper", nil, "api /api/v1/deeper"},
		{"GET", "/api/v1/deep/er", nil, "deep /api/v1/deep/er"},
		{"GET", "/api/v1/deep/exact", nil, "exact /api/v1/deep/exact"},
		{"GET", "/api/v1/deep/exact?q=1", nil, "exact /api/v1/deep/exact?q=1"},
		{"GET", "/api/v1/deep/exact/no", nil, "deep /api/v1/deep/exact/no"},
		{"GET", "//api/../api//v1/deep/./exact", nil, "exact /api/v1/deep/exact"},
		{"GET", "/numbers/1", nil, "number /numbers/1"}, // a prefix comes before an expression …
		{"GET", "/numbers/22", nil, "root /numbers/22"}, // … "/" as well
		{"POST", "/api", nil, "writes /api"},
		{"POST", "/api", []string{"x-canary", "yes"}, "canary /api"},
		{"PUT", "/api", []string{"x-canary", "yes"}, "writes /api"},
	} {
		if a := g.send(tt.method, tt.path, tt.headers...); a.body != tt.want {
			t.Errorf("%s %s %v: %d %q, want %q", tt.method, tt.path, tt.headers, a.status, a.body, tt.want)
		}
	}
	for host, want := range map[string]string{
		"shop.example": "hosted /api", "SHOP.example:8080": "hosted /api", "www.shop.example": "hosted /api",
		"other.example": "api /api",
	} {
		if a := g.sendTo(host, "/api"); a.body != want {
			t.Errorf("host %s: %d %q, want %q", host, a.status, a.body, want)
		}
	}
	if a := g.sendTo("shop.example", "/elsewhere"); a.status != http.StatusNotFound {
		t.Errorf("a host with routes of its own: %d %q, want 404", a.status, a.body)
	}
}

func TestHeaderMatches(t *testing.T) {
	t.Parallel()
	on := func(h policy.HeaderMatch) []policy.Route {
		return []policy.Route{{Match: policy.MatchPrefix, Value: "/" + h.Name, Headers: []policy.HeaderMatch{h}}}
	}
	g := routedBy(t, testGateway(), map[string][]policy.Route{
		"exact":   on(policy.HeaderMatch{Name: "exact", Exact: "a"}),
		"prefix":  on(policy.HeaderMatch{Name: "prefix", Prefix: "a"}),
		"regex":   on(policy.HeaderMatch{Name: "regex", Regex: "a+"}),
		"present": on(policy.HeaderMatch{Name: "present", Present: true}),
		"not":     on(policy.HeaderMatch{Name: "not", Exact: "a", Invert: true}),
		"absent":  on(policy.HeaderMatch{Name: "absent", Present: true, Invert: true}),
	})
	for _, tt := range []struct {
		name, value string // no value: no header
		want        bool
	}{
		{"exact", "a", true},
		{"exact", "ab", false},
		{"exact", "", false},
		{"prefix", "ab", true},
		{"prefix", "ba", false},
		{"regex", "aaa", true},
		{"regex", "aab", false},
		{"present", "any", true},
		{"present", "", false},
		{"not", "a", false},
		{"not", "b", true},
		{"not", "", true},
		{"absent", "any", false},
		{"absent", "", true},
	} {
		var headers []string
		if tt.value != "" {
			headers = []string{tt.name, tt.value}
		}
		if a := g.send("GET", "/"+tt.name, headers...); (a.status == http.StatusOK) != tt.want {
			t.Errorf("%s: %q: status %d, want a match: %v", tt.name, tt.value, a.status, tt.want)
		}
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	g := routedBy(t, testGateway(), map[string][]policy.Route{"s": {
		{Match: policy.MatchPrefix, Value: "/a", Rewrite: "/"},
		{Match: policy.MatchPrefix, Value: "/b", Rewrite: "/v2"},
		{Match: policy.MatchPrefix, Value: "/c.d", Rewrite: "/v2/"},
		{Match: policy.MatchPath, Value: "/exact", Rewrite: "/other"},
		{Match: policy.MatchRegex, Value: "/users/([0-9]+)/x|/other", Rewrite: `/u/\1`},
		{Match: policy.MatchPrefix, Value: "/", Rewrite: "/top", Hosts: []string{"root.example"}},
	}})
	for path, want := range map[string]string{
		"/a": "/", "/a/": "/", "/a/x": "/x", "/a/x/y?q=/a/": "/x/y?q=/a/", "/a?q": "/?q",
		"/b": "/v2", "/b/": "/v2/", "/b/x": "/v2/x", "/b?q=1": "/v2?q=1",
		"/c.d": "/v2/", "/c.d/x": "/v2/x",
		"/exact": "/other", "/exact?q=1": "/other?q=1",
		"/users/7/x": "/u/7", "/users/7/x?q=1": "/u/7?q=1",
	} {
		if a := g.send("GET", path); a.body != "s "+want {
			t.Errorf("%s: %d %q, want %q", path, a.status, a.body, want)
		}
	}
	for path, want := range map[string]string{"/": "/top/", "/x": "/top/x"} {
		if a := g.sendTo("root.example", path); a.body != "s "+want {
			t.Errorf("%s: %d %q, want %q", path, a.status, a.body, want)
		}
	}
}

func TestExposedAdmin(t *testing.T) {
	t.Parallel()
	api := startUpstream(t)
	gw := testGateway()
	gw.ExposeAdmin, gw.AdminSecret = api.Listener.Addr().String(), "only the gateway knows"
	api.handle(func(w http.ResponseWriter, r *http.Request) {
		if proof := r.Header.Values(envoy.GatewayProof); len(proof) != 1 || proof[0] != gw.AdminSecret+" 127.0.0.1" {
			t.Errorf("the gateway proves itself by %q", proof)
		}
		w.Write([]byte("admin " + r.URL.Path))
	})
	g := routedBy(t, gw, map[string][]policy.Route{"s": {{Match: policy.MatchPrefix, Value: "/"}}})
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/api/v1/circuit-breakers", "admin /api/v1/circuit-breakers"},
		{"POST", "/api/v1/circuit-breakers/s/reset", "admin /api/v1/circuit-breakers/s/reset"},
		{"POST", "/api/v1/circuit-breakers", "s /api/v1/circuit-breakers"},
		{"GET", "/api/v1/circuit-breakers/s/reset", "s /api/v1/circuit-breakers/s/reset"},
		{"POST", "/api/v1/circuit-breakers/s/reset/all", "s /api/v1/circuit-breakers/s/reset/all"},
		{"GET", "/api/v1/proxies", "s /api/v1/proxies"},
	} {
		if a := g.send(tt.method, tt.path); a.body != tt.want {
			t.Errorf("%s %s: %d %q, want %q", tt.method, tt.path, a.status, a.body, tt.want)
		}
	}
	// The API judges the name and the address that the caller used, and no client proves that it is the gateway.
	api.handle(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, r.Header.Values(envoy.GatewayProof))
	})
	a := g.send("GET", "/api/v1/circuit-breakers", "Host", "shop.example", envoy.GatewayProof, "a guess 192.0.2.1", "x-forwarded-for", "192.0.2.1")
	if want := "shop.example[only the gateway knows 127.0.0.1]"; a.body != want {
		t.Errorf("by a name of the gateway: %d %q, want %q", a.status, a.body, want)
	}
}

func TestRouteTableDoesNotDependOnOrder(t *testing.T) {
	units := manyUnits(t, 50)
	want := translate.RouteTable(units, testGateway())
	for range 5 {
		rand.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
		for _, u := range units {
			slices.Reverse(u.Routes)
		}
		if got := translate.RouteTable(units, testGateway()); !proto.Equal(got, want) {
			t.Fatal("another order of units or routes gives another table")
		}
	}
	if err := want.ValidateAll(); err != nil {
		t.Error(err)
	}
}
