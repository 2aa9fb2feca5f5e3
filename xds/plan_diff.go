package xds

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/breakwater/breakwater/envoy"
)

// The bounds of the diffs of one plan, in bytes. What is beyond them is counted.
const (
	maxDiff  = 64 << 10
	maxDiffs = 1 << 20
)

// changes gives the pairs in order, with their diffs.
func (p pairs) changes() ([]ResourceChange, error) {
	order := func(a, b key) int { return cmp.Or(cmp.Compare(a.typeURL, b.typeURL), cmp.Compare(a.name, b.name)) }
	out := make([]ResourceChange, 0, len(p))
	room := maxDiffs
	for _, k := range slices.SortedFunc(maps.Keys(p), order) {
		pair := p[k]
		c := ResourceChange{TypeURL: k.typeURL, Name: k.name, Action: Changed}
		switch {
		case pair.before == nil:
			c.Action = Added
		case pair.after == nil:
			c.Action = Removed
		}
		if room > 0 {
			diff, err := pair.diff()
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", typeName(k.typeURL), k.name, err)
			}
			c.Diff = cut(diff, min(maxDiff, room))
			room -= len(c.Diff)
		} else {
			c.Diff = "# left out: the plan is too long\n"
		}
		out = append(out, c)
	}
	return out, nil
}

func (p pair) diff() (string, error) {
	before, err := p.before.yaml()
	if err != nil {
		return "", err
	}
	after, err := p.after.yaml()
	if err != nil {
		return "", err
	}
	return udiff.Unified("in force", "planned", before, after), nil
}

// yaml is empty for nil.
func (r *resource) yaml() (string, error) {
	if r == nil {
		return "", nil
	}
	m, err := r.body.UnmarshalNew()
	if err != nil {
		return "", err
	}
	text, err := envoy.MarshalYAML(m)
	return string(text), err
}

// cut ends a text after at most n bytes, at a line's end, and says what is missing.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	kept := text[:strings.LastIndexByte(text[:n], '\n')+1]
	return kept + fmt.Sprintf("# left out: %d more lines\n", strings.Count(text[len(kept):], "\n"))
}
