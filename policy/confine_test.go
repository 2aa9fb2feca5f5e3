package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// directory is a policy directory: names to contents.
type directory map[string]string

func (d directory) files() []File {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(d)) {
		files = append(files, File{Name: name, Data: []byte(d[name])})
	}
	return files
}

// build builds the directory after prev and checks what holds for every Set.
func (d directory) build(t testing.TB, prev *Set) (*Set, []Problem) {
	t.Helper()
	return buildChecked(t, d.files(), noEnv, prev)
}

func buildChecked(t testing.TB, files []File, env func(string) (string, bool), prev *Set) (*Set, []Problem) {
	t.Helper()
	set, problems := Build(files, env, prev)
	checkSet(t, set)
	checkPositions(t, files, problems)
	stored, again := Build(set.Files(), env, nil)
	checkSet(t, stored)
	if stored.Digest != set.Digest {
		t.Errorf("Build(Files()) gives another digest; its problems:\n%sfiles:\n%s", joinProblems(again), joinFiles(set.Files()))
	}
	return set, problems
}

func joinFiles(files []File) string {
	var out strings.Builder
	for _, f := range files {
		fmt.Fprintf(&out, "== %s\n%s", f.Name, f.Data)
	}
	return out.String()
}

// good builds a directory that has no problems.
func (d directory) good(t testing.TB, prev *Set) *Set {
	t.Helper()
	set, problems := d.build(t, prev)
	if len(problems) > 0 {
		t.Fatalf("problems:\n%s", joinProblems(problems))
	}
	return set
}

func wantProblems(t testing.TB, got []Problem, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%s", len(got), len(want), joinProblems(got))
	}
	for i, p := range got {
		if !strings.Contains(p.String(), want[i]) {
			t.Errorf("problem %q, want %q", p, want[i])
		}
	}
}

