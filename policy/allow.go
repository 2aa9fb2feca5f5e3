package policy

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// allowance is a comment that accepts the warnings of one rule: "# lint:allow RULE: reason". Behind a value it is for that
// line; on lines of its own, for the next line that has more than a comment. Where that line begins a block, it is for the
// whole block.
type allowance struct {
	rule, reason string
	at           Position
	// from and to are the first and the last line that it is for; 0 for none.
	from, to int
	used     bool
}

const allowMark = "lint:allow"

// blockScalar is the end of a line that a text of several lines follows.
var blockScalar = regexp.MustCompile(`(^|[ \t:-])[|>][-+0-9]*$`)

// allowances finds the comments of a document.
func (s source) allowances() []*allowance {
	if !bytes.Contains(s.text, []byte(allowMark)) {
		return nil
	}
	var all, waiting []*allowance
	var open []block // those that begin further left first
	last := 0        // the last line that has more than a comment
	// end ends the blocks that none of the later lines is in.
	end := func(n int) {
		for _, b := range open[n:] {
			b.to = last
		}
		open = open[:n]
	}
	text := -1 // how far the line is indented that a text of several lines follows
	number := s.line - 1
	for line := range bytes.Lines(s.text) {
		number++
		line := strings.TrimRight(string(line), " \t\r\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if text >= 0 && (line == "" || indent > text) {
			last = number
			continue
		}
		text = -1
		at := commentOf(line)
		code := strings.TrimSpace(line[:at])
		var own *allowance
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line[at:], "# \t"), allowMark); ok && at < len(line) {
			rule, reason, given := strings.Cut(rest, ":")
			if rule = strings.TrimSpace(rule); !given {
				rule, _, _ = strings.Cut(rule, " ")
			}
			own = &allowance{
				rule: rule, reason: strings.TrimSpace(reason), at: Position{File: s.file, Line: number, Column: 1 + len([]rune(line[:at]))},
			}
			all = append(all, own)
			waiting = append(waiting, own)
		}
		if code == "" || code == "---" {
			continue
		}
		item := strings.HasPrefix(code, "- ")
		inside := len(open)
		for inside > 0 && !open[inside-1].has(indent, item) {
			inside--
		}
		end(inside)
		last = number
		for _, a := range waiting {
			a.from = number
			open = append(open, block{allowance: a, indent: indent, item: item})
		}
		waiting = nil
		if blockScalar.MatchString(code) {
			text = indent
		}
	}
	end(0)
	return all
}

// block is what an allowance is for as long as the lines are indented further, or are the items of its list.
type block struct {
	*allowance
	indent int
	item   bool
}

func (b block) has(indent int, item bool) bool {
	return indent > b.indent || indent == b.indent && item && !b.item
}

// commentOf is where the comment of a line begins; the line's length if it has none.
func commentOf(line string) int {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		first := i == 0 || strings.IndexByte(" \t", line[i-1]) >= 0
		switch {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '#' && first:
			return i
		case (c == '"' || c == '\'') && (first || strings.IndexByte("[{,:", line[i-1]) >= 0):
			quote = c
		}
	}
	return len(line)
}

// allows reports whether a comment of the warning's document accepts it.
func (l *linter) allows(p Problem) bool {
	accepted := false
	for _, a := range l.allowances[p.Service] {
		if a.rule == p.Rule && a.reason != "" && a.at.File == p.Position.File && a.from <= p.Position.Line && p.Position.Line <= a.to {
			a.used, accepted = true, true
		}
	}
	return accepted
}

// judgeAllowances warns of the comments that accept nothing. No comment accepts that.
func (l *linter) judgeAllowances() {
	for service, list := range l.allowances {
		for _, a := range list {
			if !a.used {
				l.add(Problem{Severity: SeverityWarning, Position: a.at, Service: service, Rule: RuleAllow}, a.complaint)
			}
		}
	}
}

// complaint says why the comment accepts nothing.
func (a *allowance) complaint() string {
	switch {
	case a.rule == "":
		return fmt.Sprintf("names no rule: write # %s RULE: reason", allowMark)
	case !slices.Contains(acceptable, a.rule):
		return fmt.Sprintf("there is no rule %s%s", quoted(a.rule), meant(a.rule, acceptable))
	case a.reason == "":
		return fmt.Sprintf("gives no reason: write # %s %s: reason", allowMark, a.rule)
	}
	return fmt.Sprintf("accepts nothing: there is no warning of %s at this place", a.rule)
}
