package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// crowd is a file of n services with a line each.
func crowd(n int, line string) directory {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "service: service-%d\nupstream: http://x:1\n%s\n---\n", i, strings.ReplaceAll(line, "#", fmt.Sprint(i)))
	}
	return directory{"crowd.yaml": out.String()}
}

// TestCrowdsAreCheap: what is said of many services that all have the same mistake grows with their number, not faster.
func TestCrowdsAreCheap(t *testing.T) {
	const n = 500
	for _, tt := range []struct {
		name, line, text string
		want             int
	}{
		{"the same route", "routes: [{prefix: /}]", "has the same route at", n - 1},
		{"the same route of several hosts", "routes: [{prefix: /, hosts: [a.example, b.example]}]", "has the same route at", n - 1},
		{"fallbacks to nowhere", "fallback: {service: t#}", "there is no service t", n},
		{"fallbacks to nowhere, with a suggestion", "fallback: {service: service-#x}", "did you mean", maxSuggestions},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, problems := Build(crowd(n, tt.line).files(), noEnv, nil)
			got := 0
			for _, p := range append(problems, Lint(set)...) {
				if strings.Contains(p.Message, tt.text) {
					got++
				}
			}
			if got != tt.want {
				t.Errorf("%d problems say %q, want %d", got, tt.text, tt.want)
			}
		})
	}
}

// TestCandidateStops: it is not built to its end for somebody who has gone.
func TestCandidateStops(t *testing.T) {
	const n = 2000
	// ended counts how often it is looked whether the context has ended, and ends it at once or in the midst.
	for _, after := range []int{0, n / 2, n + n/2} {
		ctx := &countedContext{Context: t.Context(), after: after}
		set, problems, err := BuildCandidate(ctx, crowd(n, "retry: off").files(), noEnv, nil, nil)
		if set != nil || problems != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("after %d looks: %v", after, err)
		}
		if ctx.looks > after+5 {
			t.Errorf("after %d looks it went on for %d", after, ctx.looks-after)
		}
	}
}

// countedContext ends after it was asked so many times.
type countedContext struct {
	context.Context
	after, looks int
}

func (c *countedContext) Err() error {
	if c.looks++; c.looks > c.after {
		return context.Canceled
	}
	return nil
}