// wantServices compares the names of the services, a stale one with a * after it.
func wantServices(t testing.TB, set *Set, want ...string) {
	t.Helper()
	var got []string
	for _, s := range set.Services {
		name := s.Name
		if s.Stale {
			name += "*"
		}
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
}

// doc gives a document for a service, with more lines.
func doc(name string, lines ...string) string {
	return "service: " + name + "\nupstream: http://" + name + ":80\n" + strings.Join(append(lines, ""), "\n")
}

func TestBrokenDocumentKeepsItsServiceAndNoOther(t *testing.T) {
	first := directory{"all.yaml": doc("a") + "---\n" + doc("b") + "---\n" + doc("c"), "d.yaml": doc("d")}.good(t, nil)
	set, problems := directory{
		"all.yaml": doc("a", "retry: {max_retries: 7}") + "---\n" + doc("b", "retry: {max_retries: many}") + "---\n" + doc("c"),
		"d.yaml":   doc("d", "breaker: {timeout: 5s}"),
		"e.yaml":   doc("e", "nonsense: 1"),
	}.build(t, first)
	wantProblems(t, problems, "all.yaml:7:22: retry.max_retries: must be", "e.yaml:3:1: nonsense: unknown")
	wantServices(t, set, "a", "b*", "c", "d")
	if set.Lookup("a").Retry.MaxRetries != 7 || set.Lookup("d").Breaker.Timeout.Seconds() != 5 {
		t.Error("a good edit of the same save is not live")
	}
	if set.Lookup("b").Digest != first.Lookup("b").Digest {
		t.Error("the service with the error is not its last good version")
	}
	if problems[0].Service != "b" {
		t.Errorf("problem of service %q", problems[0].Service)
	}

	again, problems := directory{
		"all.yaml": doc("a", "retry: {max_retries: 7}") + "---\n" + doc("b", "retry: {max_retries: many}") + "---\n" + doc("c"),
		"d.yaml":   doc("d", "breaker: {timeout: 6s}"),
	}.build(t, set)
	wantProblems(t, problems, "all.yaml:7:22")
	wantServices(t, again, "a", "b*", "c", "d")
	if again.Lookup("b") != set.Lookup("b") {
		t.Error("a service that stays stale is another pointer")
	}

	mended, problems := directory{"all.yaml": doc("b", "retry: {max_retries: 9}"), "d.yaml": doc("d")}.build(t, again)
	wantProblems(t, problems)
	wantServices(t, mended, "b", "d")
}

func TestSyntaxErrorCostsOneDocument(t *testing.T) {
	first := directory{"all.yaml": doc("a") + "---\n" + doc("b") + "---\n" + doc("c")}.good(t, nil)
	set, problems := directory{
		"all.yaml": doc("a", "retry: off") + "---\n" + doc("b", "retry: {") + "---\n" + doc("c", "retry: off"),
	}.build(t, first)
	wantProblems(t, problems, "all.yaml:7:1: not valid YAML")
	wantServices(t, set, "a", "b*", "c")
	if set.Lookup("c").Retry.MaxRetries != 0 || set.Lookup("c").Position.Line != 9 {
		t.Errorf("the document after it: %+v", set.Lookup("c").Position)
	}
}

func TestDocumentOfUnknownServiceKeepsItsFile(t *testing.T) {
	first := directory{"all.yaml": doc("a") + "---\n" + doc("b") + "---\n" + doc("c"), "other.yaml": doc("d")}.good(t, nil)
	set, problems := directory{
		"all.yaml":   doc("a") + "---\nservcie: b\nupstream: http://b:80\n",
		"other.yaml": doc("c", "retry: off"),
	}.build(t, first)
	wantProblems(t, problems, "all.yaml:4:1: servcie: unknown field; did you mean service?")
	// b and c were of that file; c is elsewhere now; d's file has no fault.
	wantServices(t, set, "a", "b*", "c")
	if set.Lookup("c").Retry.MaxRetries != 0 {
		t.Error("a service that moved is not the one of its new file")
	}
}

func TestEmptiedFileKeepsItsServices(t *testing.T) {
	first := directory{"a.yaml": doc("a"), "b.yaml": doc("b")}.good(t, nil)
	for name, content := range map[string]string{"zero bytes": "", "comments": "# later\n---\n# more\n", "blanks": " \n\n"} {
		t.Run(name, func(t *testing.T) {
			set, problems := directory{"a.yaml": content, "b.yaml": doc("b")}.build(t, first)
			wantProblems(t, problems, "a.yaml:1:1: the file is empty")
			wantServices(t, set, "a*", "b")
			set, problems = directory{"a.yaml": content, "b.yaml": doc("b")}.build(t, set)
			wantProblems(t, problems, "a.yaml:1:1: the file is empty")
			wantServices(t, set, "a*", "b")
			set, problems = directory{"a.yaml": content, "b.yaml": doc("b") + "---\n" + doc("a")}.build(t, set)
			wantProblems(t, problems)
			wantServices(t, set, "a", "b")
			set = directory{"b.yaml": doc("b")}.good(t, set)
			wantServices(t, set, "b")
		})
	}
}

func TestVanishedDirectoryKeepsEverything(t *testing.T) {
	first := directory{"a.yaml": doc("a"), "gateway.yaml": "access_log: off\n"}.good(t, nil)
	set, problems := directory{"notes.txt": "hello"}.build(t, first)
	wantProblems(t, problems, "no policy files")
	if set != first {
		t.Error("not the set of before")
	}
	empty, problems := directory{}.build(t, nil)
	wantProblems(t, problems)
	wantServices(t, empty)
}

func TestDeletedFileRemovesItsServices(t *testing.T) {
	first := directory{"a.yaml": doc("a"), "b.yaml": doc("b"), "defaults.yaml": "retry: off\n"}.good(t, nil)
	set := directory{"b.yaml": doc("b")}.good(t, first)
	wantServices(t, set, "b")
	if set.Lookup("b").Retry.MaxRetries != 3 {
		t.Error("the deleted defaults.yaml is still in force")
	}
}

func TestFileTooLargeKeepsItsServices(t *testing.T) {
	first := directory{"a.yaml": doc("a"), "b.yaml": doc("b")}.good(t, nil)
	set, problems := directory{"a.yaml": doc("a") + strings.Repeat("#\n", maxFileSize/2), "b.yaml": strings.Repeat("---\nx: 1\n", maxDocuments+1)}.build(t, first)
	wantProblems(t, problems, "a.yaml:1:1: the file has", "b.yaml:20001:1: the file has more than")
	wantServices(t, set, "a*", "b*")
}

func TestDefaultsFaultKeepsDefaults(t *testing.T) {
	first := directory{"defaults.yaml": "retry: {max_retries: 1}\n", "a.yaml": doc("a")}.good(t, nil)
	for name, content := range map[string]string{
		"value": "retry: {max_retries: many}\n", "syntax": "retry: [\n", "conflict": "retry: {base_delay: 2s, max_delay: 1s}\n",
		"emptied": "", "two documents": "retry: off\n---\nretry: off\n", "not a map": "5\n",
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := directory{"defaults.yaml": content, "a.yaml": doc("a", "breaker: {timeout: 5s}")}.build(t, first)
			if len(problems) != 1 {
				t.Fatalf("problems:\n%s", joinProblems(problems))
			}
			wantServices(t, set, "a")
			a := set.Lookup("a")
			if a.Retry.MaxRetries != 1 || a.Breaker.Timeout.Seconds() != 5 {
				t.Errorf("max_retries %d, timeout %s", a.Retry.MaxRetries, a.Breaker.Timeout)
			}
			start, _ := directory{"defaults.yaml": content, "a.yaml": doc("a")}.build(t, nil)
			if start.Lookup("a").Retry.MaxRetries != 3 {
				t.Error("without a last good version some of a faulty defaults.yaml is in force")
			}
		})
	}
}

