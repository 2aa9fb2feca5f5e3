package policy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected files under testdata and the schemas")

// testCase is a policy under testdata: one file, or a directory of files, in which a
// file named env has the environment as lines of NAME=VALUE.
type testCase struct {
	name  string
	files []File
	env   map[string]string
}

func (c testCase) lookup(name string) (string, bool) {
	value, ok := c.env[name]
	return value, ok
}

// loadCases reads all cases of a directory under testdata.
func loadCases(t testing.TB, dir string) []testCase {
	t.Helper()
	return loadCasesOf(t, filepath.Join("testdata", dir))
}

func loadCasesOf(t testing.TB, dir string) []testCase {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var cases []testCase
	for _, item := range list {
		path := filepath.Join(dir, item.Name())
		c := testCase{env: map[string]string{"A_URL": "http://from-environment:8000", "THREE": "3", "WORD": "word", "EMPTY": ""}}
		switch {
		case item.IsDir():
			c.name = item.Name()
			files, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if f.IsDir() {
					continue
				}
				data := readFile(t, filepath.Join(path, f.Name()))
				if f.Name() != "env" {
					c.files = append(c.files, File{Name: f.Name(), Data: data})
					continue
				}
				for line := range strings.Lines(string(data)) {
					name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
					c.env[name] = value
				}
			}
		case strings.HasSuffix(item.Name(), ".yaml"):
			c.name = strings.TrimSuffix(item.Name(), ".yaml")
			c.files = []File{{Name: item.Name(), Data: readFile(t, path)}}
		default:
			continue
		}
		cases = append(cases, c)
	}
	return cases
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compareGolden compares with the expected file of a case, or rewrites it.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// removeOrphans deletes, or reports, expected files without a case.
func removeOrphans(t *testing.T, dir string, cases []testCase) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		if slices.ContainsFunc(cases, func(c testCase) bool { return c.name == name }) {
			continue
		}
		if !*update {
			t.Errorf("%s belongs to no case", path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

func joinProblems(problems []Problem) string {
	var out strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&out, p)
	}
	return out.String()
}

// TestBad: each file under testdata/bad breaks one rule, and says so at its place.
func TestBad(t *testing.T) {
	cases := loadCases(t, "bad")
	if len(cases) < 45 {
		t.Errorf("%d cases, want at least 45", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set, problems := Build(c.files, c.lookup, nil)
			if len(problems) == 0 {
				t.Fatal("no problem")
			}
			checkSet(t, set)
			checkPositions(t, c.files, problems)
			for _, p := range problems {
				if p.Severity != SeverityError || p.Rule != "" {
					t.Errorf("%s: severity %s, rule %q", p, p.Severity, p.Rule)
				}
			}
			compareGolden(t, filepath.Join("testdata", "bad", c.name+".txt"), joinProblems(problems))
		})
	}
	removeOrphans(t, "bad", cases)
}

// TestGood: the files under testdata/good have no errors, and these effective values.
func TestGood(t *testing.T) {
	cases := loadCases(t, "good")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set, problems := Build(c.files, c.lookup, nil)
			if len(problems) > 0 {
				t.Fatalf("problems:\n%s", joinProblems(problems))
			}
			checkSet(t, set)
			compareGolden(t, filepath.Join("testdata", "good", c.name+".txt"), describeSet(t, set))
		})
	}
	removeOrphans(t, "good", cases)
}

// TestLint: the files under testdata/lint are valid and raise these warnings.
func TestLint(t *testing.T) {
	cases := loadCases(t, "lint")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set, problems := Build(c.files, c.lookup, nil)
			if len(problems) > 0 {
				t.Fatalf("problems:\n%s", joinProblems(problems))
			}
			warnings := Lint(set)
			checkPositions(t, c.files, warnings)
			var out strings.Builder
			for _, w := range warnings {
				if w.Severity != SeverityWarning {
					t.Errorf("%s: severity %s", w, w.Severity)
				}
				fmt.Fprintf(&out, "%s [%s]\n", w, w.Rule)
			}
			compareGolden(t, filepath.Join("testdata", "lint", c.name+".txt"), out.String())
		})
	}
	removeOrphans(t, "lint", cases)
}

// TestLintBuiltIn: what no user set raises no warning.
func TestLintBuiltIn(t *testing.T) {
	set, _ := Build([]File{{Name: "a.yaml", Data: []byte("service: a\nupstream: http://a:1\n")}}, noEnv, nil)
	if warnings := Lint(set); len(warnings) > 0 {
		t.Errorf("the built-in values alone are warned of:\n%s", joinProblems(warnings))
	}
}

// describeSet gives the effective values of a set, with the origins that are not
// built in.
func describeSet(t *testing.T, set *Set) string {
	t.Helper()
	var out strings.Builder
	describe := func(v any, origins map[string]Origin) {
		data, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s\n", data)
		for _, path := range slices.Sorted(mapKeys(origins)) {
			if o := origins[path]; o.Layer != LayerBuiltIn || o.Clamped {
				fmt.Fprintf(&out, "%s: %s %s%s%s\n", path, o.Layer, o.Variable, o.Position, map[bool]string{true: " clamped"}[o.Clamped])
			}
		}
	}
	for _, s := range set.Services {
		values := *s
		values.Origins, values.Digest = nil, ""
		describe(values, s.Origins)
	}
	values := *set.Gateway
	values.Origins = nil
	describe(values, set.Gateway.Origins)
	return out.String()
}
