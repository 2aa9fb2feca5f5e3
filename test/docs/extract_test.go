package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is one fenced block of commands in a document.
type block struct {
	line int // of the first command
	text string
	// output is the fenced block of plain text that directly follows, or empty.
	output string
}

// documents are README.md, docs/*.md and those of the examples, as paths from the top of the repository.
func documents(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"README.md", "docs/*.md", "examples/*/*.md"} {
		found, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Fatalf("%s: no documents", filepath.Join(root, pattern))
		}
		names = append(names, found...)
	}
	return names
}

// command is how a line of a command begins.
var command = regexp.MustCompile(`^\s*(\$ |([A-Z_]+=\S* )*(sudo|(bin/)?breakwater|make|curl|docker|kubectl|promtool|python3|go|envoy|locust|git)\s)`)

// parseBlocks reads the fenced blocks of commands of a document. A block of commands that is marked in another way
// would escape the test, so it is an error.
func parseBlocks(document string) ([]block, error) {
	var out []block
	fence, language, start := "", "", 0
	var body []string
	last := -2 // line of the end of the last block of commands
	for i, line := range strings.Split(document, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && strings.HasPrefix(trimmed, "```"):
			language = strings.TrimSpace(strings.TrimLeft(trimmed, "`"))
			fence, start, body = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))], i+1, nil
			switch language {
			case "sh", "text", "yaml", "":
			default:
				return nil, fmt.Errorf("line %d: a block is marked sh, text or yaml, not %s", i+1, language)
			}
		case fence == "" && (strings.HasPrefix(trimmed, "~~~") || strings.HasPrefix(line, "    ") && command.MatchString(line)):
			return nil, fmt.Errorf("line %d: a block begins and ends with ```", i+1)
		case fence != "" && trimmed == fence:
			switch {
			case language == "sh":
				out = append(out, block{line: start + 1, text: strings.Join(body, "\n")})
				last = i
			case language == "text" && start <= last+3:
				out[len(out)-1].output = strings.Join(body, "\n")
			}
			fence = ""
		case fence != "" && language != "sh" && command.MatchString(line):
			return nil, fmt.Errorf("line %d: mark a block of commands sh: %s", i+1, line)
		case fence != "":
			body = append(body, line)
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("line %d: the block has no end", start)
	}
	return out, nil
}

// lines are the commands of a block, one a line, without comments. An `&&` or a backslash at the end joins lines.
func (b block) lines() []string {
	var out []string
	joined := ""
	for line := range strings.SplitSeq(b.text, "\n") {
		joined += line
		if rest, ok := strings.CutSuffix(joined, "\\"); ok {
			joined = rest
			continue
		}
		command, _, _ := strings.Cut(joined, " # ")
		if command = strings.TrimSpace(command); command != "" && !strings.HasPrefix(command, "#") {
			out = append(out, command)
		}
		joined = ""
	}
	return out
}

// matches reports whether each line of the shown output is in what was printed, in this order. In a shown
// line "…" stands for anything, and the number of blanks does not matter.
func matches(shown, printed string) error {
	rest := strings.Split(printed, "\n")
	for want := range strings.SplitSeq(shown, "\n") {
		if strings.TrimSpace(want) == "" || strings.TrimSpace(want) == "…" {
			continue
		}
		found := false
		for !found && len(rest) > 0 {
			found = lineMatches(want, rest[0])
			rest = rest[1:]
		}
		if !found {
			return fmt.Errorf("%q is not in the output, or not at its place", want)
		}
	}
	return nil
}

func lineMatches(want, line string) bool {
	line = strings.Join(strings.Fields(line), " ")
	parts := strings.Split(strings.Join(strings.Fields(want), " "), "…")
	for i, part := range parts {
		at := strings.Index(line, strings.TrimSpace(part))
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		line = line[at+len(strings.TrimSpace(part)):]
	}
	return line == "" || parts[len(parts)-1] == ""
}

// TestNoBlockEscapes: a block of commands is run, however it is marked, or is an error.
func TestNoBlockEscapes(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		"```sh\nmake x\n```", "```` sh\nmake x\n````", "  ```sh\n  make x\n  ```", "```sh\nmake x\n```\n```text\nout\n```",
	} {
		if found, err := parseBlocks(document); err != nil || len(found) != 1 || !slices.Equal(found[0].lines(), []string{"make x"}) {
			t.Errorf("%q: %+v, %v", document, found, err)
		}
	}
	for _, document := range []string{
		"```\nmake x\n```", "```bash\nls\n```", "```sh title\nls\n```", "```text\n$ ls\n```", "~~~sh\nls\n~~~", "    bin/breakwater x",
		"```yaml\nA=b docker x\n```", "```sh\nls",
	} {
		if found, err := parseBlocks(document); err == nil {
			t.Errorf("%q is taken for %+v", document, found)
		}
	}
}

func TestLineMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, line string
		ok         bool
	}{
		{"a  b", "a b", true},
		{"a b", "a b c", false},
		{"a … c", "a   b   c", true},
		{"a …", "a b", true},
		{"… c", "a b c", true},
		{"b …", "a b", false},
		{"a … d", "a b c", false},
	} {
		if got := lineMatches(c.want, c.line); got != c.ok {
			t.Errorf("%q in %q: %v, want %v", c.want, c.line, got, c.ok)
		}
	}
}