func TestProfileFaultKeepsProfile(t *testing.T) {
	services := doc("a", "profile: one") + "---\n" + doc("b", "profile: two") + "---\n" + doc("c")
	first := directory{
		"defaults.yaml": "retry: {max_retries: 1}\nprofiles:\n  one: {retry: {max_retries: 2}}\n  two: {retry: {max_retries: 3}}\n",
		"all.yaml":      services,
	}.good(t, nil)
	set, problems := directory{
		"defaults.yaml": "retry: {max_retries: 5}\nprofiles:\n  one: {retry: {max_retries: -2}}\n  two: {retry: {max_retries: 6}}\n",
		"all.yaml":      services,
	}.build(t, first)
	wantProblems(t, problems, "defaults.yaml:3:30: profiles.one.retry.max_retries")
	wantServices(t, set, "a", "b", "c")
	for name, want := range map[string]uint32{"a": 2, "b": 6, "c": 5} {
		if got := set.Lookup(name).Retry.MaxRetries; got != want {
			t.Errorf("%s: max_retries %d, want %d", name, got, want)
		}
	}
	// At a start there is no last good version, so its services are left out.
	set, _ = directory{
		"defaults.yaml": "profiles:\n  one: {retry: {max_retries: -2}}\n", "all.yaml": doc("a", "profile: one") + "---\n" + doc("c"),
	}.build(t, nil)
	wantServices(t, set, "c")
	// A profile that is gone while a service names it.
	set, problems = directory{"defaults.yaml": "retry: off\n", "all.yaml": services}.build(t, first)
	wantProblems(t, problems, "there is no profile one", "there is no profile two")
	wantServices(t, set, "a*", "b*", "c")
	if set.Lookup("a").Retry.MaxRetries != 2 {
		t.Error("a is not its last good version")
	}
}

func TestProfileThatContradictsNewDefaultsStays(t *testing.T) {
	services := doc("a", "profile: slow") + "---\n" + doc("b")
	first := directory{
		"defaults.yaml": "profiles:\n  slow: {retry: {base_delay: 2s}}\n", "all.yaml": services,
	}.good(t, nil)
	set, problems := directory{
		"defaults.yaml": "retry: {max_delay: 1s}\nprofiles:\n  slow: {retry: {base_delay: 2s}}\n", "all.yaml": services,
	}.build(t, first)
	wantProblems(t, problems, "profiles.slow.retry.base_delay: 2s must not be over retry.max_delay, which is 1s (set at defaults.yaml:1:20)")
	wantServices(t, set, "a", "b")
	if a, b := set.Lookup("a"), set.Lookup("b"); a.Retry.MaxDelay.Seconds() != 10 || b.Retry.MaxDelay.Seconds() != 1 {
		t.Errorf("max_delay of a %s, of b %s", a.Retry.MaxDelay, b.Retry.MaxDelay)
	}
}

