package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// secretKinds are values that are right in some places and wrong in others. Each has a token that no message may have.
var secretKinds = []string{
	"hunter2", "HUNTER2 sword", "hunter2-", "4815", "4815s", "4815ms", "48.15%", "0.4815", "-4815", "04815", "4815-4816", "4815hunter2h",
	"http://hunter2.example:4815", "http://hunter2:4815@x", "hunter2://x", "http://hunter2.example/hunter2", "hunter2.example:4815", "hunter2.example:99994815",
	"http://hunter2..example", "https://10.48.15.1", "10.48.15.1", "[::4815]", "grpc://hunter2:1", "/hunter2", "/hunter2/../x", "/hunter2%2fx", "/hunter2%4", "/hunter2?x", "/hunter2//x", "hunter2(", "(hunter2)[", `\pHUNTER2`, `\x{4815}`, `\p{Hunter2}`,
	"GETHUNTER2", "PUT_HUNTER2", "hunter2_", "hunter2\nx", "5xxhunter2", "connect-failurehunter2", "hunter2.", "/hunter2\\9", "\\4815", "hunter2:hunter2",
}

// secretFields are documents of every field, by path and kind of value.
var secretFields = []string{
	"profile: @", "timeout: {connect: @}", "timeout: {request: @}", "timeout: {per_try: @}", "timeout: {idle: @}", "timeout: {per_try: 20s, request: @}", "timeout: {per_try: @, request: 10s}",
	"timeout: {connect: @, request: 1s}", "timeout: @", "retry: @", "retry: {max_retries: @}", "retry: {max_retries: @, budget: 90%}", "retry: {base_delay: @, max_delay: 1s}", "retry: {base_delay: 1h, max_delay: @}",
	"retry: {on: [5xx, @, @]}", "retry: {on: @}", "retry: {methods: [@, GET, @]}", "retry: {budget: @}", "breaker: {failure_threshold: @}", "breaker: {failure_threshold: 100, window_size: @}", "breaker: {failure_threshold: @, window_size: 100}", "breaker: {success_threshold: @}",
	"breaker: {timeout: @, max_timeout: 100ms}", "breaker: {max_timeout: @}", "breaker: {failure_rate: @}", "breaker: {min_requests: @, window_size: 10}", "breaker: {slow_call: {duration: @, rate: @, min_requests: @}, window_size: 20}",
	"breaker: {half_open: {max_requests: @}}", "breaker: {backoff: @}", "breaker: {errors: [@, 429, @]}", "breaker: {shadow: @}", "limits: {max_connections: @, max_requests: @}", "limits: @",
	"health_check: {path: @}", "health_check: {path: /, interval: @, timeout: 3s}", "health_check: {path: /, timeout: @, healthy_threshold: @, uneject: @}", "health_check: @",
	"fallback: {service: @}", "fallback: {service: @, status: @}", "fallback: {status: @, body: @}", "fallback: {status: 200, headers: {x-a: @, x-b: @}}", "fallback: {status: 204, body: @}", "fallback: @",
	"tls: {server_name: @, ca_file: @}", "tls: {cert_file: @}", "tls: {key_file: @}",
	"routes: [{prefix: @}]", "routes: [{path: @, rewrite: @}]", "routes: [{regex: @, rewrite: '/x\\1'}]", "routes: [{regex: '/(a)', rewrite: @}]", "routes: [{prefix: /, hosts: [@, @]}]", "routes: [{prefix: /, methods: [@, @]}]",
	"routes: [{prefix: /, headers: [{name: @, exact: @}, {name: x-a, regex: @}, {name: x-b, prefix: @}, {name: x-c, present: @, invert: @}]}]", "routes: [{prefix: /a}, {prefix: @}, {prefix: @}]", "routes: @", "nonsense: @", "@: 1",
}

// TestNoMessageHasAValue: whatever a variable holds and wherever it stands, no problem has it.
func TestNoMessageHasAValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]string{}
		fill := func(text string) string {
			for strings.Contains(text, "@") {
				name := fmt.Sprintf("V%d", len(values))
				values[name] = rapid.SampledFrom(secretKinds).Draw(t, "value")
				form := rapid.SampledFrom([]string{`"${%s}"`, `"${%s}"`, `"x${%s}"`, `"${%s:-x}"`, `"http://${%s}"`, `"${%s}5s"`}).Draw(t, "form")
				text = strings.Replace(text, "@", fmt.Sprintf(form, name), 1)
			}
			return text
		}
		fields := func(label string, without ...string) string {
			lines := distinct(rapid.SliceOfN(rapid.SampledFrom(secretFields), 0, 6).Draw(t, label))
			lines = slices.DeleteFunc(lines, func(l string) bool {
				field, _, _ := strings.Cut(l, ":")
				return slices.Contains(without, field)
			})
			return fill(strings.Join(append(lines, ""), "\n"))
		}
		shared := []string{"profile", "routes"}
		documents := rapid.Custom(func(t *rapid.T) string {
			name := rapid.SampledFrom([]string{"a", "a", "b", "@", `"${SAME}"`, `"${SAME}"`}).Draw(t, "name")
			upstream := rapid.SampledFrom([]string{"http://x:1", "https://x", "https://10.0.0.1", "grpc://x:1", "@", "[https://y, @, @]", "[@, http://x]", "{a: @}"}).Draw(t, "upstream")
			return fill("service: "+name+"\nupstream: "+upstream+"\n") + fields("fields")
		})
		files := directory{
			"a.yaml": strings.Join(rapid.SliceOfN(documents, 1, 4).Draw(t, "documents"), "---\n"),
			"defaults.yaml": fields("defaults", shared...) + "profiles:\n  p: {}\n  q:\n    " +
				strings.ReplaceAll(strings.TrimSpace(fields("profile", shared...)+"limits: {}"), "\n", "\n    ") + "\n",
			"gateway.yaml": fill(rapid.SampledFrom([]string{
				"address: @", "expose_admin: @", "access_log: @", "tracing: {collector: @, sampling: @, service_name: @}", "headers: {max_size_kb: @, max_count: @}", "address: 127.0.0.1:1",
			}).Draw(t, "gateway") + "\n"),
		}
		values["SAME"] = rapid.SampledFrom([]string{"hunter2", "hunter2", "48"}).Draw(t, "same")
		for _, e := range environmentSettings {
			if rapid.IntRange(0, 9).Draw(t, "set") == 0 {
				values[e.variable] = rapid.SampledFrom(secretKinds).Draw(t, e.variable)
			}
		}
		values["GATEWAY_HOST"] = rapid.SampledFrom([]string{"", "hunter2"}).Draw(t, "host")
		values["GATEWAY_PORT"] = rapid.SampledFrom([]string{"", "4815hunter2"}).Draw(t, "port")
		env := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
		set, problems := Build(files.files(), env, nil)
		for _, p := range append(problems, Lint(set)...) {
			said := strings.ToLower(p.String() + p.Rule)
			for _, secret := range []string{"hunter2", "4815", "48.15"} {
				if strings.Contains(said, secret) {
					t.Fatalf("%s\nof %v\nin %v", p, files, values)
				}
			}
		}
	})
}

