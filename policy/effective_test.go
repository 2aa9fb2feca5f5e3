package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const plainPolicy = "service: a\nupstream: http://10.0.0.1:80\n"

const fullPolicy = `service: a
upstream: [https://a.example:443, https://b.example:443]
tls: {server_name: x, ca_file: /ca, cert_file: /cert, key_file: /key}
timeout: {idle: off, per_try: 2s}
retry: {budget: 12.5%}
breaker:
  failure_threshold: off
  failure_rate: 50%
  slow_call: {duration: 1s, rate: 5%}
  half_open: {max_requests: 2}
  errors: [500-503, 429]
health_check: {path: /h}
fallback: {status: 200, headers: {a: b}, body: x}
routes:
  - {prefix: /a, hosts: [a.example], methods: [GET, PUT], headers: [{name: x, exact: y}]}
  - {path: /b}
`

// serviceOf builds service a of one document.
func serviceOf(t *testing.T, document string) *Service {
	t.Helper()
	return directory{"a.yaml": document}.good(t, nil).Lookup("a")
}

// TestEffectiveSettings: every value with an origin is shown, a section that is off as that.
func TestEffectiveSettings(t *testing.T) {
	for _, tt := range []struct {
		name, policy string
		want         []string
		absent       []string
	}{
		{"all", fullPolicy, []string{
			"upstream = https://a.example:443,b.example:443", "tls.server_name = x", "tls.key_file = /key",
			"timeout.idle = off", "timeout.per_try = 2s", "retry.budget = 12.5%", "breaker.failure_threshold = off", "breaker.failure_rate = 50%",
			"breaker.slow_call.rate = 5%", "breaker.half_open.max_requests = 2", "breaker.errors = 429, 500-503",
			"health_check.path = /h", "fallback.headers = a: b",
			"routes = prefix /a of a.example GET/PUT with x: y, path /b",
		}, nil},
		{"little", plainPolicy, []string{
			"breaker.errors = 5xx", "breaker.slow_call = off", "health_check = off", "fallback = off", "breaker.failure_rate = off", "routes = prefix / of a",
		}, []string{"health_check.interval", "fallback.status", "breaker.slow_call.rate", "tls.ca_file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			svc := serviceOf(t, tt.policy)
			got := map[string]string{}
			for _, s := range svc.Settings() {
				got[s.Path] = s.Value
				if s.Origin != svc.Origins[s.Path] {
					t.Errorf("%s comes from %+v, want %+v", s.Path, s.Origin, svc.Origins[s.Path])
				}
			}
			for _, want := range tt.want {
				path, value, _ := strings.Cut(want, " = ")
				if got[path] != value {
					t.Errorf("%s = %q, want %q", path, got[path], value)
				}
			}
			for _, path := range tt.absent {
				if value, ok := got[path]; ok {
					t.Errorf("%s = %q, want nothing", path, value)
				}
			}
		})
	}
	shown := map[string]bool{}
	svc := serviceOf(t, fullPolicy)
	for _, s := range svc.Settings() {
		shown[s.Path] = true
	}
	// A section that is on is shown by its values, and the fallback is either of two.
	hidden := map[string]bool{"health_check": true, "fallback": true, "fallback.service": true, "breaker.slow_call": true}
	for path := range svc.Origins {
		if !shown[path] && !hidden[path] {
			t.Errorf("%s is not shown", path)
		}
	}
}

func TestFallbackService(t *testing.T) {
	set, problems := Build([]File{{Name: "a.yaml", Data: []byte(plainPolicy + "fallback: {service: b}\n---\nservice: b\nupstream: http://10.0.0.2:80\n")}},
		func(string) (string, bool) { return "", false }, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, s := range set.Lookup("a").Settings() {
		if strings.HasPrefix(s.Path, "fallback") {
			got = append(got, fmt.Sprintf("%s = %s (%s)", s.Path, s.Value, s.Origin.Layer))
		}
	}
	if diff := cmp.Diff([]string{"fallback.service = b (service)"}, got); diff != "" {
		t.Errorf("fallback (-want +got):\n%s", diff)
	}
}
