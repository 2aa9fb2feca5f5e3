package policy

import (
	"slices"
	"strings"
	"testing"
)

// TestCandidateExpandsOnlyWhatIsShown: whoever may plan must not read the server's
// environment by it.
func TestCandidateExpandsOnlyWhatIsShown(t *testing.T) {
	env := func(name string) (string, bool) {
		value, ok := map[string]string{
			"HOST": "10.0.0.7", "SHARED": "2s", "USED": "3s", "UNUSED": "4s", "COLLECTOR": "10.0.0.9:4317", "SECRET": "hunter2", "EMPTY": "",
		}[name]
		return value, ok
	}
	live := directory{
		"a.yaml":        "service: a\nupstream: http://${HOST}:80\nprofile: used\n",
		"defaults.yaml": "timeout: {connect: \"${SHARED}\"}\nprofiles:\n  used: {breaker: {timeout: \"${USED}\"}}\n  unused: {breaker: {timeout: \"${UNUSED}\"}}\n",
		"gateway.yaml":  "tracing: {collector: \"${COLLECTOR}\"}\n",
	}
	set, problems := Build(live.files(), env, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	with := func(name, text string) []File {
		changed := directory{}
		for n, data := range live {
			changed[n] = data
		}
		changed[name] = text
		return changed.files()
	}
	reply := func(reference string) string { return doc("b", "fallback: {body: \""+reference+"\"}") }
	for _, tt := range []struct {
		name  string
		files []File
		want  []string
	}{
		{"as it is", live.files(), nil},
		{"a variable of a service", with("b.yaml", reply("${HOST}")), nil},
		{"a variable of the defaults", with("b.yaml", reply("${SHARED}")), nil},
		{"a variable of a profile in use", with("b.yaml", reply("${USED}")), nil},
		{"a variable of the gateway", with("b.yaml", reply("${COLLECTOR}")), nil},
		{"a secret", with("b.yaml", reply("${SECRET}")), []string{"b.yaml:3:18: fallback.body: a plan does not expand ${SECRET}"}},
		{"a secret with a default", with("b.yaml", reply("${SECRET:-x}")), []string{"b.yaml:3:18: fallback.body: a plan does not expand ${SECRET}"}},
		{"one that is not set", with("b.yaml", reply("${NONE:-x}")), []string{"b.yaml:3:18: fallback.body: a plan does not expand ${NONE}"}},
		{"one that is empty", with("b.yaml", reply("${EMPTY:-x}")), []string{"b.yaml:3:18: fallback.body: a plan does not expand ${EMPTY}"}},
		{"one of a profile that nobody uses", with("b.yaml", reply("${UNUSED}")), []string{"b.yaml:3:18: fallback.body: a plan does not expand ${UNUSED}"}},
		{"in the defaults", with("defaults.yaml", "timeout: {connect: \"${SECRET:-1s}\"}\nprofiles: {used: {breaker: {timeout: 3s}}}\n"), []string{"defaults.yaml:1:20: timeout.connect: a plan does not expand ${SECRET}"}},
		{"in the gateway", with("gateway.yaml", "access_log: ${SECRET}\n"), []string{"gateway.yaml:1:13: access_log: a plan does not expand ${SECRET}"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems, err := BuildCandidate(t.Context(), tt.files, env, set, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) != len(tt.want) {
				t.Fatalf("problems:\n%swant %q", joinProblems(problems), tt.want)
			}
			for i, p := range problems {
				if !strings.HasPrefix(p.String(), tt.want[i]) {
					t.Errorf("problem %q, want %q", p, tt.want[i])
				}
				if strings.Contains(p.Message, "hunter2") {
					t.Errorf("the value is in %q", p.Message)
				}
			}
			if len(tt.want) > 0 && got.Digest != set.Digest {
				t.Error("something has changed beside the error")
			}
			checkSet(t, got)
		})
	}
}

// TestCandidateOfNothing: without a live set no variable is shown yet.
func TestCandidateOfNothing(t *testing.T) {
	_, problems, err := BuildCandidate(t.Context(), directory{"a.yaml": "service: a\nupstream: http://${HOST:-x}:80\n"}.files(), noEnv, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantProblems(t, problems, "a.yaml:2:11: upstream: a plan does not expand ${HOST}")
}

// TestCandidateUsesOnlyWhatIsShown: what is read already, but is not in force, shows no more than what is new.
func TestCandidateUsesOnlyWhatIsShown(t *testing.T) {
	env := func(name string) (string, bool) { return "hunter2", name == "SECRET" }
	secret := "fallback: {body: \"${SECRET}\"}"
	live := directory{
		"a.yaml":        doc("a"),
		"b.yaml":        doc("b", secret, "profile: none"),
		"c.yaml":        doc("a", secret),
		"defaults.yaml": "profiles:\n  unused: {" + secret + "}\n",
	}
	set, _ := Build(live.files(), env, nil)
	if set.Lookup("b") != nil || set.Lookup("a").Fallback != nil {
		t.Fatal("the secret is shown in force")
	}
	for _, tt := range []struct{ name, file, text, want string }{
		{"a profile that nobody uses", "d.yaml", doc("d", "profile: unused"), "d.yaml:3:10: profile: profile unused: a plan does not expand ${SECRET}"},
		{"by a service in force", "a.yaml", doc("a", "profile: unused"), "a.yaml:3:10: profile: profile unused: a plan does not expand ${SECRET}"},
		{"a document that had an error", "defaults.yaml", "profiles: {none: {}}\n", "b.yaml:3:18: fallback.body: a plan does not expand ${SECRET}"},
		{"a document that was not the one in force", "a.yaml", doc("z"), "c.yaml:3:18: fallback.body: a plan does not expand ${SECRET}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := directory{}
			for name, text := range live {
				files[name] = text
			}
			files[tt.file] = tt.text
			got, problems, err := BuildCandidate(t.Context(), files.files(), env, set, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, svc := range got.Services {
				for _, s := range svc.Settings() {
					if strings.Contains(s.Value, "hunter2") {
						t.Errorf("%s of %s is %q", s.Path, svc.Name, s.Value)
					}
				}
			}
			if !slices.ContainsFunc(problems, func(p Problem) bool { return strings.HasPrefix(p.String(), tt.want) }) {
				t.Errorf("problems:\n%swant %s", joinProblems(problems), tt.want)
			}
			checkSet(t, got)
		})
	}
}

// TestCandidateOfWhatIsNotInEffect: neither a policy that Envoy has refused nor an address that the command line overrides
// shows what stands in it.
func TestCandidateOfWhatIsNotInEffect(t *testing.T) {
	env := func(name string) (string, bool) {
		value, ok := map[string]string{"SECRET": "hunter2", "PORT": "8088", "SAMPLING": "50%"}[name]
		return value, ok
	}
	live := directory{
		"a.yaml":       doc("a", `routes: [{prefix: "/${SECRET}"}]`),
		"gateway.yaml": "address: \"127.0.0.1:${PORT}\"\ntracing: {collector: \"x:1\", sampling: \"${SAMPLING}\"}\n",
	}
	set, problems := Build(live.files(), env, nil)
	wantProblems(t, problems)
	overridden := *set
	gateway := *set.Gateway
	gateway.Port, overridden.Gateway = 1, &gateway
	const no = "b.yaml:3:18: fallback.body: a plan does not expand ${"
	for _, tt := range []struct {
		name, variable string
		live           *Set
		refused        []string
		want           []string
	}{
		{"in force", "SECRET", set, nil, nil},
		{"refused", "SECRET", set, []string{"a"}, []string{no + "SECRET}"}},
		{"another is refused", "SECRET", set, []string{"b", ""}, nil},
		{"the address", "PORT", set, nil, nil},
		{"the address, overridden", "PORT", &overridden, nil, []string{no + "PORT}"}},
		{"beside the address", "SAMPLING", &overridden, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live["b.yaml"] = doc("b", `fallback: {body: "${`+tt.variable+`}"}`)
			got, problems, err := BuildCandidate(t.Context(), live.files(), env, tt.live, tt.refused)
			if err != nil {
				t.Fatal(err)
			}
			wantProblems(t, problems, tt.want...)
			if got.Lookup("a") != set.Lookup("a") {
				t.Error("a document that is as it was does not stay as it is")
			}
		})
	}
}
