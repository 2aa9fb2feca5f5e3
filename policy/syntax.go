package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document in which the place of a syntax error is searched for.
const (
	maxSearchedLines   = 200
	maxSearchedBytes   = 16 << 10
	maxSearchedColumns = 200
)

// parseYAML reads the one document of a chunk. It reports a syntax error, and then no more.
func (d *decoder) parseYAML(chunk []byte) (root *yaml.Node, ok bool) {
	defer func() { d.found.closed = !ok }()
	if len(chunk) > maxDocumentSize {
		d.report(Position{File: d.file, Line: 1 + d.shift, Column: 1}, "", "the document has %d bytes, more than %d", len(chunk), maxDocumentSize)
		return nil, false
	}
	var doc yaml.Node
	if err := unmarshal(chunk, &doc); err != nil {
		line, column, message := syntaxError(chunk, err, d.env.maySearch())
		if unquoted.Match(lineOf(chunk, line)) {
			message += "; inside { } and [ ] a ${…} needs quotes"
		}
		d.report(Position{File: d.file, Line: line + d.shift, Column: column}, "", "not valid YAML: %s", message)
		return nil, false
	}
	if len(doc.Content) != 1 {
		d.report(Position{File: d.file, Line: 1 + d.shift, Column: 1}, "", "not valid YAML: no document")
		return nil, false
	}
	return deref(doc.Content[0]), true
}

// unquoted is a variable whose braces YAML takes for a map of its own.
var unquoted = regexp.MustCompile(`(\{.*:|\[|\[.*,)\s*\$\{`)

// lineOf gives the text of a line, from 1.
func lineOf(chunk []byte, line int) []byte {
	lines := bytes.Split(chunk, []byte("\n"))
	if line > len(lines) {
		return nil
	}
	return lines[line-1]
}

// unmarshal is yaml.Unmarshal for input from anywhere: a defect of the parser
// that ends in a panic must cost one document, not the process.
func unmarshal(data []byte, doc *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser failed: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(doc); err != nil {
		return err
	}
	var more yaml.Node
	if dec.Decode(&more) == nil {
		return fmt.Errorf("yaml: line %d: a second document begins without a line of ---", more.Line)
	}
	return nil
}

// syntaxError finds the place of a syntax error. The parser names a line of the
// construct that it was in, often the first, and no column; what a user looks for is the
// line, and in it the column, from which on nothing parses any more. search is false if that takes too long.
func syntaxError(chunk []byte, err error, search bool) (line, column int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if _, e := fmt.Sscanf(message, "line %d:", &line); e == nil {
		_, message, _ = strings.Cut(message, ": ")
	}
	lines := bytes.SplitAfter(chunk, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) == 0 {
		lines = lines[:last]
	}
	searched := search && len(lines) <= maxSearchedLines && len(chunk) <= maxSearchedBytes
	end := len(chunk)
	if searched {
		for line = len(lines); line > 1; line-- {
			end -= len(lines[line-1])
			if parses(chunk[:end]) {
				break
			}
		}
	}
	line = max(1, min(line, len(lines)))
	text := lines[line-1]
	first := len(text) - len(bytes.TrimLeft(text, " "))
	if line == 1 {
		end = 0
	}
	if searched {
		if at := parsedWidth(chunk[:end], bytes.TrimRight(text, "\r\n")); at > first {
			return line, 1 + utf8.RuneCount(text[:at]), message
		}
	}
	return line, 1 + first, message
}

// parsedWidth is how much of a line parses after the lines before it; 0 if it is nothing but
// blanks, which say nothing of where the error is, or if the line is too long to tell.
func parsedWidth(before, line []byte) int {
	if len(line) > maxSearchedColumns {
		return 0
	}
	start := slices.Concat(before, line)
	for at := len(line); len(bytes.TrimSpace(line[:at])) > 0; at-- {
		if (at == len(line) || utf8.RuneStart(line[at])) && parses(start[:len(before)+at]) {
			return at
		}
	}
	return 0
}

// parses reports whether the start of a document is one by itself.
func parses(start []byte) bool {
	err := unmarshal(start, new(yaml.Node))
	return err == nil || errors.Is(err, io.EOF)
}
