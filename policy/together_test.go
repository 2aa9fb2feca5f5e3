package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// mistake is a value that is at fault for itself, by path in the document, and what is said of it.
type mistake struct {
	path  string
	value any
	says  string
}

// mistakes have no two that concern one another, unless they have the same path or one of them is in the other.
var mistakes = []mistake{
	{"nonsense", 1, "nonsense: unknown field"},
	{"profile", "missing", "profile: there is no profile missing"},
	{"upstream", "nonsense://x", "upstream: unknown scheme"},
	{"routes", []any{map[string]any{"prefix": "x", "nonsense": 1}}, "routes[0]: prefix: must begin with /"},
	{"routes", []any{map[string]any{"prefix": "/x", "path": "/x", "hosts": []any{"^"}}}, "routes[0]: needs exactly one of"},
	{"timeout.nonsense", 1, "timeout.nonsense: unknown field"},
	{"timeout.connect", "soon", "timeout.connect: must be a duration"},
	{"timeout.idle", []any{1}, "timeout.idle: must be one value"},
	{"timeout.pair", map[string]any{"per_try": "20s", "request": "10s"}, "timeout.per_try: 20s must not be over"},
	{"retry.pair", map[string]any{"base_delay": "2s", "max_delay": "1s"}, "retry.base_delay: 2s must not be over"},
	{"retry.max_retries", "many", "retry.max_retries: must be a whole number"},
	{"retry.on", []any{"nonsense", "5xx"}, "retry.on[0]: unknown condition"},
	{"retry.methods", []any{"NONSENSE"}, "retry.methods[0]: unknown method"},
	{"retry.budget", "200%", "retry.budget: must be a share"},
	{"breaker.pair", map[string]any{"failure_threshold": 20, "window_size": 10}, "breaker.failure_threshold: 20 must not be over"},
	{"breaker.times", map[string]any{"timeout": "2m", "max_timeout": "1m"}, "breaker.timeout: 2m0s must not be over"},
	{"breaker.slow_call", map[string]any{"rate": "50%"}, "breaker.slow_call.duration: is required"},
	{"breaker.backoff", "much", "breaker.backoff: must be a number"},
	{"breaker.errors", []any{"9xx"}, `breaker.errors[0]: "9xx" is not a status`},
	{"breaker.shadow", "maybe", "breaker.shadow: must be true or false"},
	{"limits.max_requests", 0, "limits.max_requests: must be a whole number"},
	{"limits.max_connections", "${UNSET}", "limits.max_connections: the environment variable UNSET is not set"},
	{"health_check.path", "x", "health_check.path: \"x\" is not a path"},
	{"health_check.pair", map[string]any{"timeout": "20s", "interval": "10s"}, "health_check.timeout: 20s must not be over"},
	{"fallback.status", 99, "fallback.status: must be a whole number"},
	{"fallback.service", "other", "fallback.service: there is no service other"},
	{"fallback.headers", map[string]any{"host": "x"}, "fallback.headers.host: can not be set"},
	{"fallback.body", []any{1}, "fallback.body: must be one value"},
	{"tls.server_name", "^", `tls.server_name: "^" is not a host name`},
	{"tls.key_file", "/a\n", "tls.key_file: a path has no control characters"},
	{"tls.nonsense", 1, "tls.nonsense: unknown field"},
}

// put sets the value at the path of a document; one at a pair is several values beside each other.
func (m mistake) put(doc map[string]any) {
	section := doc
	path := m.path
	for {
		name, rest, more := strings.Cut(path, ".")
		if !more {
			break
		}
		if section[name] == nil {
			section[name] = map[string]any{}
		}
		section, path = section[name].(map[string]any), rest
	}
	if path == "pair" || path == "times" {
		maps.Copy(section, m.value.(map[string]any))
		return
	}
	section[path] = m.value
}

