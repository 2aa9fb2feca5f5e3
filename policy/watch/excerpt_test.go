package watch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/policy"
)

// Each problem comes with its lines as they were when it was found, variables as they are written, though the file
// can not be read or is another since.
func TestProblemsHaveExcerpts(t *testing.T) {
	bubble(t, map[string]string{
		"a.yaml": "service: a\nupstream: http://a:80\ntimeout:\n  connect: soon\n  request: ${WAIT:-5s}\n",
		"b.yaml": good("b", "8001"),
	}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		s := h.start(t)
		want := [][]policy.SourceLine{{
			{Line: 2, Text: "upstream: http://a:80"},
			{Line: 3, Text: "timeout:"},
			{Line: 4, Text: "  connect: soon"},
			{Line: 5, Text: "  request: ${WAIT:-5s}"},
		}}
		if diff := cmp.Diff(want, s.Excerpts); diff != "" || len(s.Problems) != 1 {
			t.Errorf("%v: excerpts (-want +got):\n%s", s.Problems, diff)
		}
		// Nothing has looked at this yet.
		must(t, os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("gone\n"), 0o600))
		if diff := cmp.Diff(want, h.Status().Excerpts); diff != "" {
			t.Errorf("after an edit that is not read (-want +got):\n%s", diff)
		}
		// A directory that is gone has no line; the excerpts go with their problems.
		must(t, os.RemoveAll(dir))
		s = h.next(t)
		if len(s.Problems) != 1 || len(s.Excerpts) != 1 || s.Excerpts[0] != nil {
			t.Errorf("%v: excerpts %v", s.Problems, s.Excerpts)
		}
	})
}
