package translate_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/policy"
)

var (
	policies = flag.Int("policies", 300, "how many policies TestEnvoyTakesWhatIsValid makes up")
	seed     = flag.Uint64("seed", 1, "where TestEnvoyTakesWhatIsValid begins")
)

// TestEnvoyTakesWhatIsValid makes up policies of what is odd and yet allowed, and has Envoy validate what those that are
// valid become: a policy that Breakwater takes and Envoy refuses is found by its user only once it is live. What
// depends on Envoy's host (the files of tls, the path of an access log) is left out.
func TestEnvoyTakesWhatIsValid(t *testing.T) {
	t.Parallel()
	const batch = 100
	for from := 0; from < *policies; from += batch {
		r := rand.New(rand.NewPCG(*seed, uint64(from)))
		files := []policy.File{{Name: "gateway.yaml", Data: marshal(t, oddGateway(r))}}
		for i := range batch {
			files = append(files, policy.File{Name: fmt.Sprintf("%03d.yaml", i), Data: marshal(t, mend(t, oddPolicy(r, i)))})
		}
		set, problems := policy.Build(files, func(string) (string, bool) { return "", false }, nil)
		for _, p := range problems {
			if p.Service == "" {
				t.Logf("%s", p)
			}
		}
		if len(set.Services) < batch*3/4 {
			t.Fatalf("only %d of %d policies are valid:\n%v", len(set.Services), batch, problems)
		}
		for _, name := range refusedBy(t, set, set.Services) {
			for _, f := range files {
				if strings.TrimSuffix(f.Name, ".yaml") == name[len(name)-3:] {
					t.Errorf("Envoy refuses the policy\n%s", f.Data)
				}
			}
		}
	}
}

// mend takes the parts with an error out of a policy, as long as there are some.
func mend(t *testing.T, p object) object {
	t.Helper()
	for range 10 {
		_, problems := policy.Build([]policy.File{{Name: "a.yaml", Data: marshal(t, p)}}, func(string) (string, bool) { return "", false }, nil)
		for _, problem := range problems {
			var route int
			name, _, _ := strings.Cut(problem.Path, ".")
			list, _ := p["routes"].([]object)
			if _, err := fmt.Sscanf(name, "routes[%d]", &route); err == nil && len(list) > 1 && route < len(list) {
				p["routes"] = slices.Delete(list, route, route+1)
				break // the others have other numbers now
			}
			name, _, _ = strings.Cut(name, "[")
			delete(p, name)
		}
		if len(problems) == 0 {
			break
		}
	}
	return p
}

// refusedBy are the services of the set that Envoy refuses, found by halves. Those that it refuses only together are all
// given.
func refusedBy(t *testing.T, set *policy.Set, services []*policy.Service) []string {
	t.Helper()
	part := *set
	part.Services = services
	err := validate(t, bundleOf(t, &part, true))
	switch {
	case err == nil:
		return nil
	case len(services) == 1:
		t.Log(err)
		return []string{services[0].Name}
	case len(services) == 0:
		t.Errorf("Envoy refuses the gateway %+v: %v", *set.Gateway, err)
		return nil
	}
	half := len(services) / 2
	names := append(refusedBy(t, set, services[:half]), refusedBy(t, set, services[half:])...)
	if len(names) == 0 {
		t.Errorf("Envoy refuses together what it takes apart: %v", err)
	}
	return names
}

// pick is one of the values, some of which are odd.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// some is up to n different ones of the values.
func some[T any](r *rand.Rand, n int, values ...T) []T {
	values = slices.Clone(values)
	r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	return values[:min(1+r.IntN(n), len(values))]
}

// fields are some of the fields of a section, each with a value.
func fields(r *rand.Rand, all map[string]any) object {
	out := object{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if r.IntN(3) > 0 {
			out[name] = all[name]
		}
	}
	return out
}

// oddTexts are values in which something may have a meaning to Envoy, to a format of its or to JSON.
var oddTexts = []string{
	"a", "%", "%%", "%REQ(x)%", "%CEL(1)%", `"`, `\`, `\u0000`, "'", "`", "$", "{}", "[]", `{"a": 1}`, "ä", "漢字", "😀", "\u0085", "\u2028", "\u00a0x",
	"a b", "a,b", "a;b=c", "\ufeff", "\uffff", "\U0010ffff", "null", "true", "0", "-", "${", strings.Repeat("x", 1000), strings.Repeat("ä", 500), strings.Repeat("%", 1000),
}

