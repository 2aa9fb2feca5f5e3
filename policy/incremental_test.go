package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestUnchangedServicesKeepTheirPointers: an edit of one service gives every other
// as the same pointer, also in the same file as long as its lines stay.
func TestUnchangedServicesKeepTheirPointers(t *testing.T) {
	d := directory{"all.yaml": doc("a") + "---\n" + doc("b") + "---\n" + doc("c"), "d.yaml": doc("d")}
	first := d.good(t, nil)
	d["all.yaml"] = doc("a") + "---\n" + doc("b", "retry: off") + "---\n" + doc("c")
	second := d.good(t, first)
	for _, name := range []string{"a", "d"} {
		if second.Lookup(name) != first.Lookup(name) {
			t.Errorf("%s is another pointer", name)
		}
	}
	if second.Lookup("b") == first.Lookup("b") || second.Lookup("b").Digest == first.Lookup("b").Digest {
		t.Error("the edit of b is not seen")
	}
	// c moved by one line: other positions, the same values.
	fresh := d.good(t, nil)
	if got, want := second.Lookup("c"), fresh.Lookup("c"); !reflect.DeepEqual(got, want) {
		t.Errorf("c %+v, want %+v", got, want)
	}
	if second.Lookup("c").Digest != first.Lookup("c").Digest {
		t.Error("the digest depends on positions")
	}
	if second.Digest == first.Digest || second.Digest != fresh.Digest {
		t.Error("the set's digest does not follow the values")
	}
}

// TestEditOfProfileConcernsItsServicesOnly: the rest keep their pointers.
func TestEditOfProfileConcernsItsServicesOnly(t *testing.T) {
	d := directory{
		"defaults.yaml": "retry: {max_retries: 1}\nprofiles:\n  x: {timeout: {connect: 1s}}\n  y: {timeout: {connect: 1s}}\n",
		"a.yaml":        doc("a", "profile: x"), "b.yaml": doc("b", "profile: y"), "c.yaml": doc("c"),
	}
	first := d.good(t, nil)
	d["defaults.yaml"] = strings.Replace(d["defaults.yaml"], "1s", "2s", 1)
	second := d.good(t, first)
	for name, same := range map[string]bool{"a": false, "b": true, "c": true} {
		if (second.Lookup(name) == first.Lookup(name)) != same {
			t.Errorf("%s: the same pointer: %t, want %t", name, !same, same)
		}
	}
}

// TestIncrementalBuildEqualsFreshBuild: after any good edit, what Build makes from
// the set before is what it makes from nothing, positions and origins included.
func TestIncrementalBuildEqualsFreshBuild(t *testing.T) {
	var prev *Set
	for _, c := range loadCases(t, "good") {
		set, problems := Build(c.files, c.lookup, prev)
		if len(problems) > 0 {
			t.Fatalf("%s: problems:\n%s", c.name, joinProblems(problems))
		}
		fresh, _ := Build(c.files, c.lookup, nil)
		if !reflect.DeepEqual(set.Services, fresh.Services) || !reflect.DeepEqual(set.Gateway, fresh.Gateway) || set.Digest != fresh.Digest {
			t.Errorf("%s: after another policy the set is not what it is from nothing", c.name)
		}
		stored, problems := Build(set.Files(), c.lookup, nil)
		if len(problems) > 0 || !reflect.DeepEqual(stored.Services, fresh.Services) {
			t.Errorf("%s: Build(Files()) differs; problems:\n%s", c.name, joinProblems(problems))
		}
		prev = set
	}
}

// thousand gives 1,000 services, in one file each or all in one.
func thousand(oneFile bool) directory {
	d := directory{"defaults.yaml": "timeout: {connect: 1s}\nprofiles:\n  critical: {retry: {max_retries: 1}}\n"}
	for i := range 1000 {
		text := doc(fmt.Sprintf("service-%04d", i),
			"profile: critical",
			fmt.Sprintf("routes: [{prefix: /api/v1/s%d}, {path: /s%d/health, methods: [GET]}]", i, i),
			"timeout: {request: 10s, per_try: 3s}",
			"breaker: {failure_threshold: 20, timeout: 30s}",
			"fallback: {status: 503, headers: {content-type: application/json}, body: '{\"error\": \"later\"}'}")
		if oneFile {
			d["all.yaml"] += "---\n" + text
		} else {
			d[fmt.Sprintf("service-%04d.yaml", i)] = text
		}
	}
	return d
}

// BenchmarkBuildEditOneOf1000 builds after an edit of one service of 1,000: in its
// own file, in the one file of all, and there with a line more, so that all
// documents behind it move.
func BenchmarkBuildEditOneOf1000(b *testing.B) {
	for _, layout := range []struct {
		name, file string
		oneFile    bool
		edit       func(i int) (string, string)
	}{
		{"own-file", "service-0500.yaml", false, func(i int) (string, string) { return "per_try: 3s", fmt.Sprintf("per_try: %dms", 1000+i) }},
		{"one-file", "all.yaml", true, func(i int) (string, string) {
			return "upstream: http://service-0500:80", fmt.Sprintf("upstream: http://service-0500:%d", 1000+i)
		}},
		{"one-file-line-more", "all.yaml", true, func(i int) (string, string) {
			return "service: service-0500\n", "service: service-0500\n" + strings.Repeat("#\n", 1+i)
		}},
	} {
		b.Run(layout.name, func(b *testing.B) {
			d := thousand(layout.oneFile)
			original := d[layout.file]
			set, problems := Build(d.files(), noEnv, nil)
			if len(problems) > 0 {
				b.Fatal(joinProblems(problems))
			}
			edits := make([][]File, 2)
			for i := range edits {
				from, to := layout.edit(i)
				d[layout.file] = strings.Replace(original, from, to, 1)
				edits[i] = d.files()
			}
			b.ResetTimer()
			for i := range b.N {
				set, problems = Build(edits[i%2], noEnv, set)
				if len(problems) > 0 || len(set.Services) != 1000 {
					b.Fatal(joinProblems(problems))
				}
			}
		})
	}
}

// BenchmarkBuild1000 builds 1,000 services from nothing.
func BenchmarkBuild1000(b *testing.B) {
	files := thousand(false).files()
	for b.Loop() {
		Build(files, noEnv, nil)
	}
}

// BenchmarkLint1000 lints 1,000 services.
func BenchmarkLint1000(b *testing.B) {
	set, _ := Build(thousand(false).files(), noEnv, nil)
	for b.Loop() {
		Lint(set)
	}
}

// TestFileGivenTwice: the first of one name is read, and the other is said.
func TestFileGivenTwice(t *testing.T) {
	files := append(directory{"a.yaml": doc("a")}.files(), directory{"a.yaml": doc("b")}.files()...)
	set, problems := Build(files, noEnv, nil)
	wantProblems(t, problems, "a.yaml:1:1")
	wantServices(t, set, "a")
}

// TestFilesAreKeptAsWritten: a file that is in force as a whole is stored byte for byte.
func TestFilesAreKeptAsWritten(t *testing.T) {
	text := "# ours\n%YAML 1.1\n---\n" + doc("a") + "...\n# between\n---\n" + doc("b") + "---\n# nothing\n"
	files := directory{"all.yaml": text}.good(t, nil).Files()
	if len(files) != 1 || string(files[0].Data) != text {
		t.Errorf("stored:\n%s", joinFiles(files))
	}
}
