package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// SourceLine is one line of a policy file, as it is written there: variables are not expanded.
type SourceLine struct {
	// Line counts from 1.
	Line int
	// Text without the line's end. Of a very long line it is the beginning.
	Text string
}

const (
	// excerptContext is how many lines an excerpt has before and after its line, where there are so many.
	excerptContext = 2
	// maxExcerptLine bounds the bytes of a line of an excerpt.
	maxExcerptLine = 400
)

// Excerpt gives a line of a file, which counts from 1, and up to two lines before and after it; nil if the file has no such
// line, and if it has lines that end as YAML knows but editors mostly do not: it is not known then which line is meant.
func Excerpt(data []byte, line int) []SourceLine {
	return excerpt(bytes.TrimPrefix(data, []byte("\ufeff")), 1, line)
}

// Excerpts are the lines around each problem, in files by name; nil where the line is not known.
func Excerpts(problems []Problem, files map[string]File) [][]SourceLine {
	out := make([][]SourceLine, len(problems))
	for i, p := range problems {
		if p.Position.Line > 0 {
			out[i] = Excerpt(files[p.Position.File].Data, p.Position.Line)
		}
	}
	return out
}

// excerpt is Excerpt for a text that begins at the line first.
func excerpt(text []byte, first, line int) []SourceLine {
	var out []SourceLine
	found := false
	for l := range bytes.Lines(text) {
		if first > line+excerptContext {
			break
		}
		if first <= line && bytes.ContainsAny(bytes.TrimRight(l, "\r\n"), "\r\u0085\u2028\u2029") {
			return nil
		}
		if first >= line-excerptContext {
			out = append(out, SourceLine{Line: first, Text: lineText(l)})
			found = found || first == line
		}
		first++
	}
	if !found {
		return nil
	}
	return out
}

func lineText(line []byte) string {
	text := strings.TrimRight(string(line), "\r\n")
	if len(text) > maxExcerptLine {
		text = strings.TrimRightFunc(text[:maxExcerptLine], func(r rune) bool { return r == utf8.RuneError }) + "…"
	}
	return strings.ToValidUTF8(text, string(utf8.RuneError))
}

// source is the text that something was read from.
type source struct {
	file string
	// line of the file that text begins at, from 1.
	line int
	text []byte
}

func (s source) around(at Position) []SourceLine {
	if s.file == "" || at.File != s.file {
		return nil
	}
	return excerpt(s.text, s.line, at.Line)
}

// Excerpt is the lines around a position in the service's own document, as it was when the service was read; nil for a
// position anywhere else.
func (s *Service) Excerpt(at Position) []SourceLine { return s.source.around(at) }

// Excerpt is the lines around a position in gateway.yaml, as it was when the gateway was read; nil for a position anywhere
// else.
func (g *Gateway) Excerpt(at Position) []SourceLine { return g.source.around(at) }