var oddExpressions = []string{
	"/.*", "/a|/b", "(?i)/A", "/(?P<x>a)", "/(?<x>a)", "/a{2,5}", "/a+?", `/\d`, `/\pL`, `/\p{Greek}`, `/\p{Letter}`, `/\p{greek}`, `/\p{Any}`, `/\p{LC}`, `/\p{Cn}`,
	`/\p{Co}`, `/\p{Cs}`, `/\p{^Greek}`, `/\PN`, `/[[:alpha:]]`, `/[[:word:]]`, `/[^/]+`, `/\Qa.b\E`, `/\Qa.b`, `/\x41`, `/\x{10ffff}`, `/\x{d800}`, `/\123`, `/\a\f`, `/\z`, `\A/a`, `/a$`, `^/a`, `/a\b`, `/\C`,
	"/(?s).", "/(?U)a+", "/()", "/(a*)*", "/(a|)*", "/(?:)", "/a**", "/[a-]", "/[]a]", "/ä", "/[ä-ü]", "/😀", "/\\t", "/\u2028", "/%", `/a\/b`, `/\-`, `/\_`, `/\"`, "/{", "/a{", "/a{,2}", "/a{0}", "/(((((a)))))",
	`/\p{Kawi}`, `/\p{Nag_Mundari}`, `/\p{Garay}`, `/\p{Vithkuqi}`, `/\p{Chorasmian}`, `/\p{Yezidi}`, `/\p{Wancho}`, `/\p{Sidetic}`, `/\p{Todhri}`, `/\p{Toto}`, `/\p{Cypro_Minoan}`, `/(?i-s)a`, `/(?i:a)`, "/[\\d-z]", `/[\w.]+`, "[/]", "(/)",
}

// oddExpression is one of oddExpressions, of the classes that Go has, or put together of parts. It may be none.
func oddExpression(r *rand.Rand) string {
	switch r.IntN(4) {
	case 0:
		return pick(r, oddExpressions...)
	case 1:
		return `/\p{` + pick(r, slices.Sorted(maps.Keys(unicode.Scripts))...) + "}"
	}
	var out strings.Builder
	for range 1 + r.IntN(10) {
		out.WriteString(pick(r, "/", "a", "b", "Z", "0", "-", "_", ".", "^", "$", "(", ")", "(?:", "(?i)", "(?-s:", "(?P<n>", "(?<m>", "[", "[^", "]", "]", "|", "*", "+", "?", "*?", "??", "{2}", "{0,3}", "{2,}", "{", "}",
			`\b`, `\B`, `\A`, `\z`, `\d`, `\W`, `\s`, `\pN`, `\PL`, `\p{Lu}`, `\x41`, `\xe4`, `\x{7f}`, `\101`, `\n`, `\v`, `\\`, `\.`, `\[`, `\-`, `\/`, `\Q`, `\E`, "[:alpha:]", "[:^digit:]", "[[:word:]]", "ä", "ſ", "K", "\u2028", "#", " ", "&&", "~", "--"))
	}
	return out.String()
}

func oddRoute(r *rand.Rand) object {
	segment := func() string {
		return pick(r, "/", "/a", "/a/", "/a/b", "/%41", "/%e4", "/%00", "/*", "/{a}", "/a;b=c", "/a:b", "/@", "/~", "/a,b", "/'", `/"`, `/\`, "/|", "/^", "/[", "/<a>", "/"+strings.Repeat("x", 3000), "/a=b&c", "/+", "/!", "/$", "/-._")
	}
	out := object{}
	switch r.IntN(3) {
	case 0:
		out["prefix"], out["rewrite"] = segment(), segment()
	case 1:
		out["path"], out["rewrite"] = segment(), segment()
	default:
		out["regex"] = oddExpression(r)
		out["rewrite"] = pick(r, "/", `/\0`, `\0`, `/\\`, `/\1`, "/%", "/ä", "/a b", "/?x", "/{}", "/$1")
	}
	if r.IntN(3) > 0 {
		delete(out, "rewrite")
	}
	if r.IntN(2) == 0 {
		out["hosts"] = some(r, 4, "a.example", "*.example", "*.a.example", "A.B.example", "::1", "[2001:db8::1]", "10.0.0.1", "x", "a_b.example", "xn--bcher-kva.example", "*.com", strings.Repeat("a.", 120)+"b", strings.Repeat("x", 63), "*._a", "localhost")
	}
	if r.IntN(2) == 0 {
		out["methods"] = some(r, 16, "ACL", "BIND", "CHECKOUT", "COPY", "LOCK", "MKACTIVITY", "PROPPATCH", "REBIND", "REPORT", "UNSUBSCRIBE", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LINK", "SEARCH")
	}
	if r.IntN(2) == 0 {
		var conditions []object
		for range 1 + r.IntN(3) {
			c := object{"name": pick(r, "x-a", "X-B", "host", "cookie", "content-length", "x-envoy-a", "a.b", "a!b", "a'b", "a`b", "a|b", "a~", "a#b", "a$b", "a%b", "te", "connection", strings.Repeat("x", 256), ":path", ":method")}
			switch r.IntN(4) {
			case 0:
				c["exact"] = pick(r, oddTexts...)
			case 1:
				c["prefix"] = pick(r, oddTexts...)
			case 2:
				c["regex"] = oddExpression(r)
			default:
				c["present"] = true
			}
			if r.IntN(3) == 0 {
				c["invert"] = true
			}
			conditions = append(conditions, c)
		}
		out["headers"] = conditions
	}
	return out
}

