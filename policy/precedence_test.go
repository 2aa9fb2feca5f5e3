package policy

import (
	"testing"
)

// TestPrecedence: each layer wins over all below it, for each value that the
// environment can set, and says so in the origin.
func TestPrecedence(t *testing.T) {
	values := []struct {
		variable, path, section, field string
		// texts are what environment, defaults, profile and service say.
		texts [4]string
	}{
		{"CB_FAILURE_THRESHOLD", "breaker.failure_threshold", "breaker", "failure_threshold", [4]string{"11", "12", "13", "14"}},
		{"CB_SUCCESS_THRESHOLD", "breaker.success_threshold", "breaker", "success_threshold", [4]string{"11", "12", "13", "14"}},
		{"CB_TIMEOUT", "breaker.timeout", "breaker", "timeout", [4]string{"11", "12s", "13s", "14s"}},
		{"CB_WINDOW_SIZE", "breaker.window_size", "breaker", "window_size", [4]string{"11", "12", "13", "14"}},
		{"RETRY_MAX_RETRIES", "retry.max_retries", "retry", "max_retries", [4]string{"11", "12", "13", "14"}},
		{"RETRY_BASE_DELAY", "retry.base_delay", "retry", "base_delay", [4]string{"0.11", "120ms", "130ms", "140ms"}},
		{"RETRY_MAX_DELAY", "retry.max_delay", "retry", "max_delay", [4]string{"11s", "12s", "13s", "14s"}},
		{"TIMEOUT_CONNECT", "timeout.connect", "timeout", "connect", [4]string{"11s", "12s", "13s", "14s"}},
		{"TIMEOUT_READ", "timeout.request", "timeout", "request", [4]string{"11", "12s", "13s", "14s"}},
	}
	for _, v := range values {
		setting := func(text string) string { return v.section + ": {" + v.field + ": " + text + "}\n" }
		for layers := 0; layers <= 4; layers++ {
			env := noEnv
			defaults, profile, own := "", "  shared: {}\n", ""
			want := Origin{Layer: LayerBuiltIn}
			if layers >= 1 {
				env = func(name string) (string, bool) {
					if name == v.variable {
						return v.texts[0], true
					}
					return "", false
				}
				want = Origin{Layer: LayerEnvironment, Variable: v.variable}
			}
			column := len(v.section+": {"+v.field+": ") + 1
			if layers >= 2 {
				defaults = setting(v.texts[1])
				want = Origin{Layer: LayerDefaults, Position: Position{File: "defaults.yaml", Line: 1, Column: column}}
			}
			if layers >= 3 {
				profile = "  shared:\n    " + setting(v.texts[2])
				want = Origin{Layer: LayerProfile, Variable: "shared", Position: Position{File: "defaults.yaml", Line: 4, Column: column + 4}}
			}
			if layers >= 4 {
				own = setting(v.texts[3])
				want = Origin{Layer: LayerService, Position: Position{File: "a.yaml", Line: 4, Column: column}}
			}
			set, problems := buildChecked(t, directory{
				"defaults.yaml": defaults + "profiles:\n" + profile,
				"a.yaml":        doc("a", "profile: shared", own),
			}.files(), env, nil)
			if len(problems) > 0 {
				t.Fatalf("%s in %d layers: problems:\n%s", v.variable, layers, joinProblems(problems))
			}
			// The text of the highest layer, set by a service alone, gives the same values.
			if layers > 0 {
				alone := directory{"a.yaml": doc("a", setting(v.texts[layers-1]))}.good(t, nil)
				if set.Lookup("a").Digest != alone.Lookup("a").Digest {
					t.Errorf("%s in %d layers: the highest one is not in force", v.variable, layers)
				}
			}
			if got := set.Lookup("a").Origins[v.path]; got != want {
				t.Errorf("%s in %d layers: origin %+v, want %+v", v.variable, layers, got, want)
			}
		}
	}
}

// TestVariableChanges: a document is read again if a variable that it names changes,
// and not otherwise.
func TestVariableChanges(t *testing.T) {
	files := directory{"a.yaml": doc("a", "retry: {max_retries: '${N}'}"), "b.yaml": doc("b")}.files()
	n := "1"
	env := func(name string) (string, bool) {
		if name == "N" {
			return n, true
		}
		return "", false
	}
	first, _ := buildChecked(t, files, env, nil)
	n = "2"
	second, _ := buildChecked(t, files, env, first)
	if got := second.Lookup("a").Retry.MaxRetries; got != 2 {
		t.Errorf("max_retries %d, want 2", got)
	}
	if second.Lookup("b") != first.Lookup("b") {
		t.Error("b is another pointer, though nothing of it changed")
	}
	n = "many"
	third, problems := Build(files, env, second)
	wantProblems(t, problems, "a.yaml:3:22")
	wantServices(t, third, "a*", "b")
}

// TestExpansionInjectsNothing: a variable's value is a value, never YAML.
func TestExpansionInjectsNothing(t *testing.T) {
	env := func(string) (string, bool) { return "x\"}\nretry: off\nevil: {a: 1}\n---\nservice: b\n#", true }
	set, problems := buildChecked(t, directory{"a.yaml": doc("a", "fallback: {body: \"${X}\"}")}.files(), env, nil)
	// The same value is refused where the environment layer reads it.
	for _, p := range problems {
		if p.Position.File != environmentFile {
			t.Errorf("problem %s", p)
		}
	}
	wantServices(t, set, "a")
	if a := set.Lookup("a"); a.Retry.MaxRetries != 3 || a.Fallback.Body != "x\"}\nretry: off\nevil: {a: 1}\n---\nservice: b\n#" {
		t.Errorf("max_retries %d, body %q", a.Retry.MaxRetries, a.Fallback.Body)
	}
}
