package policy

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// hiding are policies in force with variables, of which only SHOWN and WORD are in an effective value: every other stands in
// a value that each service overrides, in a profile that none uses, in what a scheme has no use for, in a document with an
// error, in one that another goes before, or in a fallback that leads nowhere.
var hiding = directory{
	"defaults.yaml": `
timeout: {connect: "${H_SPAN}", request: "${H_SPAN}", per_try: "${H_SPAN}"}
retry: {base_delay: "${H_SPAN}", max_retries: "${H_COUNT}", on: ["5xx", "${H_STATUS}"]}
breaker: {timeout: "${H_SPAN}", window_size: "${H_COUNT}", slow_call: {duration: "${H_SPAN}", rate: 50%}}
health_check: {path: "/${H_WORD}", timeout: "${H_SPAN}", interval: 1h}
fallback: {status: "${H_STATUS}", body: "${H_WORD}"}
tls: {ca_file: "/${H_FILE}"}
profiles:
  used: {breaker: {failure_threshold: "${H_COUNT}", backoff: "${H_COUNT}"}, limits: {max_requests: "${H_COUNT}"}}
  unused: {breaker: {max_timeout: "${H_SPAN}", failure_threshold: "${H_COUNT}"}, retry: {max_delay: "${H_SPAN}"}, fallback: {headers: {x-a: "${H_WORD:-none}"}, body: b}}
`,
	"a.yaml": hidingAll("a", `profile: used`) + "---\n" + hidingAll("b", `profile: "${WORD}"`, `routes: [{prefix: "/${SHOWN}"}]`),
	"c.yaml": "service: c\nupstream: http://x:1\nbreaker: {timeout: \"${H_WORD}\"}\n",
	"d.yaml": hidingAll("a", `routes: [{prefix: "/${H_WORD}"}]`),
	"e.yaml": "service: e\nupstream: [\"https://${H_WORD}.example:1\", https://x:1]\n",
	"f.yaml": strings.Replace(hidingAll("f"), "fallback: {service: b}", `fallback: {service: "${H_NAME}"}`, 1),
}

// hidingAll is a document that overrides all that the defaults hide.
func hidingAll(name string, lines ...string) string {
	text := "service: " + name + "\nupstream: http://x:1\n" +
		"timeout: {connect: 1s, request: 1m, per_try: 2s}\nretry: {base_delay: 1s, max_delay: 2s, max_retries: 1, on: [5xx]}\n" +
		"breaker: {timeout: 1s, max_timeout: 1m, window_size: 100, failure_threshold: 9, backoff: 2, slow_call: off}\nlimits: {max_requests: 7}\n" +
		"health_check: off\n"
	if name == "b" {
		text += "fallback: off\n"
	} else {
		text += "fallback: {service: b}\n"
	}
	return text + strings.Join(append(lines, ""), "\n")
}

// hidden are two environments that differ in what hiding hides.
func hidden(second bool) func(string) (string, bool) {
	values := map[string]string{"SHOWN": "shown", "WORD": "used", "H_SPAN": "10s", "H_COUNT": "20", "H_STATUS": "500", "H_WORD": "hunter2", "H_FILE": "hunter2", "H_NAME": "hunter2"}
	if second {
		maps.Copy(values, map[string]string{"H_SPAN": "30s", "H_COUNT": "60", "H_STATUS": "503", "H_WORD": "swordfish", "H_FILE": "swordfish", "H_NAME": "b2"})
	}
	return func(name string) (string, bool) {
		v, ok := values[name]
		return v, ok
	}
}

// outcome is all that can be seen of a candidate.
func outcome(set *Set, problems []Problem) string {
	var out strings.Builder
	fmt.Fprintln(&out, set.Digest)
	for _, p := range append(problems, Lint(set)...) {
		fmt.Fprintln(&out, p.Severity, p.Service, p)
	}
	write := func(settings []Setting) {
		for _, s := range settings {
			fmt.Fprintf(&out, "  %s: %q %v\n", s.Path, s.Value, s.Origin)
		}
	}
	for _, s := range set.Services {
		fmt.Fprintln(&out, s.Name, s.Digest, s.Stale)
		write(s.Settings())
	}
	write(set.Gateway.Settings())
	return out.String()
}

