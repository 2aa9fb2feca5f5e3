package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Severity of a problem.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Bounds of what is said, whatever a file has in it.
const (
	// MaxProblems is how many problems one answer has at most. More are counted.
	MaxProblems = 200
	// maxDocumentProblems is how many problems of one document are listed. More are counted.
	maxDocumentProblems = 20
	// maxMessage bounds a message, in bytes.
	maxMessage = 1000
	// maxFieldName bounds a field's name in a path, in bytes.
	maxFieldName = 64
)

// Problem is one violation or lint finding.
type Problem struct {
	Severity Severity
	Position Position
	// Service is the service it concerns; empty if it concerns a whole file.
	Service string
	// Path is the dotted path of the field, such as "retry.max_delay"; may be empty.
	Path string
	// Message says what is wrong and what is allowed, with a suggestion for a
	// misspelt name.
	Message string
	// Rule names a lint rule; empty for an error.
	Rule string
	// More is how many further problems of the same severity and document are not listed; 0 for all
	// but the last one that is.
	More int
}

// String gives file:line:column: path: message.
func (p Problem) String() string {
	s := p.Position.String() + ": "
	if p.Path != "" {
		s += p.Path + ": "
	}
	return s + p.Message
}

// CountProblems counts problems, those that are not listed included.
func CountProblems(problems []Problem) int {
	n := len(problems)
	for _, p := range problems {
		n += p.More
	}
	return n
}

// LimitProblems returns the problems if there are at most MaxProblems, else the first of them, errors before warnings. more
// is how many there are beside these.
func LimitProblems(problems []Problem) (listed []Problem, more int) {
	listed = problems
	if len(listed) > MaxProblems {
		listed = slices.Clone(listed)
		slices.SortStableFunc(listed, func(a, b Problem) int { return strings.Compare(string(a.Severity), string(b.Severity)) })
		listed = listed[:MaxProblems]
	}
	return listed, CountProblems(problems) - len(listed)
}

// findings are the problems of one document. The first are listed, and all are counted. The zero
// value has none.
type findings struct {
	listed []Problem
	n      int
	// closed is true once no more are taken: what is found after it tells nothing.
	closed bool
}

// full reports whether a further problem is only counted.
func (f *findings) full() bool { return f.closed || len(f.listed) == maxDocumentProblems }

// add takes a problem. message is called only if the problem is listed.
func (f *findings) add(p Problem, message func() string) {
	f.n++
	if f.closed {
		return
	}
	if f.full() {
		f.listed[len(f.listed)-1].More++
		return
	}
	p.Message = clip(message(), maxMessage)
	f.listed = append(f.listed, p)
}

// take takes a problem with its message.
func (f *findings) take(p Problem) { f.add(p, func() string { return p.Message }) }

// clip takes the middle out of a text of more than the given number of bytes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head := strings.TrimRightFunc(s[:most/2], isBroken)
	tail := strings.TrimLeftFunc(s[len(s)-most/2:], isBroken)
	return head + "…" + tail
}

func isBroken(r rune) bool { return r == utf8.RuneError }

// File is one policy file's name, relative to its directory, and its bytes.
type File struct {
	Name string
	Data []byte
	// Changed is true while Data is so new that its writer may not be done, and Gone while the file is missing but may
	// come back, Data being what it had. What was in such a file and is in no other stays as it is, without a problem.
	Changed, Gone bool
}

// quoted is a text of a document in quotes, of which a message has the beginning.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.TrimRightFunc(s[:most], isBroken))
	}
	return fmt.Sprintf("%q", s)
}
