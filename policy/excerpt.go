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

// Excerpts are the lines around each problem, in files by name; nil where the line is not known.
func Excerpts(problems []Problem, files map[string]File) [][]SourceLine {
	out := make([][]SourceLine, len(problems))
	var name string
	var lines sourceLines // of one file at a time: problems stand in order of file
	for i, p := range problems {
		if p.Position.File != name {
			name = p.Position.File
			lines = fileLines(files[name].Data)
		}
		out[i] = lines.around(p.Position.Line)
	}
	return out
}

// sourceLines are the lines of a text, of which the first has the number from.
type sourceLines struct {
	from int
	text []byte
	// ends are where the lines end, behind the line feed.
	ends []uint32
}

func fileLines(data []byte) sourceLines { return linesOf(bytes.TrimPrefix(data, []byte("\ufeff")), 1) }

// linesOf gives the lines of a text, up to one that is several to YAML: the numbers of those behind it are not known.
func linesOf(text []byte, from int) sourceLines {
	l := sourceLines{from: from, text: text}
	end := 0
	for line := range bytes.Lines(text) {
		end += len(line)
		l.ends = append(l.ends, uint32(end))
		if isManyLines(line) {
			break
		}
	}
	return l
}

// line is that of an index into ends.
func (l sourceLines) line(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = l.ends[i-1]
	}
	return l.text[start:l.ends[i]]
}

func isManyLines(line []byte) bool {
	return bytes.ContainsAny(bytes.TrimRight(line, "\r\n"), "\r\u0085\u2028\u2029")
}

// around is the line of a number and up to two lines before and after it; nil if the text has no such line, and if it has
// lines that end as YAML knows but editors mostly do not: it is not known then which line is meant.
func (l sourceLines) around(number int) []SourceLine {
	at := number - l.from
	if at < 0 || at >= len(l.ends) || isManyLines(l.line(at)) {
		return nil
	}
	var out []SourceLine
	for i := max(0, at-excerptContext); i < min(len(l.ends), at+excerptContext+1); i++ {
		out = append(out, SourceLine{Line: l.from + i, Text: lineText(l.line(i))})
	}
	return out
}

func lineText(line []byte) string {
	line = bytes.TrimRight(line, "\r\n")
	text := string(line[:min(len(line), maxExcerptLine)])
	if len(line) > maxExcerptLine {
		text = strings.TrimRightFunc(text, isBroken) + "…"
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
	return linesOf(s.text, s.line).around(at.Line)
}

// Excerpt is the lines around a position in the service's own document, as it was when the service was read; nil for a
// position anywhere else.
func (s *Service) Excerpt(at Position) []SourceLine { return s.source.around(at) }

// Excerpt is the lines around a position in gateway.yaml, as it was when the gateway was read; nil for a position anywhere
// else.
func (g *Gateway) Excerpt(at Position) []SourceLine { return g.source.around(at) }
