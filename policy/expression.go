package policy

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// compileExpression compiles an expression of RE2, as Envoy has it: it knows fewer names of classes than Go does, and
// compares bytes, so that no character can be given by a number above 0xff.
func compileExpression(s string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, regexError(err)
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, `\`)
		if !found {
			return re, nil
		}
		if rest, err = checkEscape(after); err != nil {
			return nil, err
		}
	}
}

// checkEscape checks what follows a backslash in an expression that Go takes, and returns what is behind that.
func checkEscape(s string) (rest string, err error) {
	switch s[0] {
	case 'Q':
		_, rest, _ = strings.Cut(s, `\E`)
		return rest, nil
	case 'p', 'P':
		name, rest := braced(s[1:])
		if !isClass(strings.TrimPrefix(name, "^")) {
			return "", misfitf(`\%c{%s} is not a class that Envoy knows: a category such as L or Lu, or a script such as Greek`, s[0], barePart(name))
		}
		return rest, nil
	case 'x':
		digits, rest := s[1:min(3, len(s))], s[min(3, len(s)):]
		if strings.HasPrefix(digits, "{") {
			digits, rest = braced(s[1:])
		}
		return rest, checkByte(digits, 16)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n := 1
		for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		return s[n:], checkByte(s[:n], 8)
	}
	_, n := utf8.DecodeRuneInString(s)
	return s[n:], nil
}

// braced is the text of {text}, or one character, and what is behind.
func braced(s string) (text, rest string) {
	if after, ok := strings.CutPrefix(s, "{"); ok {
		text, rest, _ = strings.Cut(after, "}")
		return text, rest
	}
	_, n := utf8.DecodeRuneInString(s)
	return s[:n], s[n:]
}

func checkByte(digits string, base int) error {
	if v, err := strconv.ParseUint(digits, base, 32); err != nil || v > 0xff {
		return misfitf("%s in base %d is over 0xff, and Envoy compares bytes: write those of the character in UTF-8, such as \\xc3\\xa4", barePart(digits), base)
	}
	return nil
}

// isClass reports whether RE2 has a class of that name. Go also has longer names of categories, and takes any case.
func isClass(name string) bool {
	switch name {
	case "Any":
		return true
	case "Cn", "LC":
		return false
	}
	return unicode.Categories[name] != nil && len(name) <= 2 || unicode.Scripts[name] != nil
}
