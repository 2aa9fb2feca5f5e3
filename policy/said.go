package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A message never has the value of a variable, but the text of the document that names it.

// Parts of a value in a message: quoted with quotes, bare without.
type (
	quotedPart string
	barePart   string
	// suggestion is what may have been meant by a value: "; did you mean b?", or nothing.
	suggestion string
)

// misfit is an error about a value.
type misfit struct {
	format string
	args   []any
}

// misfitf is fmt.Errorf for an error about a value: what it has of that is among args as quotedPart, barePart or suggestion,
// each for %s.
func misfitf(format string, args ...any) error { return &misfit{format: format, args: args} }

func (m *misfit) Error() string { return m.about("") }

// about gives the message for a value with variables that is written so; empty for one that has none.
func (m *misfit) about(written string) string {
	args := slices.Clone(m.args)
	for i, a := range args {
		switch a := a.(type) {
		case quotedPart:
			args[i] = quoted(string(a))
			if written != "" {
				args[i] = quoted(written)
			}
		case barePart:
			args[i] = clip(string(a), maxFieldName)
			if written != "" {
				args[i] = quoted(written)
			}
		case suggestion:
			if written != "" {
				args[i] = ""
			}
		case error:
			args[i] = about(a, written)
		}
	}
	return fmt.Sprintf(m.format, args...)
}

// about gives the text of an error about a value; written is as for misfit.
func about(err error, written string) string {
	var m *misfit
	if errors.As(err, &m) {
		return m.about(written)
	}
	return err.Error()
}

// meant suggests the candidate that s is most likely a misspelling of.
func meant(s string, candidates []string) suggestion {
	if near := Nearest(s, candidates); near != "" {
		return suggestion("; did you mean " + near + "?")
	}
	return ""
}

// says gives the text of the leaf's value for a message.
func (m *meta) says(text string) string {
	if m.written != "" {
		return quoted(m.written)
	}
	return text
}

// variableText is a variable as a document names it.
func variableText(name string) string { return "${" + name + "}" }

// expansions are the variables that an effective value was expanded from.
type expansions struct {
	variables []lookup
	// written is the value as its document has it; that of a list is its variables alone.
	written string
}

func expansionsOf(m *meta) expansions {
	e := expansions{variables: m.variables, written: m.written}
	if e.written == "" {
		references := make([]string, len(e.variables))
		for i, v := range e.variables {
			references[i] = variableText(v.name)
		}
		e.written = strings.Join(references, ", ")
	}
	return e
}

// says gives the text of an effective value for a message.
func (s *Service) says(path, text string) string {
	if o := s.Origins[path]; o.Layer == LayerEnvironment {
		return quoted(variableText(o.Variable))
	}
	if written := s.variables[path].written; written != "" {
		return quoted(written)
	}
	return text
}

// title is the service's name in a message.
func (s *Service) title() string { return s.says("service", s.Name) }
