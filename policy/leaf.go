package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// leaf is a value of a raw document that is layered as a whole.
type leaf interface {
	base() *meta
}

// encodedLeaf is a leaf that can be written.
type encodedLeaf interface {
	leaf
	// encode gives the value in the user's notation.
	encode() *yaml.Node
}

// scalarLeaf is a leaf that one scalar can give. parse sets the value, not the
// meta, and its error says what is allowed.
type scalarLeaf interface {
	encodedLeaf
	parse(text string, k kind, f *field) error
}

// nodeLeaf is a leaf that decodes its node itself and reports to d.
type nodeLeaf interface {
	leaf
	decode(d *decoder, n *yaml.Node, path string, f *field)
}

// meta says whether a leaf is set, and where.
type meta struct {
	Set bool
	// wrong is true if the value that a document gives is at fault; it is not Set then.
	wrong  bool
	Origin Origin
	// variables are the environment variables that the value was expanded from, with what they held.
	variables []lookup
	// written is the text that a single value was expanded from; empty if it has no variables.
	written string
}

func (m *meta) base() *meta { return m }

// given reports whether a document gives the leaf, with a value that is right or not.
func (m *meta) given() bool { return m.Set || m.wrong }

// byUser reports whether a layer above the built-in one set the leaf.
func (m *meta) byUser() bool {
	return m.Set && m.Origin.Layer != LayerBuiltIn && !m.Origin.Clamped
}

// kind is the YAML type of a scalar.
type kind int

const (
	anyKind kind = iota // takes the type that is wanted: it has an expansion, or comes from a variable
	stringKind
	numberKind
	boolKind
)

// gate says whether an optional section is there.
type gate struct {
	meta
	State gateState
}

type gateState int

const (
	gateUnset gateState = iota
	gateOn
	gateOff
)

func (g *gate) encode() *yaml.Node { return scalarNode("off") }

// off is the word that switches a criterion or a feature off.
const off = "off"

// text is a string. The tag max bounds its characters.
type text struct {
	meta
	V string
}

func (t *text) parse(s string, _ kind, f *field) error {
	if s == "" && !f.empty {
		return fmt.Errorf("must not be empty")
	}
	if most, err := strconv.Atoi(f.max); err == nil && utf8.RuneCountInString(s) > most {
		return fmt.Errorf("must have at most %d characters, not %d", most, utf8.RuneCountInString(s))
	}
	t.V = s
	return nil
}

func (t *text) encode() *yaml.Node { return stringNode(t.V) }

// label is a service's name.
type label struct {
	meta
	V string
}

func (l *label) parse(s string, _ kind, _ *field) error {
	if !isLabel(s) {
		return misfitf("%s is not a service name: lower-case letters, digits and hyphens, at most 63, beginning and ending with a letter or digit", quotedPart(s))
	}
	l.V = s
	return nil
}

func (l *label) encode() *yaml.Node { return stringNode(l.V) }

// toggle is true or false.
type toggle struct {
	meta
	V bool
}

func (b *toggle) parse(s string, k kind, _ *field) error {
	if (s != "true" && s != "false") || (k != anyKind && k != boolKind) {
		return misfitf("must be true or false, not %s", quotedPart(s))
	}
	b.V = s == "true"
	return nil
}

func (b *toggle) encode() *yaml.Node { return scalarNode(strconv.FormatBool(b.V)) }

// count is a whole number.
type count struct {
	meta
	V   uint32
	Off bool
}

