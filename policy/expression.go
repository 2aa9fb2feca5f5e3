package policy

import (
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxExpressionSize is how many instructions Envoy lets the program of an expression have, unless its runtime says otherwise
// (re2.max_program_size.error_level).
const maxExpressionSize = 100

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

// maxCounted bounds the instructions that are counted as Envoy has them, for that takes up to the square of the time.
const maxCounted = 10 * maxExpressionSize

// expressionSize is how many instructions the program of an expression has in Envoy, or at least has if that is far too
// many. The expression is one that compileExpression takes.
func expressionSize(s string) int {
	// RE2 is told that the text is Latin-1, so that each byte is a character.
	latin := make([]rune, len(s))
	for i := range len(s) {
		latin[i] = rune(s[i])
	}
	re, err := syntax.Parse(string(latin), syntax.Perl)
	if err != nil {
		return 0
	}
	re, start := unanchored(withoutPrefix(re).Simplify(), syntax.OpBeginText, 0)
	re, _ = unanchored(re, syntax.OpEndText, 0)
	program, err := syntax.Compile(re)
	if err != nil {
		return 0
	}
	if len(program.Inst) > maxCounted {
		return atLeast(program)
	}
	const fail, anywhere = 1, 2
	size := fail
	if !start {
		size += anywhere
	}
	f := flattener{program: program, roots: map[uint32]bool{}, before: map[uint32][]uint32{}}
	f.mark(uint32(program.Start))
	for _, root := range slices.Backward(slices.Sorted(maps.Keys(f.roots))) {
		f.split(root)
	}
	for root := range f.roots {
		size += f.list(root)
	}
	return size
}

// withoutPrefix takes off what RE2 compares without a program: the text that an expression begins with behind an anchor.
func withoutPrefix(re *syntax.Regexp) *syntax.Regexp {
	anchors := 0
	for re.Op == syntax.OpConcat && anchors < len(re.Sub) && re.Sub[anchors].Op == syntax.OpBeginText {
		anchors++
	}
	if anchors == 0 || anchors == len(re.Sub) || re.Sub[anchors].Op != syntax.OpLiteral {
		return re
	}
	rest := *re
	rest.Sub = re.Sub[anchors+1:]
	return &rest
}

// unanchored takes off the anchor at the beginning or the end, for which RE2 has no instruction if it finds it there. It
// reports whether there was one.
func unanchored(re *syntax.Regexp, anchor syntax.Op, depth int) (*syntax.Regexp, bool) {
	const maxDepth = 4 // of RE2's look
	switch {
	case depth == maxDepth:
		return re, false
	case re.Op == anchor:
		return &syntax.Regexp{Op: syntax.OpEmptyMatch}, true
	case re.Op != syntax.OpConcat && re.Op != syntax.OpCapture, len(re.Sub) == 0:
		return re, false
	}
	i := 0
	if anchor == syntax.OpEndText {
		i = len(re.Sub) - 1
	}
	sub, found := unanchored(re.Sub[i], anchor, depth+1)
	rest := *re
	rest.Sub = slices.Clone(re.Sub)
	rest.Sub[i] = sub
	return &rest, found
}

// atLeast counts the instructions that are no branches: each is in some list.
func atLeast(program *syntax.Prog) int {
	n := 0
	for i := range program.Inst {
		switch program.Inst[i].Op {
		case syntax.InstAlt, syntax.InstAltMatch, syntax.InstNop, syntax.InstFail:
		default:
			n++
		}
	}
	return n
}

// flattener counts the instructions of a program as RE2 has them in the end: as lists of what can be next, of which one
// begins after each character and where other lists meet.
type flattener struct {
	program *syntax.Prog
	roots   map[uint32]bool     // where a list begins
	before  map[uint32][]uint32 // the branches that lead to an instruction
}

// mark finds the lists that begin after a character, and the branches.
func (f *flattener) mark(start uint32) {
	f.roots[start] = true
	walk(start, func(at uint32) []uint32 {
		in := &f.program.Inst[at]
		next := f.next(at)
		switch {
		case len(next) == 2:
			f.before[in.Out] = append(f.before[in.Out], at)
			f.before[in.Arg] = append(f.before[in.Arg], at)
		case len(next) == 0 && in.Op != syntax.InstMatch && in.Op != syntax.InstFail:
			f.roots[in.Out] = true
			return []uint32{in.Out}
		}
		return next
	})
}

// closure calls fn for each instruction that is next after a root without a character, up to those where another list
// begins.
func (f *flattener) closure(root uint32, fn func(at uint32)) {
	walk(root, func(at uint32) []uint32 {
		fn(at)
		if at != root && f.roots[at] {
			return nil
		}
		return f.next(at)
	})
}

// next are the instructions that come after one without a character.
func (f *flattener) next(at uint32) []uint32 {
	switch in := &f.program.Inst[at]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return []uint32{in.Out, in.Arg}
	case syntax.InstNop:
		return []uint32{in.Out}
	}
	return nil
}

// walk calls visit once for an instruction and for each that visit returns in turn.
func walk(start uint32, visit func(at uint32) (next []uint32)) {
	seen := map[uint32]bool{start: true}
	todo := []uint32{start}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, next := range visit(at) {
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
}

// split begins a list at each instruction of a list that is reached from another.
func (f *flattener) split(root uint32) {
	reachable := map[uint32]bool{}
	f.closure(root, func(at uint32) { reachable[at] = at == root || !f.roots[at] })
	for at, own := range reachable {
		if own && slices.ContainsFunc(f.before[at], func(from uint32) bool { return !reachable[from] }) {
			f.roots[at] = true
		}
	}
}

// list counts the instructions of the list that begins at a root.
func (f *flattener) list(root uint32) int {
	n := 0
	f.closure(root, func(at uint32) {
		in := &f.program.Inst[at]
		switch {
		case at != root && f.roots[at]:
			n++ // goes on there
		case in.Op == syntax.InstRune:
			n += byteRanges(in.Rune)
		case in.Op == syntax.InstRuneAnyNotNL:
			n += 2
		case in.Op == syntax.InstAlt, in.Op == syntax.InstAltMatch, in.Op == syntax.InstNop:
		default:
			n++
		}
	})
	return n
}

// byteRanges counts the ranges of bytes of a class, which is a list of pairs or one character in either case. A range of
// letters that is there in both cases is one.
func byteRanges(class []rune) int {
	if len(class) == 1 {
		return 1
	}
	type span struct{ low, high rune }
	all := map[span]bool{}
	for i := 0; i+1 < len(class); i += 2 {
		if class[i] <= 0xff {
			all[span{class[i], class[i+1]}] = true
		}
	}
	n := 0
	for r := range all {
		if 'A' <= r.low && r.high <= 'Z' && all[span{r.low + 'a' - 'A', r.high + 'a' - 'A'}] {
			continue
		}
		n++
	}
	return n
}
