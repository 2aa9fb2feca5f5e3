package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document in which the place of a syntax error is searched for.
const (
	maxSearchedLines = 200
	maxSearchedBytes = 16 << 10
)

// parseYAML reads the one document of a chunk. It reports a syntax error.
func (d *decoder) parseYAML(chunk []byte) (root *yaml.Node, ok bool) {
	var doc yaml.Node
	if err := unmarshal(chunk, &doc); err != nil {
		line, column, message := syntaxError(chunk, err)
		d.report(Position{File: d.file, Line: line + d.shift, Column: column}, "", "not valid YAML: %s", message)
		return nil, false
	}
	if len(doc.Content) != 1 {
		d.report(Position{File: d.file, Line: 1 + d.shift, Column: 1}, "", "not valid YAML: no document")
		return nil, false
	}
	return deref(doc.Content[0]), true
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
// construct that it was in, often the first; what a user looks for is the line from
// which on nothing parses any more.
func syntaxError(chunk []byte, err error) (line, column int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if _, e := fmt.Sscanf(message, "line %d:", &line); e == nil {
		_, message, _ = strings.Cut(message, ": ")
	}
	lines := bytes.SplitAfter(chunk, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) == 0 {
		lines = lines[:last]
	}
	if len(lines) <= maxSearchedLines && len(chunk) <= maxSearchedBytes {
		end := len(chunk)
		for line = len(lines); line > 1; line-- {
			end -= len(lines[line-1])
			if err := unmarshal(chunk[:end], new(yaml.Node)); err == nil || errors.Is(err, io.EOF) {
				break
			}
		}
	}
	line = max(1, min(line, len(lines)))
	text := lines[line-1]
	return line, 1 + len(text) - len(bytes.TrimLeft(text, " ")), message
}