// outcomes are those of a candidate in the two environments.
func outcomes(t testing.TB, candidate directory) (a, b string) {
	t.Helper()
	var out [2]string
	for i := range out {
		env := hidden(i == 1)
		live, _ := Build(hiding.files(), env, nil)
		set, problems, err := BuildCandidate(context.Background(), candidate.files(), env, live, nil)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = outcome(set, problems)
	}
	return out[0], out[1]
}

func TestHidingHides(t *testing.T) {
	var out [2]string
	for i := range out {
		live, _ := Build(hiding.files(), hidden(i == 1), nil)
		if len(live.Services) != 3 {
			t.Fatalf("%d services are in force", len(live.Services))
		}
		out[i] = outcome(live, nil)
	}
	if diff := cmp.Diff(out[0], out[1]); diff != "" {
		t.Errorf("the policies in force show what they are to hide:\n%s", diff)
	}
}

// hidingWith are the hiding policies with files of others in their place; an empty text is none.
func hidingWith(files directory) directory {
	all := maps.Clone(hiding)
	maps.Copy(all, files)
	maps.DeleteFunc(all, func(_, text string) bool { return text == "" })
	return all
}

// TestCandidateTellsNothing tries to read by a candidate what the policies in force hide: what comes of it must be the same
// in an environment with other values. want is in part what is said of it; empty if the variable is not even looked at.
func TestCandidateTellsNothing(t *testing.T) {
	service := func(lines ...string) string { return hidingAll("z", lines...) }
	without := func(line string, lines ...string) string {
		text := service(lines...)
		start := strings.Index(text, line+":")
		_, rest, _ := strings.Cut(text[start:], "\n")
		return text[:start] + rest
	}
	_, second, _ := strings.Cut(hiding["a.yaml"], "---\n")
	const no = "a plan does not expand ${"
	for _, tt := range []struct {
		name  string
		files directory
		want  string
	}{
		{"as it is", nil, ""},
		{"a value of the defaults", directory{"z.yaml": without("fallback", `fallback: {body: "${H_SPAN}"}`)}, "fallback.body: " + no + "H_SPAN}"},
		{"a value of the profile in use", directory{"z.yaml": without("fallback", `fallback: {body: "${H_COUNT}"}`)}, no + "H_COUNT}"},
		{"with a default", directory{"z.yaml": without("fallback", `fallback: {body: "${H_WORD:-none}"}`)}, no + "H_WORD}"},
		{"beside what is shown", directory{"z.yaml": without("fallback", `fallback: {body: "${SHOWN} ${H_WORD}"}`)}, no + "H_WORD}"},
		{"in a key", directory{"z.yaml": without("fallback", `fallback: {body: x, headers: {"${H_WORD}": x}}`)}, "fallback.headers.${H_WORD}: is not a header name"},
		{"in the name of a field", directory{"z.yaml": service(`"${H_WORD}": x`)}, "${H_WORD}: unknown field"},
		{"in the name of a profile", directory{"defaults.yaml": hiding["defaults.yaml"] + "  \"${H_WORD}\": {}\n"}, no},
		{"in a list", directory{"z.yaml": without("retry", `retry: {on: ["5xx", "${H_STATUS}"]}`)}, "retry.on[1]: " + no + "H_STATUS}"},
		{"in a comment", directory{"z.yaml": service(`# ${H_WORD}`)}, ""},
		{"in an anchor", directory{"z.yaml": without("fallback", `fallback: {body: &x "${H_WORD}", headers: {x-a: *x}}`)}, no + "H_WORD}"},
		{"in a block", directory{"z.yaml": without("fallback", "fallback:\n  body: |\n    ${H_WORD}")}, no + "H_WORD}"},
		{"in an error of its kind", directory{"z.yaml": without("limits", `limits: {max_requests: "${H_WORD}"}`)}, no + "H_WORD}"},
		{"in place of a section", directory{"z.yaml": without("breaker", `breaker: "${H_WORD}"`)}, no + "H_WORD}"},
		{"in the name of a service", directory{"z.yaml": strings.Replace(service(), "service: z", `service: "${H_WORD}"`, 1)}, no + "H_WORD}"},
		{"in the upstream", directory{"z.yaml": strings.Replace(service(), "http://x:1", `"http://u:${H_WORD}@x:1"`, 1)}, no + "H_WORD}"},
		{"in a route", directory{"z.yaml": service(`routes: [{regex: "${H_WORD}("}]`)}, no + "H_WORD}"},
		{"in the gateway", directory{"gateway.yaml": "access_log: \"${H_WORD}\"\n"}, no + "H_WORD}"},
		{"in a profile", directory{"defaults.yaml": strings.Replace(hiding["defaults.yaml"], "  unused:", "  mine: {fallback: {body: \"${H_WORD}\"}}\n  unused:", 1)}, no},
		{"in defaults without an edit there", directory{"defaults.yaml": hiding["defaults.yaml"] + "# edited\n"}, no},

		{"by not overriding the defaults", directory{"z.yaml": without("timeout")}, "timeout.connect: " + no + "H_SPAN}"},
		{"by not overriding a list", directory{"z.yaml": without("retry", "retry: {base_delay: 1s, max_delay: 2s, max_retries: 1}")}, "retry.on: " + no + "H_STATUS}"},
		{"by not overriding a section", directory{"z.yaml": without("fallback")}, "fallback.body: " + no + "H_WORD}"},
		{"by not overriding a profile", directory{"z.yaml": without("limits", "profile: used")}, "profile: profile used: " + no + "H_COUNT}"},
		{"by a profile that nobody uses", directory{"z.yaml": without("breaker", "breaker: {timeout: 1s, window_size: 100, slow_call: off}\nprofile: unused")}, no},
		{"by what the scheme has a use for", directory{"z.yaml": strings.Replace(service(), "http://", "https://", 1)}, "tls.ca_file: " + no + "H_FILE}"},
		{"by a service in force that overrides no more", directory{"a.yaml": "service: a\nupstream: http://x:1\n---\n" + second}, no},
		{"by being over a hidden value", directory{"z.yaml": without("breaker", "breaker: {max_timeout: 20s, window_size: 100, slow_call: off}")}, no + "H_SPAN}"},
		{"by being under a hidden value", directory{"z.yaml": without("breaker", "breaker: {timeout: 1s, failure_threshold: 40, slow_call: off}")}, no + "H_COUNT}"},
		{"by a profile over hidden defaults", directory{"defaults.yaml": "nonsense: 1\nprofiles:\n  used: {breaker: {max_timeout: 20s}}\n"}, "unknown field"},
		{"by defaults under a hidden profile", directory{
			"defaults.yaml": "breaker: {timeout: 20s}\nprofiles: {unused: {retry: oops}}\n",
			"z.yaml":        without("breaker", "breaker: {timeout: 1s}\nprofile: unused"),
		}, no},
		{"by the document with an error", directory{"defaults.yaml": ""}, "c.yaml:1:1: " + no + "H_WORD}"},
		{"by names of hosts", directory{"defaults.yaml": ""}, "e.yaml:2:11: upstream: " + no + "H_WORD}"},
		{"by taking away the document in force", directory{"a.yaml": hidingAll("b")}, "d.yaml:9:9: routes: " + no + "H_WORD}"},
		{"by guessing the name of a fallback", directory{"z.yaml": strings.Replace(service(), "service: z", "service: hunter2", 1)}, no + "H_NAME}"},
		{"by guessing another name of a fallback", directory{"z.yaml": strings.Replace(service(), "service: z", "service: b2", 1)}, no + "H_NAME}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := outcomes(t, hidingWith(tt.files))
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("what is hidden shows (-one environment +the other):\n%s", diff)
			}
			if strings.Contains(a, "hunter2") && !strings.Contains(tt.name, "guessing") {
				t.Errorf("the value shows in:\n%s", a)
			}
			if !strings.Contains(a, tt.want) {
				t.Errorf("there is no %q in:\n%s", tt.want, a)
			}
		})
	}
}

