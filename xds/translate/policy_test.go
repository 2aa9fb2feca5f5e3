package translate_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// What a policy may say at its extremes can be translated, and Envoy takes it.
func TestExtremesOfAPolicy(t *testing.T) {
	t.Parallel()
	headers := make([]string, 100)
	for i := range headers {
		headers[i] = fmt.Sprintf("x-%d: '%s'", i, strings.Repeat("<", 10))
	}
	for name, lines := range map[string]string{
		"many headers":      "fallback: {headers: {" + strings.Join(headers, ", ") + "}}",
		"long header":       "fallback: {headers: {x-a: '" + strings.Repeat("<", 1024) + "'}}",
		"long body":         "fallback: {body: '" + strings.Repeat("%", 64<<10) + "'}",
		"backslashes":       `routes: [{regex: '/a\\(.*)', rewrite: '/b\\\1\\'}]`,
		"named group":       `routes: [{regex: '/(?P<x>a)/(?<y>b)', rewrite: '/\2/\1'}]`,
		"quoted expression": `routes: [{regex: '/a\Qb.c'}, {regex: '/a\Qb.c\E', rewrite: /b}, {regex: '(?i)/x|/y', rewrite: '\0'}]`,
		"escaped path":      `routes: [{path: /caf%C3%A9}, {prefix: '/a;b=c/d@e!$&()*+,=:~'}]`,
		"hosts":             `routes: [{prefix: /, hosts: ['::1', '[2001:db8::1]', 10.0.0.1, '*.a.example', a.example]}]`,
		"smallest":          "timeout: {connect: 1ms, request: 1ms, idle: 1ms, per_try: 1ms}\nretry: {base_delay: 1ms, max_delay: 1ms, budget: 0.0000000001}\nbreaker: {timeout: 100ms, failure_threshold: 1, window_size: 1}",
		"largest":           "timeout: {connect: 1h, request: 24h, idle: 24h, per_try: 24h}\nretry: {max_retries: 100, base_delay: 1h, max_delay: 1h, budget: 100%, on: [5xx, 400, 599]}\nbreaker: {timeout: 24h, failure_threshold: 100000, window_size: 100000, errors: [100-599]}\nlimits: {max_connections: 1000000, max_pending_requests: 1000000, max_requests: 1000000}",
		"nothing":           "timeout: {request: off, idle: off}\nretry: off\nbreaker: {failure_threshold: off}",
		"health check":      "health_check: {path: '/h?a=b', interval: 100ms, timeout: 1ms, healthy_threshold: 1000, unhealthy_threshold: 1000}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "case")
			writeFile(t, path+".yaml", "service: pay\nupstream: http://10.0.0.1:80\n"+lines+"\n")
			if err := validate(t, bundleYAML(t, path)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A service can not take the place of a cluster of Breakwater's own.
func TestNoServiceHasTheNameOfAnotherCluster(t *testing.T) {
	gw := testGateway()
	gw.ExposeAdmin = "127.0.0.1:8081"
	gw.Tracing = &policy.Tracing{Collector: "127.0.0.1:4317", Sampling: 1, ServiceName: "gateway"}
	own, err := translate.GatewayClusters(gw)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{envoy.XDSCluster}
	for _, c := range own {
		names = append(names, c.GetName())
	}
	for _, name := range names {
		set, problems := policy.Build([]policy.File{{Name: "a.yaml", Data: []byte("service: " + name + "\nupstream: http://a:1\n")}},
			func(string) (string, bool) { return "", false }, nil)
		if len(set.Services) > 0 || len(problems) == 0 {
			t.Errorf("a service named %s is accepted", name)
		}
	}
}

// A budget of almost nothing is not the built-in one.
func TestSmallestRetryBudget(t *testing.T) {
	s := service("pay", policy.Host{Name: "10.0.0.1", Port: 80})
	s.Retry.Budget = 1e-12
	u, err := translate.Service(s, translate.Generation{})
	if err != nil {
		t.Fatal(err)
	}
	if got := u.Limits.RetryBudgetPercent; got != 1e-6 {
		t.Errorf("budget %v %%, want a millionth", got)
	}
}

// The Host header has an IPv6 address in brackets.
func TestRouteOfAnIPv6Host(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "case")
	up := startUpstream(t)
	up.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	writeFile(t, path+".yaml", "service: pay\nupstream: http://"+up.Listener.Addr().String()+
		"\nroutes: [{prefix: /, hosts: ['::1']}]\n")
	g := startGateway(t, testGateway(), readSet(t, path).Services...)
	for host, want := range map[string]int{"[::1]": http.StatusTeapot, "[::1]:8080": http.StatusTeapot, "[::2]": http.StatusNotFound} {
		if a := g.sendTo(host, "/"); a.status != want {
			t.Errorf("host %s: %d, want %d", host, a.status, want)
		}
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever package policy takes for valid can be translated.
func TestEveryValidPolicyIsTranslated(t *testing.T) {
	var files []string
	for _, pattern := range []string{"good/*.yaml", "good/*/*.yaml", "lint/*.yaml", "lint/*/*.yaml", "bad/*.yaml", "bad/*/*.yaml"} {
		paths, err := filepath.Glob("../../policy/testdata/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, paths...)
	}
	env := func(name string) (string, bool) {
		return map[string]string{"A_URL": "http://a:1"}[name], name == "A_URL"
	}
	services := 0
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		set, _ := policy.Build([]policy.File{{Name: filepath.Base(path), Data: data}}, env, nil)
		units := unitsOf(t, set.Services...)
		services += len(units)
		if err := translate.RouteTable(units, set.Gateway).ValidateAll(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		_, errListeners := translate.Listeners(set.Gateway)
		_, errClusters := translate.GatewayClusters(set.Gateway)
		if err := errors.Join(errListeners, errClusters); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if services < 50 {
		t.Errorf("only %d services were translated", services)
	}
}
