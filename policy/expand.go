package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxValue bounds the length of one value after expansion, in bytes.
const maxValue = 64 << 10

// expand replaces ${NAME} and ${NAME:-default} in a value, and $$ by $. Any other
// $ stays. As in a shell, the default also applies to a variable that is set but
// empty. It reports whether a variable was named, and all that is wrong.
func expand(s string, lookup func(string) (string, bool, error)) (string, bool, []error) {
	if !strings.Contains(s, "$") {
		if len(s) > maxValue {
			return "", false, []error{fmt.Errorf("is longer than %d bytes", maxValue)}
		}
		return s, false, nil
	}
	var out strings.Builder
	var errs []error
	expanded := false
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			reference, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", false, append(errs, fmt.Errorf("${ without }; write $${ for the characters themselves"))
			}
			value, err := variable(reference, lookup)
			if err != nil {
				errs = append(errs, err)
			}
			out.WriteString(value)
			s, expanded = rest, true
		default:
			out.WriteByte('$')
			s = after
		}
		if out.Len() > maxValue {
			break
		}
	}
	if out.Len() > maxValue {
		errs = append(errs, fmt.Errorf("is longer than %d bytes", maxValue))
	}
	return out.String(), expanded, errs
}

// variable gives the value of NAME or NAME:-default.
func variable(reference string, lookup func(string) (string, bool, error)) (string, error) {
	name, standard, hasDefault := strings.Cut(reference, ":-")
	if !isVariable(name) {
		return "", fmt.Errorf("${%s} is not a variable: write ${NAME} or ${NAME:-default}, or $${ for the characters themselves", clip(reference, maxFieldName))
	}
	if strings.Contains(standard, "${") {
		return "", fmt.Errorf("the default of ${%s} can not name another variable", clip(name, maxFieldName))
	}
	value, ok, err := lookup(name)
	switch {
	case err != nil:
		return "", err
	case hasDefault && value == "":
		return standard, nil
	case !ok:
		return "", fmt.Errorf("the environment variable %s is not set, and there is no default: ${%[1]s:-…}", clip(name, maxFieldName))
	case !utf8.ValidString(value):
		return "", fmt.Errorf("the environment variable %s is not valid UTF-8", clip(name, maxFieldName))
	}
	return value, nil
}

func isVariable(s string) bool {
	for i, r := range s {
		switch {
		case r == '_', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z':
		case '0' <= r && r <= '9' && i > 0:
		default:
			return false
		}
	}
	return s != ""
}

// escape is the inverse of expand.
func escape(s string) string { return strings.ReplaceAll(s, "$", "$$") }
