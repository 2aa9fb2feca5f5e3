package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fuzzEnv is an environment with values of every kind.
func fuzzEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"A_URL": "http://from-environment:8000", "THREE": "3", "WORD": "word", "EMPTY": "", "CB_TIMEOUT": "5",
		"BAD": "\xff\x00", "LINES": "a\n---\nservice: x\n", "CB_WINDOW_SIZE": "50",
	}[name]
	return value, ok
}

// FuzzBuild: whatever the bytes, Build returns a valid set, its problems are inside
// the files, a second Build over it is as valid, and what Files stores gives the
// same set.
func FuzzBuild(f *testing.F) {
	for _, dir := range []string{"good", "bad", "lint"} {
		for _, c := range loadCases(f, dir) {
			parts := map[string][]byte{}
			for _, file := range c.files {
				if len(file.Data) < 4000 {
					name := file.Name
					if name != "defaults.yaml" && name != "gateway.yaml" {
						name = "services.yaml"
					}
					parts[name] = append(append(parts[name], file.Data...), "\n---\n"...)
				}
			}
			f.Add(parts["services.yaml"], parts["defaults.yaml"], parts["gateway.yaml"])
		}
	}
	f.Add([]byte("\r---"), []byte("retry: off\n\n---\n"), []byte("\ufeffaddress:\r\n"))
	base := directory{
		"defaults.yaml": "profiles:\n  p: {retry: {base_delay: 1s}}\n",
		"services.yaml": doc("a", "fallback: {service: b}") + "---\n" + doc("b", "breaker: {window_size: 10}") + "---\n" + doc("c", "profile: p", "fallback: {body: |+\n  x\n\n\n}"),
		"other.yaml":    doc("d", "retry: {max_delay: 2s}"),
	}.files()
	f.Fuzz(func(t *testing.T, services, defaults, gateway []byte) {
		files := []File{{Name: "services.yaml", Data: services}, {Name: "defaults.yaml", Data: defaults}, {Name: "gateway.yaml", Data: gateway}}
		before, _ := Build(base, fuzzEnv, nil)
		for _, prev := range []*Set{nil, before} {
			set, _ := buildChecked(t, files, fuzzEnv, prev)
			again, _ := buildChecked(t, files, fuzzEnv, set)
			if again.Digest != set.Digest {
				t.Error("the same files give another digest the second time")
			}
			checkPositionsOfLint(t, set)
			buildChecked(t, base, fuzzEnv, set)
		}
	})
}

// checkPositionsOfLint fails the test if a warning has no message or rule.
func checkPositionsOfLint(t testing.TB, set *Set) {
	t.Helper()
	for _, w := range Lint(set) {
		if w.Message == "" || w.Rule == "" || w.Severity != SeverityWarning {
			t.Errorf("warning %+v", w)
		}
	}
}