func TestDefaultsThatSomeServicesContradict(t *testing.T) {
	services := doc("a", "breaker: {failure_threshold: 20}", "fallback: {service: b}") + "---\n" + doc("b")
	first := directory{"all.yaml": services}.good(t, nil)
	set, problems := directory{
		"defaults.yaml": "breaker: {window_size: 10}\nhealth_check: {path: /}\nfallback: {body: x}\n", "all.yaml": services,
	}.build(t, first)
	wantProblems(t, problems, "all.yaml:3:30: breaker.failure_threshold: 20 must not be over breaker.window_size, which is 10 (set at defaults.yaml:1:24)")
	wantServices(t, set, "a*", "b")
	a, b := set.Lookup("a"), set.Lookup("b")
	if a.Digest != first.Lookup("a").Digest || b.Breaker.WindowSize != 10 || b.HealthCheck == nil {
		t.Errorf("a %+v, b %+v", a.Breaker, b.Breaker)
	}
	// The document, edited and still in conflict, changes nothing.
	again, _ := directory{
		"defaults.yaml": "breaker: {window_size: 10}\nhealth_check: {path: /}\nfallback: {body: x}\n",
		"all.yaml":      strings.Replace(services, "20", "30", 1),
	}.build(t, set)
	if again.Lookup("a").Digest != a.Digest {
		t.Error("a is no longer its last good version")
	}
	mended := directory{"defaults.yaml": "breaker: {window_size: 50}\n", "all.yaml": services}.good(t, again)
	if a := mended.Lookup("a"); a.Stale || a.Breaker.WindowSize != 50 {
		t.Errorf("mended: stale %t, %+v", a.Stale, a.Breaker)
	}
}

func TestStaleServiceFollowsDefaults(t *testing.T) {
	first := directory{"a.yaml": doc("a")}.good(t, nil)
	set, _ := directory{"defaults.yaml": "retry: off\n", "a.yaml": doc("a", "oops: 1")}.build(t, first)
	wantServices(t, set, "a*")
	if set.Lookup("a").Retry.MaxRetries != 0 {
		t.Error("the last good document is not laid over the new defaults")
	}
}

func TestOfTwoDocumentsTheLiveOneStays(t *testing.T) {
	first := directory{"m.yaml": doc("a", "retry: {max_retries: 1}")}.good(t, nil)
	both := directory{"b.yaml": doc("a", "retry: {max_retries: 2}"), "m.yaml": doc("a", "retry: {max_retries: 3}"), "z.yaml": doc("a")}
	set, problems := both.build(t, first)
	wantProblems(t, problems,
		"b.yaml:1:1: service: service a is also defined at m.yaml:1:1, and that one is in force",
		"z.yaml:1:1: service: service a is also defined at m.yaml:1:1, and that one is in force")
	wantServices(t, set, "a")
	if got := set.Lookup("a").Retry.MaxRetries; got != 3 {
		t.Errorf("max_retries %d, want that of the live document's edit", got)
	}
	// The live one breaks: it still stays.
	both["m.yaml"] = doc("a", "retry: oops")
	set, problems = both.build(t, set)
	wantProblems(t, problems, "b.yaml:1:1", "m.yaml:3:8", "z.yaml:1:1")
	wantServices(t, set, "a*")
	// It goes: the first of the others.
	delete(both, "m.yaml")
	set, problems = both.build(t, set)
	wantProblems(t, problems, "z.yaml:1:1: service: service a is also defined at b.yaml:1:1")
	if got := set.Lookup("a").Retry.MaxRetries; got != 2 || set.Lookup("a").Stale {
		t.Errorf("max_retries %d", got)
	}
	// At a start the first valid one in order of file is served.
	set, problems = directory{"1.yaml": doc("a", "oops: 1"), "2.yaml": doc("a", "retry: off"), "3.yaml": doc("a")}.build(t, nil)
	wantProblems(t, problems, "1.yaml:1:1", "1.yaml:3:1", "3.yaml:1:1")
	if got := set.Lookup("a").Retry.MaxRetries; got != 0 {
		t.Errorf("max_retries %d, want that of 2.yaml", got)
	}
}

