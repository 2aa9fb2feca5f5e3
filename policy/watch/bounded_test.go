package watch

import (
	"fmt"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// TestManyProblemsAreBounded: a file with 100,000 problems writes no 100,000 lines, and the metrics count them all.
func TestManyProblemsAreBounded(t *testing.T) {
	var text strings.Builder
	for service := range 100 {
		fmt.Fprintf(&text, "---\nservice: s%d\nupstream: 127.0.0.1:1\n", service)
		for field := range 1000 {
			fmt.Fprintf(&text, "x%d: 1\n", field)
		}
	}
	bubble(t, map[string]string{"a.yaml": text.String(), "b.yaml": doubtful("b")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		s := h.start(t)
		if len(s.Problems) != policy.MaxProblems || len(s.Excerpts) != len(s.Problems) || s.MoreProblems != 100_001-policy.MaxProblems {
			t.Errorf("%d problems, %d excerpts, %d more", len(s.Problems), len(s.Excerpts), s.MoreProblems)
		}
		if lines := strings.Count(h.log.String(), "\n"); lines > policy.MaxProblems+5 {
			t.Errorf("the log has %d lines", lines)
		}
		if want := fmt.Sprintf("more=%d", s.MoreProblems); !strings.Contains(h.log.String(), want) {
			t.Errorf("the log has no %q", want)
		}
		h.wantMetrics(t, map[string]float64{"problems/error": 100_000, "problems/warning": 1})
		h = newHarness(t, dir, func(o *Options) { o.Strict = true })
		if err := h.Load(t.Context()); strings.Count(err.Error(), "\n") != policy.MaxProblems || !strings.HasSuffix(err.Error(), fmt.Sprintf("\nand %d more", s.MoreProblems)) {
			t.Errorf("a strict start says %s", err)
		}
	})
}