// TestEveryMistakeAtOnce: of any two mistakes in one document, in defaults.yaml or in a profile both are said.
func TestEveryMistakeAtOnce(t *testing.T) {
	places := map[string]struct {
		prefix string
		wrap   func(doc map[string]any) map[string]any
		skip   []string
	}{
		"a document": {"", func(doc map[string]any) map[string]any { return doc }, nil},
		"defaults": {"", func(doc map[string]any) map[string]any {
			delete(doc, "service")
			delete(doc, "upstream")
			return doc
		}, []string{"profile", "upstream", "routes", "tls.", "health_check.path", "breaker.slow_call", "fallback.service"}},
		"a profile": {"profiles.p.", func(doc map[string]any) map[string]any {
			delete(doc, "service")
			delete(doc, "upstream")
			return map[string]any{"profiles": map[string]any{"p": doc}}
		}, []string{"profile", "upstream", "routes", "tls.", "health_check.path", "breaker.slow_call", "fallback.service"}},
	}
	for place, in := range places {
		for i, a := range mistakes {
			for _, b := range mistakes[i+1:] {
				skipped := func(m mistake) bool {
					return slices.ContainsFunc(in.skip, func(prefix string) bool { return strings.HasPrefix(m.path, prefix) })
				}
				if a.path == b.path || skipped(a) || skipped(b) {
					continue
				}
				if a.path == "profile" && b.path == "breaker.slow_call" {
					continue // what is missing could be in the profile that is meant
				}
				doc := map[string]any{"service": "a", "upstream": "https://x"}
				a.put(doc)
				b.put(doc)
				data, err := yaml.Marshal(in.wrap(doc))
				if err != nil {
					t.Fatal(err)
				}
				name := "a.yaml"
				if place != "a document" {
					name = "defaults.yaml"
				}
				_, problems := Build([]File{{Name: name, Data: data}}, noEnv, nil)
				text := joinProblems(problems)
				for _, m := range []mistake{a, b} {
					if !strings.Contains(text, ": "+in.prefix+m.says) {
						t.Errorf("in %s there is no %q of\n%s\nin\n%s", place, m.says, text, data)
					}
				}
			}
		}
	}
}

// TestRuinedPartsHideNoOther: neither do too many items, several documents, nor several variables in one value.
func TestRuinedPartsHideNoOther(t *testing.T) {
	headers := "fallback:\n  headers:\n"
	for i := range maxHeaders + 1 {
		headers += fmt.Sprintf("    x-%d: a\n", i)
	}
	for name, tt := range map[string]struct {
		files directory
		want  []string
	}{
		"headers":   {directory{"a.yaml": doc("a", headers+"    host: b")}, []string{"has 102 items", "host: can not be set"}},
		"items":     {directory{"a.yaml": doc("a", "retry: {on: [nonsense, "+strings.Repeat("'500', ", maxItems)+"]}")}, []string{"has 1001 items", "unknown condition"}},
		"documents": {directory{"gateway.yaml": "nonsense: 1\n---\nnonsense: 2\n"}, []string{"has one document", "gateway.yaml:1:1: nonsense: unknown"}},
		"variables": {directory{"a.yaml": doc("a", `profile: "${ONE}${TWO}"`)}, []string{"ONE is not set", "TWO is not set"}},
		"a header":  {directory{"a.yaml": doc("a", `routes: [{prefix: /, headers: [{name: "a b", regex: "(", nonsense: 1}]}]`)}, []string{"is not a header name", "regex: not a valid", "nonsense: unknown"}},
		"a rewrite": {directory{"a.yaml": doc("a", `routes: [{regex: "(", rewrite: x}]`)}, []string{"regex: not a valid", "rewrite: must begin"}},
		"a cycle":   {directory{"a.yaml": doc("a", "nonsense: 1", "fallback: {service: a}")}, []string{"nonsense: unknown", "cannot be its own fallback"}},
		"wrong profiles": {directory{"defaults.yaml": "timeout: {request: oops}\nretry: {base_delay: 2s, max_delay: 1s}\nprofiles: [x]\n"}, []string{
			"timeout.request: must be", "retry.base_delay: 2s must not be", "profiles: must be a map",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := Build(tt.files.files(), noEnv, nil)
			text := joinProblems(problems)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
		})
	}
}