// oddPolicy is a policy that may be valid. The name of its service ends with its number, in three digits.
func oddPolicy(r *rand.Rand, number int) object {
	short := func() string { return pick(r, "1ms", "7ms", "100ms", "0.0011s", "1.5s", "2s", "1h") }
	long := func() any { return pick[any](r, "1ms", "1001us", "1.000000001s", "30s", "24h", "off", 0.5) }
	name := fmt.Sprintf("%s%03d", pick(r, "", "a", "a-", "0", "a--b-", strings.Repeat("x", 60)), number)
	scheme := pick(r, "http", "https", "h2c", "h2", "grpc", "grpcs")
	var hosts []string
	kinds := pick(r, []string{"10.0.0.1", "10.0.0.2", "[::1]", "[2001:db8::2]", "127.0.0.1", "[::ffff:10.0.0.9]", "169.254.1.1", "255.255.255.255", "0.0.0.1"},
		[]string{"a.example", "A.example", "b_c", "localhost", "a.example.", strings.Repeat("x", 63) + ".example", strings.Repeat("a.", 120) + "b", "10.0.0.3", "xn--bcher-kva.example", "_x._y", "1a"})
	for _, h := range some(r, 4, kinds...) {
		hosts = append(hosts, scheme+"://"+h+pick(r, "", ":1", ":8080", ":65535"))
	}
	p := object{"service": name, "upstream": hosts}
	section := func(name string, of map[string]any) {
		if r.IntN(2) == 0 {
			p[name] = fields(r, of)
		}
	}
	var routes []object
	for range 1 + r.IntN(3) {
		routes = append(routes, oddRoute(r))
	}
	if r.IntN(4) > 0 {
		p["routes"] = routes
	}
	section("timeout", map[string]any{"connect": short(), "request": long(), "per_try": long(), "idle": long()})
	section("retry", map[string]any{
		"max_retries": pick(r, 0, 1, 3, 100), "base_delay": short(), "max_delay": short(), "budget": pick[any](r, "100%", "0.001%", "0.0000001%", 0.5, 1, "33.333333%"),
		"on": some[any](r, 6, "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited", "retriable-4xx", "refused-stream", "http3-post-connect-failure",
			"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable", 400, 429, 503, 599),
		"methods": some(r, 16, "GET", "HEAD", "POST", "PUT", "PATCH", "TRACE", "SEARCH", "MERGE", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PURGE", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK"),
	})
	section("breaker", map[string]any{
		"failure_threshold": pick[any](r, 1, 5, 100000, "off"), "success_threshold": pick(r, 1, 100000), "timeout": pick[any](r, "100ms", "0.1234567891s", "60s", "24h"),
		"window_size": pick(r, 1, 100, 100000), "failure_rate": pick[any](r, "0.0001%", "50%", "100%", "off"), "min_requests": pick(r, 1, 20, 100000),
		"slow_call": object{"duration": short(), "rate": pick[any](r, "0.01%", 1)}, "half_open": object{"max_requests": pick(r, 1, 100000)},
		"backoff": pick[any](r, 1, 1.5, 100), "max_timeout": pick[any](r, "100ms", "240h"), "shadow": pick(r, true, false),
		"errors": some[any](r, 5, "1xx", "2xx", "3xx", "4xx", "5xx", 100, 101, 304, 429, 599, "100-599", "500-503"),
	})
	section("limits", map[string]any{"max_connections": pick(r, 1, 1000000), "max_pending_requests": pick(r, 1, 1000000), "max_requests": pick(r, 1, 1000000)})
	if r.IntN(3) == 0 {
		p["health_check"] = fields(r, map[string]any{
			"path": pick(r, "/", "/a?b=c", "/%", "/%zz", "/ä", `/"`, "/{}", "/a//b", "/"+strings.Repeat("x", 9000)), "interval": pick[any](r, "100ms", "0.1000001s", "10s", "1h"),
			"timeout": pick[any](r, "1ms", "1001us", "2s", "1h"), "healthy_threshold": pick(r, 1, 1000), "unhealthy_threshold": pick(r, 1, 1000), "uneject": pick(r, true, false),
		})
		if !strings.HasPrefix(scheme, "grpc") && p["health_check"].(object)["path"] == nil {
			delete(p, "health_check")
		}
	}
	if r.IntN(4) == 0 {
		headers := object{}
		for range r.IntN(4) {
			headers[pick(r, "x-a", "X-B", "content-type", "Set-Cookie", "retry-after", "a!b", "a%b", "a'b", "a`b", "a|b", "a~", "x-envoy-overloaded", "location", "date", "server", "via", "grpc-status", "www-authenticate", strings.Repeat("x", 256))] = pick(r, oddTexts...)
		}
		p["fallback"] = object{"status": pick(r, 200, 204, 206, 304, 429, 500, 503, 599), "headers": headers, "body": pick(r, append(oddTexts, "", "\x00", "a\nb\r\n\t", strings.Repeat("x", 64<<10), strings.Repeat("%", 64<<10), strings.Repeat("ä", 32<<10))...)}
		if len(headers) == 0 {
			delete(p["fallback"].(object), "headers")
		}
	}
	if slices.Contains([]string{"https", "h2", "grpcs"}, scheme) && (len(hosts) > 1 || r.IntN(4) == 0) {
		p["tls"] = object{"server_name": pick(r, "a.example", "A_b.example", "10.0.0.1", "::1", strings.Repeat("a.", 120)+"b", strings.Repeat("x", 63), "localhost")}
	}
	return p
}

