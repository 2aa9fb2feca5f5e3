package policy

import (
	"slices"
	"testing"
)

func names(set *Set) []string {
	var out []string
	for _, s := range set.Services {
		out = append(out, s.Name)
	}
	return out
}

// TestTornFileLosesNoService: cut at any byte, whether what is left has an error or is a shorter valid file whose writer
// may not be done.
func TestTornFileLosesNoService(t *testing.T) {
	text := doc("a", "routes: [{prefix: /a}]") + "---\n" + doc("b", "retry:", "  max_retries: 2") + "---\n" + doc("c", "fallback: {body: \"x\"}")
	all := []string{"a", "b", "c"}
	first := directory{"all.yaml": text}.good(t, nil)
	for at := range len(text) {
		torn := []File{{Name: "all.yaml", Data: []byte(text[:at])}}
		set, problems := buildChecked(t, torn, noEnv, first)
		if len(problems) > 0 && !slices.Equal(names(set), all) {
			t.Errorf("cut at %d, with an error: services %v; problems:\n%s", at, names(set), joinProblems(problems))
		}
		torn[0].Changed = true
		held, problems := buildChecked(t, torn, noEnv, first)
		if !slices.Equal(names(held), all) {
			t.Errorf("cut at %d and changed: services %v; problems:\n%s", at, names(held), joinProblems(problems))
		}
		if back, problems := (directory{"all.yaml": text}).build(t, held); len(problems) > 0 || back.Digest != first.Digest || back.Holds() {
			t.Errorf("cut at %d, then whole: it is not what it was; problems:\n%s", at, joinProblems(problems))
		}
	}
}

func TestMissingOfAFileWithAnErrorIsSaid(t *testing.T) {
	first := directory{"all.yaml": doc("a") + "---\n" + doc("b") + "---\n" + doc("c")}.good(t, nil)
	set, problems := directory{"all.yaml": doc("a") + "---\nservice: b\nupst"}.build(t, first)
	wantProblems(t, problems,
		"all.yaml:1:1: the file has an error, so it may be cut off: what was in it and is missing stays (c)",
		"all.yaml:5:1: not valid YAML")
	wantServices(t, set, "a", "b*", "c*")
}

// TestMissingStaysWhileItsFileMayComeBack: as the same value, so that nothing is sent, and without a problem.
func TestMissingStaysWhileItsFileMayComeBack(t *testing.T) {
	const shared = "breaker: {timeout: 7s}\n"
	a := doc("a", "retry: off")
	before := directory{"a.yaml": a, "b.yaml": doc("b"), "defaults.yaml": shared}
	first := before.good(t, nil)
	b := File{Name: "b.yaml", Data: []byte(doc("b"))}
	defaults := File{Name: "defaults.yaml", Data: []byte(shared)}
	for name, tt := range map[string]struct {
		files []File
		holds bool
	}{
		"gone":                       {[]File{{Name: "a.yaml", Data: []byte(a), Gone: true}, b, defaults}, true},
		"no longer named":            {[]File{{Name: "a.yaml", Data: []byte(doc("b")), Changed: true}, defaults}, true},
		"emptied":                    {[]File{{Name: "a.yaml", Changed: true}, b, defaults}, true},
		"renamed":                    {[]File{{Name: "a.yaml", Data: []byte(a), Gone: true}, b, {Name: "c.yaml", Data: []byte(a)}, defaults}, false},
		"moved, the old saved first": {[]File{{Name: "a.yaml", Changed: true}, {Name: "b.yaml", Data: []byte(doc("b") + "---\n" + a)}, defaults}, false},
		"shared file gone":           {[]File{{Name: "a.yaml", Data: []byte(a)}, b, {Name: "defaults.yaml", Data: []byte(shared), Gone: true}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := Build(tt.files, noEnv, first)
			wantProblems(t, problems)
			wantServices(t, set, "a", "b")
			if set.Digest != first.Digest || set.Holds() != tt.holds {
				t.Errorf("digest %s, before %s; Holds() = %t", set.Digest, first.Digest, set.Holds())
			}
			settled, problems := (directory{"b.yaml": doc("b"), "defaults.yaml": shared}).build(t, set)
			wantProblems(t, problems)
			wantServices(t, settled, "b")
		})
	}
}

// TestMovedServiceStaysWhileItsNewFileIsWritten: the file that had it gives it up while the one that has it too is gone for a
// moment, or torn.
func TestMovedServiceStaysWhileItsNewFileIsWritten(t *testing.T) {
	first := directory{"a.yaml": doc("a") + "---\n" + doc("b"), "c.yaml": doc("c")}.good(t, nil)
	both, _ := directory{"a.yaml": doc("a") + "---\n" + doc("b"), "c.yaml": doc("c") + "---\n" + doc("b")}.build(t, first)
	a := File{Name: "a.yaml", Data: []byte(doc("a"))}
	for name, c := range map[string]File{
		"gone":                         {Name: "c.yaml", Data: []byte(doc("c") + "---\n" + doc("b")), Gone: true},
		"written":                      {Name: "c.yaml", Data: []byte(doc("c")), Changed: true},
		"emptied":                      {Name: "c.yaml"},
		"torn":                         {Name: "c.yaml", Data: []byte(doc("c") + "---\nserv")},
		"torn, and what it had before": {Name: "c.yaml", Data: []byte("service: c\nupst")},
	} {
		t.Run(name, func(t *testing.T) {
			set := both
			for range 2 { // it is not forgotten by looking
				set, _ = Build([]File{a, c}, noEnv, set)
				if got := names(set); !slices.Equal(got, []string{"a", "b", "c"}) {
					t.Fatalf("the services are %v, want a, b and c", got)
				}
			}
			settled, problems := directory{"a.yaml": doc("a"), "c.yaml": doc("c")}.build(t, set)
			wantProblems(t, problems)
			wantServices(t, settled, "a", "c")
		})
	}
}

// TestReplacedServiceGoesAtOnce: its path is that of another.
func TestReplacedServiceGoesAtOnce(t *testing.T) {
	const route = "routes: [{prefix: /x}]"
	first := directory{"a.yaml": doc("a", route) + "---\n" + doc("b")}.good(t, nil)
	set, problems := Build([]File{{Name: "a.yaml", Data: []byte(doc("c", route)), Changed: true}}, noEnv, first)
	wantProblems(t, problems)
	wantServices(t, set, "b", "c")
}
