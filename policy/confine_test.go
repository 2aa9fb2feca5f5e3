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
	wantProblems(t, problems, "all.yaml:7:8: not valid YAML")
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
	wantServices(t, set, "a")
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

// TestFrozenProfileLeavesItsServicesFree: a profile that is kept as it was clamps
// built-in values as before, and is no other at a second look.
// TestSameDocumentTwice: of two equal documents the same one is in force at each look.
func TestSameDocumentTwice(t *testing.T) {
	d := directory{"a.yaml": doc("a") + "---\n" + doc("a") + "---\nbroken: 1\n"}
	first, problems := d.build(t, nil)
	again, repeated := d.build(t, first)
	if joinProblems(problems) != joinProblems(repeated) || again.Lookup("a") != first.Lookup("a") {
		t.Errorf("first:\n%sthen:\n%s", joinProblems(problems), joinProblems(repeated))
	}
}

// TestLineEndings: a byte order mark and carriage returns change neither values nor
// positions.
func TestLineEndings(t *testing.T) {
	text := doc("a", "fallback:", "  body: |", "    one", "    two") + "---\n" + doc("b", "retry: off")
	plain := directory{"a.yaml": text}.good(t, nil)
	dos := directory{"a.yaml": "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")}.good(t, nil)
	if plain.Digest != dos.Digest {
		t.Error("other values")
	}
	for i, s := range plain.Services {
		if got := dos.Services[i].Position; got != s.Position {
			t.Errorf("%s is at %s, want %s", s.Name, got, s.Position)
		}
	}
}
