package policy

import (
	"reflect"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// entry is one document of a policy file and what came of it. It is immutable once
// Build has returned, and later Builds take it over as long as nothing changes that
// it depends on.
type entry struct {
	file string
	chunk
	// index of the document in its file.
	index int
	// lookups are the answers of the environment that doc depends on.
	lookups []lookup
	// doc is nil if the document cannot be read. A value that is at fault is not set in it.
	doc *document
	// name is the service that the document is for; empty if that is not known. title is it in a message.
	name, title string
	// start is where the document's service field is.
	start Position
	// problems of the document by itself. Their positions, and all below, count
	// from the document's own first line.
	problems []Problem

	// below is what the document was laid over for what follows.
	below   *settings
	service *Service // nil if there are faults
	faults  []Problem
	// placed is service with the positions of the file.
	placed *Service
}

// serviceLine finds the service's name in a document that is not valid YAML.
var serviceLine = regexp.MustCompile(`(?m)^service:[ \t]*["']?([a-z0-9-]+)["']?[ \t]*(?:#.*)?\r?$`)

func newEntry(file string, c chunk, index int, env environment) *entry {
	e := &entry{file: file, chunk: c, index: index, start: Position{File: file, Line: 1, Column: 1}}
	d := newDecoder(file, 1, c.text, LayerService, env)
	var doc document
	root, ok := d.parseYAML(c.text)
	if ok {
		d.section(documentPlan, reflect.ValueOf(&doc).Elem(), root, "")
		if key := keyOf(root, "service"); key != nil {
			e.start = d.at(key)
		}
	}
	if doc.Service.Set {
		e.name, e.title = doc.Service.V, doc.Service.says(doc.Service.V)
	} else if m := serviceLine.FindSubmatch(c.text); m != nil && d.found.closed && isLabel(string(m[1])) {
		e.name, e.title = string(m[1]), string(m[1])
	}
	e.lookups = d.lookups
	e.problems = d.found.listed
	for i := range e.problems {
		e.problems[i].Service = e.name
	}
	if ok {
		e.doc = &doc
	}
	return e
}

// keyOf returns the node of the field's name in the mapping n, or nil.
func keyOf(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i]
		}
	}
	return nil
}

// current reports whether the environment still gives the same answers.
func (e *entry) current(env environment) bool {
	return !slices.ContainsFunc(e.lookups, func(l lookup) bool {
		value, ok := env.lookup(l.name)
		return value != l.value || ok != l.ok
	})
}

// moved returns the entry at another place of its file.
func (e *entry) moved(line, index int) *entry {
	if e.line == line && e.index == index {
		return e
	}
	to := *e
	to.index = index
	if e.line != line {
		to.line = line
		to.place()
	}
	return &to
}

func (e *entry) place() {
	e.placed = nil
	if e.service != nil {
		e.placed = e.service.place(e.line - 1)
	}
}

// resolved returns the entry with its document laid over the layers.
func (e *entry) resolved(l *layers) *entry {
	if e.doc == nil {
		return e
	}
	if e.doc.Profile.wrong {
		to := *e
		to.faults = e.doc.contradictions()
		return &to
	}
	below, why := l.below(e.doc.Profile.V)
	if below != nil && below == e.below {
		return e
	}
	to := *e
	to.below, to.service, to.faults = below, nil, nil
	if below == nil {
		to.faults = append(e.doc.contradictions(), Problem{
			Severity: SeverityError, Position: e.doc.Profile.Origin.Position, Service: e.name, Path: "profile", Message: about(why, e.doc.Profile.written),
		})
	} else if to.service, to.faults = e.doc.resolve(below, e.start); len(e.problems) > 0 {
		to.service = nil
	} else if to.service != nil {
		to.service.source = source{file: e.file, line: 1, text: e.text}
	}
	to.place()
	return &to
}

// report gives all problems of the entry with the positions of the file.
func (e *entry) report() []Problem {
	list := make([]Problem, 0, len(e.problems)+len(e.faults))
	for _, p := range slices.Concat(e.problems, e.faults) {
		if p.Position.File == e.file && p.Position.Line > 0 {
			p.Position.Line += e.line - 1
		}
		list = append(list, p)
	}
	return list
}

// explicit gives the text of a document that has the effect of this one under any
// layers.
func (e *entry) explicit() []byte {
	all := *e.doc
	all.Profile = text{}
	merged := e.doc.merged(e.below)
	merged.settle()
	merged.complete(&e.doc.Upstream)
	all.settings = merged.explicit()
	return marshal(documentPlan.encode(reflect.ValueOf(&all).Elem()))
}

// inFile gives a position of the document as one of the file.
func (e *entry) inFile(p Position) Position {
	p.Line += e.line - 1
	return p
}
