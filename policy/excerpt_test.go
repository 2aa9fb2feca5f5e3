package policy

import (
	"fmt"
	"strings"
	"testing"
)

// written is an excerpt as "line:text|line:text".
func written(excerpt []SourceLine) string {
	lines := make([]string, len(excerpt))
	for i, l := range excerpt {
		lines[i] = fmt.Sprintf("%d:%s", l.Line, l.Text)
	}
	return strings.Join(lines, "|")
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("é", maxExcerptLine)
	for _, tt := range []struct {
		name, data string
		line       int
		want       string
	}{
		{"the middle", "a\nb\nc\nd\ne\nf\ng\n", 4, "2:b|3:c|4:d|5:e|6:f"},
		{"the first", "a\nb\nc\nd\n", 1, "1:a|2:b|3:c"},
		{"the last, without its end", "a\nb\nc\nd", 4, "2:b|3:c|4:d"},
		{"a line of DOS, and an empty one", "a\r\n\r\nc: ${SECRET}\r\n", 3, "1:a|2:|3:c: ${SECRET}"},
		{"a byte order mark", "\ufeffa\nb\n", 1, "1:a|2:b"},
		{"no such line", "a\nb\n", 3, ""},
		{"no line", "a\n", 0, ""},
		{"no file", "", 1, ""},
		{"a long line", long + "\n", 1, "1:" + long[:maxExcerptLine] + "…"},
		{"a long line, cut in a letter", "x" + long + "\n", 1, "1:x" + long[:maxExcerptLine-2] + "…"},
		{"what is no text", "a\xff\n", 1, "1:a\ufffd"},
		{"other ends of lines", "a\rb\nc\n", 2, ""},
		{"other ends of lines below", "a\nb\u2028c\n", 1, "1:a|2:b\u2028c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := written(fileLines([]byte(tt.data)).around(tt.line)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// A service shows its own document as it was when it was read, wherever that stands in the file by now.
func TestExcerptOfAService(t *testing.T) {
	env := func(name string) (string, bool) {
		return map[string]string{"UPSTREAM": "http://secret:80"}[name], name == "UPSTREAM"
	}
	const doc = "service: b\nupstream: ${UPSTREAM}\nretry:\n  max_retries: 1\n"
	files := func(above, b string) []File {
		return []File{{Name: "all.yaml", Data: []byte("service: a\nupstream: http://a:80\n" + above + "---\n" + b)}}
	}
	set, problems := Build(files("", doc), env, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	b := set.Lookup("b")
	at := b.Origins["retry.max_retries"].Position
	if got := written(b.Excerpt(at)); at.Line != 7 || got != "5:upstream: ${UPSTREAM}|6:retry:|7:  max_retries: 1" {
		t.Errorf("at %s: %q", at, got)
	}
	if got := written(b.Excerpt(b.Position)); got != "3:---|4:service: b|5:upstream: ${UPSTREAM}|6:retry:" {
		t.Errorf("at %s: %q", b.Position, got)
	}
	for _, nowhere := range []Position{{}, {File: "all.yaml"}, {File: "all.yaml", Line: 1}, {File: "other.yaml", Line: 7}} {
		if got := b.Excerpt(nowhere); got != nil {
			t.Errorf("at %s: %v", nowhere, got)
		}
	}
	// It moves down.
	set, problems = Build(files("limits: {max_requests: 5}\n# more\n", doc), env, set)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	moved := set.Lookup("b")
	at = moved.Origins["retry.max_retries"].Position
	if got := written(moved.Excerpt(at)); at.Line != 9 || got != "7:upstream: ${UPSTREAM}|8:retry:|9:  max_retries: 1" {
		t.Errorf("moved to %s: %q", at, got)
	}
	// The next version has an error: what is served is the last good one, and its text.
	set, problems = Build(files("", "service: b\nupstream: ${UPSTREAM}\nretry: {max_retries: -1}\n"), env, set)
	if len(problems) != 1 || !set.Lookup("b").Stale {
		t.Fatal(problems)
	}
	if got := written(set.Lookup("b").Excerpt(at)); got != "7:upstream: ${UPSTREAM}|8:retry:|9:  max_retries: 1" {
		t.Errorf("the last good version at %s: %q", at, got)
	}
}

func TestExcerptOfTheGateway(t *testing.T) {
	env := func(string) (string, bool) { return "", false }
	set, problems := Build([]File{{Name: "gateway.yaml", Data: []byte("# ours\naccess_log: off\n")}}, env, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := written(set.Gateway.Excerpt(set.Gateway.Position)); got != "1:# ours|2:access_log: off" {
		t.Errorf("%q", got)
	}
	set, _ = Build(nil, env, nil)
	if got := set.Gateway.Excerpt(set.Gateway.Position); got != nil {
		t.Errorf("without a file: %v", got)
	}
}