func (c *count) parse(s string, k kind, f *field) error {
	if s == off && f.off != "" {
		c.V, c.Off = 0, true
		return nil
	}
	lowest, _ := strconv.ParseUint(f.min, 10, 32)
	highest, _ := strconv.ParseUint(f.max, 10, 32)
	allowed := fmt.Sprintf("a whole number from %d to %d%s", lowest, highest, orOff(f))
	if k == stringKind && isDigits(s) {
		return fmt.Errorf("must be %s, without quotes", allowed)
	}
	if !isDigits(strings.TrimPrefix(s, "-")) || (len(s) > 1 && s[0] == '0') {
		return misfitf("must be %s, not %s", allowed, quotedPart(s))
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v < lowest || v > highest {
		return misfitf("must be %s, not %s", allowed, barePart(s))
	}
	c.V, c.Off = uint32(v), false
	return nil
}

func (c *count) encode() *yaml.Node {
	if c.Off {
		return scalarNode(off)
	}
	return scalarNode(strconv.FormatUint(uint64(c.V), 10))
}

func (c *count) optional() Count { return Count{N: c.V, Set: c.Set && !c.Off} }

// span is a duration.
type span struct {
	meta
	V   time.Duration
	Off bool
}

func (p *span) parse(s string, k kind, f *field) error {
	if s == off && f.off != "" {
		p.V, p.Off = 0, true
		return nil
	}
	lowest, _ := time.ParseDuration(f.min)
	highest, _ := time.ParseDuration(f.max)
	v, ok := parseDuration(s)
	if _, bare := parseDecimal(s); bare && k == stringKind {
		return misfitf("a number of seconds has no quotes; in quotes write a unit: %s", quotedPart(s+"s"))
	}
	if !ok || k == boolKind {
		return misfitf("must be a duration such as 500ms, 30s or 1m30s, or a number of seconds%s, not %s", orOff(f), quotedPart(s))
	}
	if v < lowest || v > highest {
		return misfitf("must be from %s to %s%s, not %s", f.min, f.max, orOff(f), barePart(s))
	}
	p.V, p.Off = v, false
	return nil
}

func (p *span) encode() *yaml.Node {
	if p.Off {
		return scalarNode(off)
	}
	return scalarNode(p.V.String())
}

func (p *span) optional() Duration { return Duration{D: p.V, Set: p.Set && !p.Off} }

// share is a ratio, given as 20% or 0.2.
type share struct {
	meta
	V   float64
	Off bool
}

func (r *share) parse(s string, k kind, f *field) error {
	if s == off && f.off != "" {
		r.V, r.Off = 0, true
		return nil
	}
	lowest := "over 0%"
	if f.min != "" {
		lowest = "from 0%"
	}
	allowed := fmt.Sprintf("must be a share %s and up to 100%%, such as 20%% or 0.2%s", lowest, orOff(f))
	number, percent := strings.CutSuffix(s, "%")
	v, ok := parseDecimal(number)
	if !ok || k == boolKind || (k == stringKind && !percent) {
		return misfitf("%s, not %s", allowed, quotedPart(s))
	}
	if percent {
		v /= 100
	} else if v > 1 {
		return misfitf("%s; write %s%% if that is meant", allowed, barePart(s))
	}
	if v > 1 || v < 0 || (v == 0 && f.min == "") {
		return misfitf("%s, not %s", allowed, barePart(s))
	}
	r.V, r.Off = v, false
	return nil
}

func (r *share) encode() *yaml.Node {
	if r.Off {
		return scalarNode(off)
	}
	return scalarNode(strconv.FormatFloat(r.V, 'f', -1, 64))
}

func (r *share) optional() Ratio { return Ratio{Share: r.V, Set: r.Set && !r.Off} }

// factor is a number that multiplies.
type factor struct {
	meta
	V float64
}

func (m *factor) parse(s string, k kind, f *field) error {
	lowest, _ := strconv.ParseFloat(f.min, 64)
	highest, _ := strconv.ParseFloat(f.max, 64)
	v, ok := parseDecimal(s)
	if !ok || v < lowest || v > highest || (k != numberKind && k != anyKind) {
		return misfitf("must be a number from %s to %s, not %s", f.min, f.max, quotedPart(s))
	}
	m.V = v
	return nil
}

func (m *factor) encode() *yaml.Node {
	return scalarNode(strconv.FormatFloat(m.V, 'f', -1, 64))
}

func orOff(f *field) string {
	if f.off != "" {
		return ", or off"
	}
	return ""
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// parseDecimal reads a finite, plain decimal number.
func parseDecimal(s string) (float64, bool) {
	if s == "" || strings.Trim(s, "+-.0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

// parseDuration reads Go's notation, or a bare number of seconds.
func parseDuration(s string) (time.Duration, bool) {
	if v, ok := parseDecimal(s); ok {
		v *= float64(time.Second)
		if math.Abs(v) > math.MaxInt64/2 {
			return 0, false
		}
		return time.Duration(math.Round(v)), true
	}
	v, err := time.ParseDuration(s)
	return v, err == nil
}

// isLabel reports whether s is a lower-case DNS label.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