// TestNoCandidateTells is TestCandidateTellsNothing for any candidate of these parts.
func TestNoCandidateTells(t *testing.T) {
	lines := []string{
		"profile: used", "profile: unused", "profile: mine", `profile: "${WORD}"`,
		"timeout: {connect: 20s}", "timeout: {request: 20s}", "timeout: {per_try: 20s}", "timeout: {connect: 1s, request: 1m, per_try: 2s}",
		"retry: {base_delay: 1s, max_delay: 20s}", "retry: {max_delay: 20s}", "retry: off", "retry: {base_delay: 1s, max_retries: 1, on: [5xx]}",
		"breaker: {max_timeout: 20s}", "breaker: {timeout: 1s, failure_threshold: 40}", "breaker: {timeout: 20s, window_size: 40, slow_call: off}",
		"breaker: {timeout: 1s, window_size: 9, failure_threshold: 3, backoff: 2, slow_call: off}", "limits: {max_requests: 7}",
		"health_check: off", "health_check: {interval: 20s}", "health_check: {path: /, timeout: 1s}",
		"fallback: off", "fallback: {service: b}", "fallback: {service: z}", "fallback: {status: 204}", `fallback: {body: "${H_WORD:-x}"}`, `fallback: {body: "${SHOWN}"}`,
		"tls: {ca_file: /x}", "tls: {server_name: x.example}", "nonsense: 1", "retry: {", `limits: {max_requests: "${H_COUNT}"}`,
	}
	rapid.Check(t, func(t *rapid.T) {
		fragment := func(label string) []string {
			return distinct(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 9).Draw(t, label))
		}
		settings := func(label string) string {
			all := fragment(label)
			for i, l := range all {
				if strings.HasPrefix(l, "profile:") {
					all[i] = ""
				}
			}
			return strings.Join(append(all, ""), "\n")
		}
		candidate := maps.Clone(hiding)
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml", "z.yaml"}), rapid.ID[string]).Draw(t, "files") {
			var docs []string
			for range rapid.IntRange(0, 2).Draw(t, "documents") {
				service := rapid.SampledFrom([]string{"a", "b", "c", "e", "f", "z", "b2", "hunter2"}).Draw(t, "service")
				upstream := rapid.SampledFrom([]string{"http://x:1", "https://x", "grpc://x:1", "[https://x:1, https://y:1]"}).Draw(t, "upstream")
				docs = append(docs, "service: "+service+"\nupstream: "+upstream+"\n"+strings.Join(append(fragment("lines"), ""), "\n"))
			}
			candidate[name] = strings.Join(docs, "---\n")
			if len(docs) == 0 {
				delete(candidate, name)
			}
		}
		switch rapid.IntRange(0, 3).Draw(t, "defaults") {
		case 0:
			delete(candidate, "defaults.yaml")
		case 1, 2:
			profiles := "profiles:\n"
			for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"used", "unused", "mine"}), rapid.ID[string]).Draw(t, "profiles") {
				own := strings.TrimSuffix(settings("profile"), "\n")
				profiles += "  " + name + ": {}\n"
				if own != "" {
					profiles = strings.TrimSuffix(profiles, " {}\n") + "\n    " + strings.ReplaceAll(own, "\n", "\n    ") + "\n"
				}
			}
			candidate["defaults.yaml"] = settings("defaults") + profiles
		}
		a, b := outcomes(rapidTB{T: t}, candidate)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("what is hidden shows (-one environment +the other):\n%s\nby:\n%v", diff, candidate)
		}
	})
}
