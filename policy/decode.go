package policy

import (
	"bytes"
	"fmt"
	"reflect"

	"go.yaml.in/yaml/v3"
)

const (
	// maxNodes bounds the nodes that are read of one document, each as often as an alias or a merge key
	// names it.
	maxNodes = 50_000
	// nodesPerByte bounds them for a small document, with nodesOfAny on top.
	nodesPerByte = 4
	nodesOfAny   = 1000
	// maxMergeDepth bounds merge keys within merge keys.
	maxMergeDepth = 16
)

// decoder fills raw documents from YAML nodes and collects every violation.
type decoder struct {
	file string
	// shift is added to each node's line, which is at most lines.
	shift, lines int
	// layer and variable go into the origin of each value.
	layer    Layer
	variable string
	env      environment

	// document is the plan of the whole document.
	document *plan
	// lookups are the environment variables that were asked for.
	lookups []lookup
	found   findings
	// nodes are those that have been read, of at most maxNodes.
	nodes, maxNodes int
}

// lookup is one question to the environment, and its answer.
type lookup struct {
	name, value string
	ok          bool
}

// newDecoder decodes the document text, which begins at the given line of the file.
func newDecoder(file string, line int, text []byte, layer Layer, env environment) *decoder {
	return &decoder{file: file, shift: line - 1, lines: countLines(text), layer: layer, env: env, maxNodes: min(maxNodes, nodesOfAny+nodesPerByte*len(text))}
}

// countLines counts the lines of a document that ends with a line feed, as YAML does.
func countLines(text []byte) int {
	n := bytes.Count(text, []byte("\r")) - bytes.Count(text, []byte("\r\n"))
	for _, br := range []string{"\n", "\u0085", "\u2028", "\u2029"} {
		n += bytes.Count(text, []byte(br))
	}
	return n
}

func (d *decoder) report(pos Position, path, format string, args ...any) {
	d.found.add(Problem{Severity: SeverityError, Position: pos, Path: path}, func() string { return fmt.Sprintf(format, args...) })
}

// at gives the position of a node. The parser puts one without text behind the end.
func (d *decoder) at(n *yaml.Node) Position {
	if n.Line > d.lines {
		return Position{File: d.file, Line: d.lines + d.shift, Column: 1}
	}
	return Position{File: d.file, Line: n.Line + d.shift, Column: n.Column}
}

func (d *decoder) origin(n *yaml.Node) Origin {
	return Origin{Layer: d.layer, Position: d.at(n), Variable: d.variable}
}

// deref follows an alias.
func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// read counts a node. It reports that there are too many the first time, and the document is read no further.
func (d *decoder) read(n *yaml.Node) bool {
	if d.found.closed {
		return false
	}
	if d.nodes++; d.nodes > d.maxNodes {
		d.stop(n, "", "the document is too large: over %d values once its aliases are expanded", d.maxNodes)
		return false
	}
	return true
}

// stop reports why the document is read no further.
func (d *decoder) stop(at *yaml.Node, path, format string, args ...any) {
	d.report(d.at(at), path, format, args...)
	d.found.closed = true
}

// pair is one field of a mapping, merge keys resolved.
type pair struct {
	key   *yaml.Node
	name  string
	value *yaml.Node
}

// entries lists the fields of a mapping in the order they are written, those of
// its merge keys last, and reports duplicates.
func (d *decoder) entries(n *yaml.Node, path string, depth int) []pair {
	if depth > maxMergeDepth {
		d.stop(n, path, "merge keys are nested too deeply")
		return nil
	}
	var list []pair
	var merges []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := deref(n.Content[i]), deref(n.Content[i+1])
		if !d.read(key) {
			return nil
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			d.report(d.at(key), path, "a field's name must be a string")
		case key.ShortTag() == "!!merge":
			merges = append(merges, value)
		case seen[key.Value]:
			d.report(d.at(key), join(path, key.Value), "is given twice")
		default:
			seen[key.Value] = true
			list = append(list, pair{key: key, name: key.Value, value: value})
		}
	}
	for _, m := range merges {
		sources := []*yaml.Node{m}
		if m.Kind == yaml.SequenceNode {
			sources = m.Content
		}
		for _, s := range sources {
			s = deref(s)
			if !d.read(s) {
				return nil
			}
			if s.Kind != yaml.MappingNode {
				d.report(d.at(s), path, "a merge key takes a map or a list of maps")
				continue
			}
			for _, e := range d.entries(s, path, depth+1) {
				if !seen[e.name] {
					seen[e.name] = true
					list = append(list, e)
				}
			}
		}
	}
	return list
}

// section decodes the mapping n into the struct v.
func (d *decoder) section(p *plan, v reflect.Value, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		d.report(d.at(n), path, "must be a map of fields, not %s", describe(n))
		return
	}
	if path == "" {
		d.document = p
	}
	given := map[string]bool{}
	for _, e := range d.entries(n, path, 0) {
		f := p.byName[e.name]
		if f == nil {
			given[d.unknown(p, e, path)] = true
			continue
		}
		given[e.name] = true
		d.field(f, v, e.value, join(path, e.name))
	}
	for _, f := range p.fields {
		if f.required && !given[f.name] {
			d.report(d.at(n), join(path, f.name), "is required")
		}
	}
}