func oddGateway(r *rand.Rand) object {
	g := fields(r, map[string]any{
		"address": pick(r, "127.0.0.1:8080", "0.0.0.0:1", "[::]:65535", "[::1]:80", "localhost:80"), "expose_admin": pick(r, "off", "localhost:8081", "[::1]:8081", "a_b:1", "10.0.0.1:65535"),
		"access_log": pick(r, "stdout", "stderr", "off", "/dev/null"),
		"headers":    object{"max_size_kb": pick(r, 1, 60, 8192), "max_count": pick(r, 1, 100, 32768)},
	})
	if r.IntN(2) == 0 {
		g["tracing"] = object{"collector": pick(r, "localhost:4317", "[::1]:1", "10.0.0.1:1"), "sampling": pick[any](r, 0, "0.0001%", "100%"), "service_name": pick(r, "gateway", "ä", "%", `"`, strings.Repeat("x", 1000))}
	}
	if len(g) == 0 {
		g["access_log"] = "off"
	}
	return g
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEnvoyTakesLongExpressions: with our bootstrap, Envoy takes every expression that the schema allows, unless it repeats
// something by counts without measure. The programs of the first ones are the largest for their length.
func TestEnvoyTakesLongExpressions(t *testing.T) {
	t.Parallel()
	const longest = 4096
	repeated := func(part string) string { return "/" + strings.Repeat(part, (longest-1)/utf8.RuneCountInString(part)) }
	routes := []object{
		{"prefix": "/" + strings.Repeat("x", 3000), "rewrite": "/"},
		{"prefix": "/", "methods": []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "SUBSCRIBE", "UNSUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "SOURCE", "MKACTIVITY", "CHECKOUT", "PROPPATCH"}},
		{"prefix": "/b", "headers": []object{{"name": "authorization", "regex": `Bearer [A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{1,1000}\.[A-Za-z0-9_-]{1,1000}`}}},
	}
	for _, expression := range []string{
		repeated(`\PS`), repeated("😀"), repeated(`\W`), repeated("."), repeated(".?"), repeated("(?:a.*|b.?|c)*"),
		`/(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/?){1,20}`, `/\pL{200}`, `/[\w.~%!$&'()*+,;=:@-]{1,255}(?:/[\w.~%!$&'()*+,;=:@-]{1,255}){0,3}`,
	} {
		routes = append(routes, object{"regex": expression})
	}
	var files []policy.File
	for i, route := range routes {
		files = append(files, policy.File{Name: fmt.Sprintf("%d.yaml", i), Data: marshal(t, object{"service": fmt.Sprintf("s%d", i), "upstream": "10.0.0.1:1", "routes": []object{route}})})
	}
	set, problems := policy.Build(files, func(string) (string, bool) { return "", false }, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, name := range refusedBy(t, set, set.Services) {
		t.Errorf("Envoy refuses %.80s", set.Lookup(name).Routes[0].Value)
	}
}