// TestEdits: over any sequence of saves, good and bad, every set is valid, can be
// stored, and is the same when nothing changes; a service whose document is good and
// alone is never stale.
func TestEdits(t *testing.T) {
	lines := []string{
		"retry: off", "retry: {base_delay: 2s}", "retry: {max_delay: 1s}", "retry: {max_retries: many}", "profile: one", "profile: two",
		"breaker: {failure_threshold: 20}", "breaker: {window_size: 10}", "breaker: {slow_call: {duration: 1s, rate: 50%}}",
		"fallback: {service: a}", "fallback: {service: b}", "fallback: {service: c}", "fallback: {body: |+\n  x\n\n}", "fallback: {body: \"x\"}",
		"health_check: {path: /}", "health_check: off", "timeout: {per_try: 20s}", "timeout: {request: 10s}", "nonsense: 1", "retry: {", "breaker: {errors: [429]}",
		"tls: {ca_file: /ca}", "# comment",
		`routes: [{regex: '/a(.*)', rewrite: '/b\1', hosts: [x.example, '::1'], methods: [GET], headers: [{name: x-a, regex: a+}, {name: x-b, exact: '1', invert: true}]}]`,
		"routes: [{prefix: /a/, rewrite: /, headers: [{name: x-c, present: true}, {name: x-d, prefix: p}]}, {path: /b}]",
		"fallback: {status: 429, headers: {Retry-After: 5, x-e: ''}}", "breaker: {errors: [5xx, 429, 400-404], failure_rate: 50%, backoff: 1.5}",
	}
	rapid.Check(t, func(t *rapid.T) {
		fragment := rapid.SliceOfN(rapid.SampledFrom(lines), 0, 3)
		document := rapid.Custom(func(t *rapid.T) string {
			name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
			upstream := rapid.SampledFrom([]string{"http://x:1", "https://x", "grpc://x:1", "https://10.0.0.1"}).Draw(t, "upstream")
			return "service: " + name + "\nupstream: " + upstream + "\n" + strings.Join(append(distinct(fragment.Draw(t, "lines")), ""), "\n")
		})
		file := rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(document, 0, 3).Draw(t, "documents"), "---\n")
		})
		shared := rapid.Custom(func(t *rapid.T) string {
			var out strings.Builder
			for _, l := range distinct(fragment.Draw(t, "defaults")) {
				fmt.Fprintln(&out, l)
			}
			out.WriteString("profiles:\n")
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"one", "two"}), rapid.ID[string]).Draw(t, "profiles") {
				fmt.Fprintf(&out, "  %s: {%s}\n", name, rapid.SampledFrom([]string{
					"retry: {base_delay: 2s}", "retry: {max_delay: 1s}", "breaker: {window_size: 10}", "retry: oops", "fallback: {body: p}", "health_check: {path: /p}",
				}).Draw(t, "profile"))
			}
			return out.String()
		})
		var set *Set
		for range rapid.IntRange(1, 6).Draw(t, "saves") {
			d := directory{}
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"1.yaml", "2.yaml", "3.yaml"}), rapid.ID[string]).Draw(t, "files") {
				d[name] = file.Draw(t, name)
			}
			if rapid.Bool().Draw(t, "has defaults") {
				d["defaults.yaml"] = shared.Draw(t, "defaults.yaml")
			}
			next, problems := buildCheckedRapid(t, d.files(), set)
			again, repeated := Build(d.files(), noEnv, next)
			if again.Digest != next.Digest || joinProblems(repeated) != joinProblems(problems) {
				t.Fatalf("a second look at the same files differs:\n%s\n%s", joinProblems(problems), joinProblems(repeated))
			}
			for i, s := range again.Services {
				if s != next.Services[i] {
					t.Fatalf("%s is another pointer at a second look", s.Name)
				}
			}
			for _, s := range next.Services {
				concerned := func(p Problem) bool { return p.Service == s.Name || p.Service == "" }
				if s.Stale && !slices.ContainsFunc(problems, concerned) {
					t.Fatalf("%s is stale without a problem", s.Name)
				}
			}
			set = next
		}
	})
}

// distinct leaves out lines that set a field which a line before sets.
func distinct(lines []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		field, _, _ := strings.Cut(l, ":")
		defer func() { seen[field] = true }()
		return seen[field]
	})
}

// buildCheckedRapid is buildChecked for a rapid test.
func buildCheckedRapid(t *rapid.T, files []File, prev *Set) (*Set, []Problem) {
	return buildChecked(rapidTB{T: t}, files, noEnv, prev)
}

// rapidTB makes a testing.TB of a rapid test.
type rapidTB struct {
	testing.TB
	T *rapid.T
}

func (t rapidTB) Helper()                           { t.T.Helper() }
func (t rapidTB) Error(args ...any)                 { t.T.Error(args...) }
func (t rapidTB) Errorf(format string, args ...any) { t.T.Errorf(format, args...) }
func (t rapidTB) Fatal(args ...any)                 { t.T.Fatal(args...) }
func (t rapidTB) Fatalf(format string, args ...any) { t.T.Fatalf(format, args...) }