// TestNoFindingAboutEffectiveValuesHasAValue: what is said of values that are valid by themselves names their variables.
func TestNoFindingAboutEffectiveValuesHasAValue(t *testing.T) {
	values := map[string]string{
		"NAME": "hunter2", "OTHER": "hunter3", "NEAR": "hunter22", "COUNT": "48", "WINDOW": "48150", "SHORT": "4815ms", "LONG": "48150ms", "METHOD": "POST", "METHODS": "PATCH", "PROFILE": "hunter2",
		"CB_WINDOW_SIZE": "48150", "RETRY_MAX_RETRIES": "48",
	}
	env := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
	named := func(name string, lines ...string) string {
		return "service: \"${" + name + "}\"\nupstream: http://x:1\n" + strings.Join(append(lines, ""), "\n")
	}
	for name, tt := range map[string]struct {
		files directory
		want  string
	}{
		"failure count":          {directory{"a.yaml": doc("a", `breaker: {failure_threshold: "${COUNT}", window_size: "${WINDOW}"}`)}, `"${COUNT}" failures among "${WINDOW}" attempts`},
		"of the environment":     {directory{"a.yaml": doc("a", `breaker: {failure_threshold: 5}`)}, `5 failures among "${CB_WINDOW_SIZE}" attempts`},
		"timeouts":               {directory{"a.yaml": doc("a", `timeout: {connect: "${LONG}", request: "${SHORT}"}`)}, `timeout.connect "${LONG}" is over timeout.request "${SHORT}"`},
		"attempts":               {directory{"a.yaml": doc("a", `timeout: {per_try: "${SHORT}", request: "${LONG}"}`, `retry: {max_retries: "${COUNT}"}`)}, `1 + "${COUNT}" attempts of "${SHORT}" do not fit into timeout.request "${LONG}"`},
		"attempts in all":        {directory{"a.yaml": doc("a", `retry: {methods: [GET]}`)}, `may get 1 + "${RETRY_MAX_RETRIES}" attempts`},
		"methods":                {directory{"a.yaml": doc("a", `retry: {methods: ["${METHOD}", GET, "${METHODS}"]}`)}, `"${METHOD}, ${METHODS}" is not idempotent`},
		"the same route":         {directory{"a.yaml": named("NAME", "routes: [{prefix: /}]") + "---\n" + named("OTHER", "routes: [{prefix: /}]")}, `service "${NAME}" has the same route`},
		"a route before":         {directory{"a.yaml": named("NAME", "routes: [{prefix: /}]") + "---\n" + doc("a", "routes: [{regex: /a}]")}, `the prefix / of service "${NAME}"`},
		"a service twice":        {directory{"a.yaml": named("NAME") + "---\n" + named("NAME")}, `service "${NAME}" is also defined`},
		"a fallback to nothing":  {directory{"a.yaml": named("NAME") + "---\n" + doc("a", `fallback: {service: "${NEAR}"}`)}, `there is no service "${NEAR}"`},
		"a fallback in a circle": {directory{"a.yaml": named("NAME", `fallback: {service: "${OTHER}"}`) + "---\n" + named("OTHER", `fallback: {service: "${NAME}"}`)}, `"${NAME}" falls back to "${OTHER}"`},
		"no such profile":        {directory{"a.yaml": doc("a", `profile: "${PROFILE}"`), "defaults.yaml": "profiles: {hunted: {}}\n"}, `there is no profile "${PROFILE}" in`},
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := Build(tt.files.files(), env, nil)
			text := joinProblems(append(problems, Lint(set)...))
			if !strings.Contains(text, tt.want) {
				t.Errorf("there is no %s in\n%s", tt.want, text)
			}
			for _, secret := range []string{"hunter2", "hunter3", "48", "POST", "PATCH"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s is in\n%s", secret, text)
				}
			}
		})
	}
}
