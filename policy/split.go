package policy

import (
	"bytes"
	"crypto/sha256"
)

// Bounds of what Build reads.
const (
	maxFileSize     = 4 << 20
	maxDocumentSize = 512 << 10 // read, it takes some 200 times that
	maxDocuments    = 10_000
)

// chunk is the text of one YAML document of a file.
type chunk struct {
	// line is the line of the file that text begins at, from 1.
	line int
	// text ends with a line feed.
	text []byte
	hash [sha256.Size]byte
}

// split cuts a file at its document markers, so that a syntax error in one
// document costs no other. A marker at the start of a line ends a document
// wherever it stands: YAML forbids it inside any scalar. Documents without
// content are left out, and what comes after the first maxDocuments is one.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var chunks []chunk
	start, startLine, line := 0, 1, 0
	content, marked := false, false
	end := func(at int) {
		if content {
			text := data[start:at]
			if text[len(text)-1] != '\n' {
				text = append(bytes.Clone(text), '\n')
			}
			chunks = append(chunks, chunk{line: startLine, text: text, hash: sha256.Sum256(text)})
		}
		content, marked = false, false
	}
	for pos := 0; pos < len(data) && len(chunks) <= maxDocuments; {
		line++
		next := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		text := bytes.TrimRight(data[pos:next], " \t\r\n")
		switch {
		case isMarker(text, "---"):
			end(pos)
			start, startLine, marked = pos, line, true
			content = hasContent(text[3:])
		case isMarker(text, "..."):
			end(pos)
			start, startLine = next, line+1
			content = hasContent(text[3:])
			if content {
				start, startLine = pos, line
			}
		case !content && !marked && len(text) > 0 && text[0] == '%':
			// A directive says nothing that a policy needs.
			start, startLine = next, line+1
		case !content:
			content = hasContent(text)
		}
		pos = next
	}
	end(len(data))
	return chunks
}

func isMarker(line []byte, marker string) bool {
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == 3 || line[3] == ' ' || line[3] == '\t')
}

// hasContent reports whether a line holds more than blanks and a comment.
func hasContent(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && line[0] != '#'
}