// field decodes the value n into the field f of v.
func (d *decoder) field(f *field, v reflect.Value, n *yaml.Node, path string) {
	asked := len(d.lookups)
	if f.section == nil {
		l := leafOf(v, f)
		before := d.found.n
		switch l := l.(type) {
		case nodeLeaf:
			l.decode(d, n, path, f)
		case scalarLeaf:
			d.scalar(l, n, path, f)
		}
		*l.base() = d.given(n, asked)
		if d.found.n > before {
			l.base().Set, l.base().wrong = false, true
		}
		return
	}
	s := v.FieldByIndex(f.index)
	g := f.section.gateOf(s)
	if n.Kind == yaml.ScalarNode {
		if value, ok := d.value(n, path); ok {
			d.switchOff(f, s, n, value.text, path, d.given(n, asked))
		}
		return
	}
	if g != nil {
		*g = gate{State: gateOn, meta: meta{Set: true, Origin: d.origin(n)}}
	}
	d.section(f.section, s, n, path)
}

// given is the meta of what n gives. asked is how many lookups there were before it was decoded.
func (d *decoder) given(n *yaml.Node, asked int) meta {
	m := meta{Set: true, Origin: d.origin(n)}
	m.variables = append(m.variables, d.lookups[asked:]...)
	if len(m.variables) > 0 && n.Kind == yaml.ScalarNode {
		m.written = n.Value
	}
	return m
}

// switchOff decodes a section that is given as one word, which must be off.
func (d *decoder) switchOff(f *field, section reflect.Value, n *yaml.Node, value, path string, set meta) {
	switch {
	case value != off:
		d.report(d.at(n), path, "must be a map of fields%s, not %s", orOff(f), describe(n))
	case f.off == "":
		d.report(d.at(n), path, "can not be off")
	default:
		if g := f.section.gateOf(section); g != nil {
			*g = gate{State: gateOff, meta: set}
			return
		}
		zeroed := f.section.byName[f.off]
		l := leafOf(section, zeroed).(scalarLeaf)
		if err := l.parse("0", anyKind, zeroed); err != nil {
			d.report(d.at(n), path, "%s", err)
			return
		}
		*l.base() = set
	}
}

// scalar decodes the scalar n into l.
func (d *decoder) scalar(l scalarLeaf, n *yaml.Node, path string, f *field) {
	value, ok := d.value(n, path)
	if !ok {
		return
	}
	if err := l.parse(value.text, value.kind, f); err != nil {
		d.reject(n, path, value, err)
	}
}

// value is a scalar.
type value struct {
	// text has its variables expanded.
	text string
	kind kind
	// written is the text before; empty if it has no variables.
	written string
}

// reject reports what is wrong with a value.
func (d *decoder) reject(n *yaml.Node, path string, v value, err error) {
	d.report(d.at(n), path, "%s", about(err, v.written))
}

// value gives a scalar.
func (d *decoder) value(n *yaml.Node, path string) (value, bool) {
	n = deref(n)
	if !d.read(n) {
		return value{}, false
	}
	if n.Kind != yaml.ScalarNode {
		d.report(d.at(n), path, "must be one value, not %s", describe(n))
		return value{}, false
	}
	k := stringKind
	switch tag := n.ShortTag(); tag {
	case "!!str", "!!timestamp":
	case "!!int", "!!float":
		k = numberKind
	case "!!bool":
		k = boolKind
	case "!!null":
		d.report(d.at(n), path, "has no value")
		return value{}, false
	default:
		d.report(d.at(n), path, "the tag %s is not allowed", tag)
		return value{}, false
	}
	text, expanded, errs := expand(n.Value, d.lookup)
	if len(errs) > 0 {
		for _, err := range errs {
			d.report(d.at(n), path, "%s", err)
		}
		return value{}, false
	}
	if expanded {
		return value{text: text, kind: anyKind, written: n.Value}, true
	}
	return value{text: text, kind: k}, true
}

// lookup asks the environment, and notes the answer.
func (d *decoder) lookup(name string) (string, bool, error) {
	if err := d.env.refuses(name); err != nil {
		return "", false, err
	}
	l := lookup{name: name}
	l.value, l.ok = d.env.lookup(name)
	d.lookups = append(d.lookups, l)
	return l.value, l.ok, nil
}

// unknown reports a field that does not exist, with what may have been meant. It
// returns the field of this section that was meant, if any.
func (d *decoder) unknown(p *plan, e pair, path string) (near string) {
	if d.found.full() {
		d.report(d.at(e.key), join(path, e.name), "")
		return ""
	}
	message := "unknown field"
	if near = Nearest(e.name, p.names()); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	} else if elsewhere := d.pathTo(e.name, path); elsewhere != "" {
		message += fmt.Sprintf("; did you mean %s?", elsewhere)
	}
	d.report(d.at(e.key), join(path, e.name), "%s", message)
	return near
}

// pathTo returns the dotted path of a field of that name elsewhere in the document,
// or "". path is that of the section in which the field was looked for.
func (d *decoder) pathTo(name, path string) string {
	elsewhere := d.document.pathTo(name)
	if path != "" && d.document.byName[name] != nil {
		elsewhere = name + " at the top level"
	}
	return elsewhere
}

// describe names what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.ShortTag() == "!!null" {
		return "nothing"
	}
	return quoted(n.Value)
}
