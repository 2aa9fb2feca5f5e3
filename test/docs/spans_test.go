package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// span is what stands between backticks in a sentence or a table of a document.
type span struct {
	document string
	line     int
	text     string
}

// key is the same for a command that is named by its path.
func (s span) key() string { return strings.TrimPrefix(s.text, "bin/") }

// spans are what a document has between backticks outside its blocks of commands.
func spans(name, document string) []span {
	var out []span
	skip, fence := false, ""
	var paragraph []string
	start := 0
	flush := func() {
		out = append(out, spansOf(name, start, strings.Join(paragraph, "\n"))...)
		paragraph = nil
	}
	for i, line := range strings.Split(document, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && strings.HasPrefix(trimmed, "```"):
			flush()
			language := strings.TrimLeft(trimmed, "`")
			fence, skip = trimmed[:len(trimmed)-len(language)], strings.TrimSpace(language) == "sh"
		case fence != "" && trimmed == fence:
			flush()
			fence, skip = "", false
		case skip:
		case trimmed == "":
			flush()
		default:
			if len(paragraph) == 0 {
				start = i + 1
			}
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return out
}

var backticks = regexp.MustCompile("`+")

// spansOf are the spans of one paragraph, which begins in this line. As many backticks end a span as have begun it.
func spansOf(name string, line int, text string) []span {
	var out []span
	runs := backticks.FindAllStringIndex(text, -1)
	for i := 0; i < len(runs); i++ {
		begin := runs[i]
		end := slices.IndexFunc(runs[i+1:], func(r []int) bool { return r[1]-r[0] == begin[1]-begin[0] })
		if end < 0 {
			continue
		}
		i += 1 + end
		inner := strings.Join(strings.Fields(text[begin[1]:runs[i][0]]), " ")
		out = append(out, span{name, line + strings.Count(text[:begin[0]], "\n"), inner})
	}
	return out
}

// notation is what has several words and is no command: a field or header with its value, JSON, YAML, a flag alone, a
// comment, a call of the API, a function, a switch in the configuration of another program.
var notation = regexp.MustCompile(`^(\S+:\s|["'\[{<#-]|(GET|HEAD|POST|PUT|DELETE) /|\w+\(|[a-z]+_[a-z_]+ (on|off)$)`)

// isCommand reports whether a span is a command. One word is a name. All of several are commands but for those that are
// plainly something else, so that one of a program that nobody has thought of is found too.
func (s span) isCommand() bool {
	return strings.Contains(s.text, " ") && !notation.MatchString(s.text)
}

var optional = regexp.MustCompile(`\s*\[([^\[\]]*)\]`)

// forms are the commands that a span stands for: where parts are optional, the one without them and the one with all.
func (s span) forms() []string {
	text := strings.ReplaceAll(s.text, "…", "")
	without, with := optional.ReplaceAllString(text, ""), optional.ReplaceAllString(text, " $1")
	if with == without {
		return []string{with}
	}
	return []string{without, with}
}

// TestNoSpanEscapes: a command in a sentence is found, and nothing else is taken for one.
func TestNoSpanEscapes(t *testing.T) {
	t.Parallel()
	for document, want := range map[string][]string{
		"Run `make help`.":                          {"make help"},
		"| a | `docker compose ps` and `ls -l` |":   {"docker compose ps", "ls -l"},
		"`` odd `program` here ``":                  {"odd `program` here"},
		"begun `here and\nended there` it is":       {"here and ended there"},
		"```text\nthen `a b`\n```":                  {"a b"},
		"```sh\nignored `x y`\n```\n`z -h`":         {"z -h"},
		"one ` tick, and no other\n\n`a b`":         {"a b"},
		"`FOO=bar cmd`, `./run it`, `$X -v`":        {"FOO=bar cmd", "./run it", "$X -v"},
		"`word`, `--flag value`, `key: value`":      nil,
		"`GET /x y`, `{\"a\": 1}`, `[a, b]`":        nil,
		"`sum(rate(x[5m])) by (y)`, `# a comment`":  nil,
		"`some_buffering off`, `swap off`":          {"swap off"},
		"`status [SERVICE]` and `watch [SERVICE…]`": {"status [SERVICE]", "watch [SERVICE…]"},
	} {
		var got []string
		for _, s := range spans("x.md", document) {
			if s.isCommand() {
				got = append(got, s.text)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", document, got, want)
		}
	}
	if s := spans("x.md", "a\n\nb\n`c d`"); len(s) != 1 || s[0].line != 4 {
		t.Errorf("%+v, want line 4", s)
	}
	if got := (span{text: "a B [--c D] [E…]"}).forms(); !slices.Equal(got, []string{"a B", "a B --c D E"}) {
		t.Errorf("%q", got)
	}
}
