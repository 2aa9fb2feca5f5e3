package policy

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// mergeKeys is a small document of merge keys that name one another n times, as deep as 20.
func mergeKeys(n int) string {
	var out strings.Builder
	out.WriteString("x0: &x0 {a: 1}\n")
	for i := 1; i < 20; i++ {
		fmt.Fprintf(&out, "x%d: &x%d {<<: [%s]}\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i-1), n), ", "))
	}
	return out.String()
}

// allocated is how many bytes fn allocates.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestWhatIsSaidIsBounded: whatever a file has in it, the problems of each document are few and short, and so is the work.
func TestWhatIsSaidIsBounded(t *testing.T) {
	end := "service: z\nupstream: 127.0.0.1:1\ntimeout: *x\n"
	list := func(n int, format string) string {
		var out strings.Builder
		for i := range n {
			fmt.Fprintf(&out, format, i)
		}
		return out.String()
	}
	huge := strings.Repeat("y", 200<<10)
	plain := "service: z\nupstream: 127.0.0.1:1\n"
	for name, tt := range map[string]struct {
		text string
		// problems is what CountProblems gives at least; MiB bounds what is allocated for it.
		problems, MiB int
	}{
		"merge keys":                          {mergeKeys(3) + strings.ReplaceAll(end, "*x", "*x19"), 1, 2},
		"merge keys of many":                  {mergeKeys(900) + strings.ReplaceAll(end, "*x", "*x3"), 1, 40},
		"merge keys of many that are empty":   {"x: &x {}\ny: &y {<<: [" + strings.Repeat("*x, ", 5000) + "]}\n" + plain + "timeout: {<<: [" + strings.Repeat("*y, ", 5000) + "]}\n", 1, 40},
		"unknown fields":                      {plain + list(5000, "field%d: 1\n"), 5000, 20},
		"duplicate fields":                    {plain + strings.Repeat("a: 1\n", 5000), 5000, 20},
		"wrong items":                         {plain + "routes: [" + list(900, "{hosts: [a_%d^], methods: [GETT]}, ") + "]\n", 900, 30},
		"a huge value":                        {plain + "timeout: {connect: " + huge + "}\n", 1, 20},
		"a huge value in a list":              {plain + "retry: {on: [" + huge + ", x" + huge + "]}\n", 2, 20},
		"a huge field":                        {plain + "? " + huge + "\n: 1\ntimeout: {? " + huge + " : 1}\n", 2, 20},
		"a huge field that many maps share":   {"x: &x {? " + huge + " : 1}\n" + plain + "routes: [" + strings.Repeat("{<<: *x, prefix: /}, ", 900) + "]\n", 900, 30},
		"a huge profile":                      {plain + "profile: " + huge + "\n", 1, 20},
		"a huge upstream":                     {"service: z\nupstream: http://" + huge + ":1\n", 1, 20},
		"a huge variable":                     {plain + "timeout: {connect: \"${" + huge + "}\"}\n", 1, 20},
		"a huge expression":                   {plain + "routes: [{regex: \"" + huge[:60<<10] + "(\"}]\n", 1, 20},
		"deep":                                {plain + "timeout: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "\n", 1, 20},
		"deep, and not closed":                {plain + "timeout: " + strings.Repeat("[", 9000) + "\n", 1, 20},
		"a document of half a million values": {plain + "x: [" + strings.Repeat("a,", 500_000) + "]\n", 1, 10},
		"aliases in aliases":                  {"a: &a [1, 2]\nb: &b [" + strings.Repeat("*a, ", 900) + "]\n" + plain + "routes: [" + strings.Repeat("*b, ", 900) + "]\n", 900, 20},
	} {
		t.Run(name, func(t *testing.T) {
			files := []File{{Name: "z.yaml", Data: []byte(tt.text)}}
			var problems []Problem
			MiB := allocated(func() { _, problems = Build(files, noEnv, nil) }) >> 20
			if MiB > uint64(tt.MiB) {
				t.Errorf("%d MiB are allocated, want at most %d", MiB, tt.MiB)
			}
			if n := CountProblems(problems); n < tt.problems {
				t.Errorf("%d problems, want at least %d", n, tt.problems)
			}
			if len(problems) > 2*maxDocumentProblems {
				t.Errorf("%d problems are listed", len(problems))
			}
			for _, p := range problems {
				if len(p.Message) > maxMessage+8 || len(p.Path) > 4*maxFieldName {
					t.Errorf("a message of %d bytes, a path of %d", len(p.Message), len(p.Path))
				}
			}
			for _, e := range Excerpts(problems, map[string]File{"z.yaml": files[0]}) {
				if len(e) > 2*excerptContext+1 || slices.ContainsFunc(e, func(l SourceLine) bool { return len(l.Text) > maxExcerptLine+8 }) {
					t.Errorf("an excerpt of %d lines", len(e))
				}
			}
			set, _ := directory{"z.yaml": doc("z")}.build(t, nil)
			if after, _ := Build(files, noEnv, set); after.Lookup("z") == nil {
				t.Error("the service does not keep its last good version")
			}
		})
	}
}

// TestManySmallDocumentsAreBounded: 60 documents of merge keys, 41 KB in all, cost no more than their size deserves.
func TestManySmallDocumentsAreBounded(t *testing.T) {
	text := mergeKeys(3) + "service: z\nupstream: 127.0.0.1:1\ntimeout: *x19\n---\n"
	files := []File{{Name: "z.yaml", Data: []byte(strings.Repeat(text, 60))}}
	var problems []Problem
	if MiB := allocated(func() { _, problems = Build(files, noEnv, nil) }) >> 20; MiB > 60 {
		t.Errorf("%d MiB are allocated", MiB)
	}
	listed, more := LimitProblems(problems)
	if len(listed) != MaxProblems || len(listed)+more != CountProblems(problems) {
		t.Errorf("%d of %d problems are listed, and %d more", len(listed), len(problems), more)
	}
	if len(problems) > 60*(maxDocumentProblems+1) {
		t.Errorf("%d problems are kept", len(problems))
	}
}

// TestManySyntaxErrorsAreBounded: the place of each is searched for by reading its document anew for each line and column,
// which many documents could not afford.
func TestManySyntaxErrorsAreBounded(t *testing.T) {
	text := doc("z") + "x: [\n" + strings.Repeat("  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: 1,\n", 190) + "---\n"
	files := []File{{Name: "z.yaml", Data: []byte(strings.Repeat(text, 100))}}
	var problems []Problem
	if MiB := allocated(func() { _, problems = Build(files, noEnv, nil) }) >> 20; MiB > 800 {
		t.Errorf("%d MiB are allocated", MiB)
	}
	if n := 100 + 99; len(problems) != n {
		t.Errorf("%d problems, want %d", len(problems), n)
	}
}

// TestAllowancesCostLittle: comments that accept a warning cost time in proportion to their number.
func TestAllowancesCostLittle(t *testing.T) {
	const n = 29_000
	text := "service: z\nupstream: 127.0.0.1:1\n" + strings.Repeat("#lint:allow x: a\n", n)
	set, problems := Build([]File{{Name: "z.yaml", Data: []byte(text)}}, noEnv, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	start := time.Now()
	found := Lint(set)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("lint took %s", took)
	}
	if got := CountProblems(found); got != n {
		t.Errorf("%d warnings, want %d", got, n)
	}
}