func TestDuplicateWithinTheFile(t *testing.T) {
	first := directory{"a.yaml": doc("x") + "---\n" + doc("a", "retry: {max_retries: 1}")}.good(t, nil)
	set, problems := directory{
		"a.yaml": doc("a", "retry: {max_retries: 2}") + "---\n" + doc("a", "retry: {max_retries: 1}"),
	}.build(t, first)
	wantProblems(t, problems, "a.yaml:1:1: service: service a is also defined at a.yaml:5:1")
	wantServices(t, set, "a")
	if got := set.Lookup("a").Retry.MaxRetries; got != 1 {
		t.Errorf("max_retries %d, want the live one's", got)
	}
}

func TestFallbackServiceThatGoesAway(t *testing.T) {
	first := directory{"a.yaml": doc("a", "fallback: {service: b}"), "b.yaml": doc("b")}.good(t, nil)
	set, problems := directory{"a.yaml": doc("a", "fallback: {service: b}")}.build(t, first)
	wantProblems(t, problems, "a.yaml:3:21: fallback.service: there is no service b")
	wantServices(t, set, "a*")
	if set.Lookup("a").Fallback != nil || set.Lookup("a").Digest == first.Lookup("a").Digest {
		t.Error("a still falls back to b")
	}
	again, _ := directory{"a.yaml": doc("a", "fallback: {service: b}")}.build(t, set)
	if again.Lookup("a") != set.Lookup("a") {
		t.Error("another pointer, though nothing changed")
	}
	back := directory{"a.yaml": doc("a", "fallback: {service: b}"), "b.yaml": doc("b")}.good(t, set)
	if back.Digest != first.Digest {
		t.Error("with b back the set is not what it was")
	}
}

func TestEditToFallbackThatLeadsNowhere(t *testing.T) {
	first := directory{"a.yaml": doc("a", "fallback: {service: b}"), "b.yaml": doc("b")}.good(t, nil)
	set, problems := directory{"a.yaml": doc("a", "fallback: {service: c}"), "b.yaml": doc("b")}.build(t, first)
	wantProblems(t, problems, "a.yaml:3:21: fallback.service: there is no service c")
	wantServices(t, set, "a*", "b")
	if f := set.Lookup("a").Fallback; f == nil || f.Service != "b" {
		t.Errorf("fallback %+v, want that of before", f)
	}
	// A circle is broken at the edit that closed it.
	set, problems = directory{"a.yaml": doc("a", "fallback: {service: b}"), "b.yaml": doc("b", "fallback: {service: a}")}.build(t, first)
	wantProblems(t, problems, "b.yaml:3:21: fallback.service: fallbacks lead in a circle")
	wantServices(t, set, "a", "b*")
	if f := set.Lookup("a").Fallback; f == nil || f.Service != "b" {
		t.Errorf("fallback %+v, want that of before", f)
	}
}

func TestGatewayFaultKeepsGateway(t *testing.T) {
	first := directory{"gateway.yaml": "address: 0.0.0.0:80\n", "a.yaml": doc("a")}.good(t, nil)
	set, problems := directory{"gateway.yaml": "address: 0.0.0.0\n", "a.yaml": doc("a", "retry: off")}.build(t, first)
	wantProblems(t, problems, "gateway.yaml:1:10: address: must be host:port")
	if g := set.Gateway; g.Host != "0.0.0.0" || g.Port != 80 || !g.Stale {
		t.Errorf("gateway %+v", g)
	}
	if set.Lookup("a").Retry.MaxRetries != 0 {
		t.Error("a good edit of the same save is not live")
	}
	start, _ := directory{"gateway.yaml": "address: 0.0.0.0\naccess_log: off\n", "a.yaml": doc("a")}.build(t, nil)
	if g := start.Gateway; g.Address() != "127.0.0.1:8080" || g.AccessLog != "stdout" || !g.Stale {
		t.Errorf("gateway %+v", g)
	}
}
