package envoy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTailKeepsTheLastLines(t *testing.T) {
	var last tail
	for i := range 2 * tailLines {
		fmt.Fprintf(&last, "line %d\n\n", i)
	}
	fmt.Fprint(&last, "no ", "end")
	got := last.Lines()
	if len(got) > tailLines+1 || got[len(got)-1] != "no end" || got[len(got)-2] != fmt.Sprintf("line %d", 2*tailLines-1) || slices.Contains(got, "") {
		t.Errorf("Lines() = %q", got)
	}
	fmt.Fprint(&last, strings.Repeat("x", 3*maxTailBytes), "\nnext")
	got = last.Lines()
	if n := len(got[len(got)-2]); n != maxTailBytes || got[len(got)-1] != "next" {
		t.Errorf("a long line is %d bytes, want %d; then %q", n, maxTailBytes, got[len(got)-1])
	}
}

func TestReason(t *testing.T) {
	const entry = "[2026-11-24 08:01:11.821][6264][critical][main] [server.cc:449] error"
	for want, lines := range map[string][]string{
		"":                  {entry, entry},
		"cannot bind":       {entry, "cannot bind"},
		"value must be 1 s": {entry, "  }", ": value must  be 1 s"},
	} {
		if got := reason(lines); got != want {
			t.Errorf("reason(%q) = %q, want %q", lines, got, want)
		}
	}
}
