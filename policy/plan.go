package policy

import (
	"reflect"
	"strings"
)

// plan lists the fields of one raw document struct, embedded ones included.
type plan struct {
	fields []*field
	byName map[string]*field
	// gate is the index of the struct's gate field, or -1: the section can then
	// not be absent.
	gate int
}

// field is one field of a raw document struct, with what its tags say.
type field struct {
	name string
	// path is the dotted path from the document that the plan is of.
	path     string
	index    []int
	required bool
	// off is the value of the off tag, standard of the default tag.
	off, standard string
	// min and max are bounds in the user's notation.
	min, max string
	// empty is true if an empty string or list is allowed.
	empty bool
	// replace is true if the section is not merged field by field.
	replace bool
	// section is the plan of a section, nil for a leaf.
	section *plan
}

var (
	leafType = reflect.TypeFor[leaf]()
	gateType = reflect.TypeFor[gate]()
)

// The plans of all documents, built once from the structs' tags.
var (
	documentPlan = planOf(reflect.TypeFor[document]())
	settingsPlan = planOf(reflect.TypeFor[settings]())
	defaultsPlan = planOf(reflect.TypeFor[defaultsDocument]())
	gatewayPlan  = planOf(reflect.TypeFor[gatewayDocument]())
	routePlan    = planOf(reflect.TypeFor[routeDocument]())
	headerPlan   = planOf(reflect.TypeFor[headerDocument]())
)

func planOf(t reflect.Type) *plan { return newPlan(t, "") }

func newPlan(t reflect.Type, path string) *plan {
	p := &plan{byName: map[string]*field{}, gate: -1}
	p.add(t, nil, path)
	for _, f := range p.fields {
		p.byName[f.name] = f
	}
	return p
}

func (p *plan) add(t reflect.Type, index []int, path string) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(append([]int{}, index...), i)
		if sf.Type == gateType {
			p.gate = i
			continue
		}
		if sf.Anonymous {
			p.add(sf.Type, at, path)
			continue
		}
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f := &field{
			name:     name,
			path:     join(path, name),
			index:    at,
			required: options == "",
			off:      sf.Tag.Get("off"),
			standard: sf.Tag.Get("default"),
			min:      sf.Tag.Get("min"),
			max:      sf.Tag.Get("max"),
			empty:    sf.Tag.Get("empty") == "true",
			replace:  sf.Tag.Get("merge") == "replace",
		}
		if !reflect.PointerTo(sf.Type).Implements(leafType) {
			f.section = newPlan(sf.Type, f.path)
		}
		p.fields = append(p.fields, f)
	}
}

// leafOf returns the leaf that f is of v.
func leafOf(v reflect.Value, f *field) leaf {
	return v.FieldByIndex(f.index).Addr().Interface().(leaf)
}

// gateOf returns the gate of the section v, or nil if it has none.
func (p *plan) gateOf(v reflect.Value) *gate {
	if p.gate < 0 {
		return nil
	}
	return v.Field(p.gate).Addr().Interface().(*gate)
}

// names returns the names of the plan's fields.
func (p *plan) names() []string {
	names := make([]string, len(p.fields))
	for i, f := range p.fields {
		names[i] = f.name
	}
	return names
}

// pathTo returns the dotted path of a field of that name anywhere in the plan's
// sections, or "".
func (p *plan) pathTo(name string) string {
	for _, f := range p.fields {
		if f.section == nil {
			continue
		}
		if f.section.byName[name] != nil {
			return f.name + "." + name
		}
		if path := f.section.pathTo(name); path != "" {
			return f.name + "." + path
		}
	}
	return ""
}

// join appends a field's name to a dotted path; of a very long name its beginning and its end.
func join(path, name string) string {
	name = clip(name, maxFieldName)
	if path == "" {
		return name
	}
	return path + "." + name
}

// setDefaults fills v with the built-in values of the plan's tags.
func (p *plan) setDefaults(v reflect.Value) {
	for _, f := range p.fields {
		if f.section != nil {
			f.section.setDefaults(v.FieldByIndex(f.index))
			continue
		}
		if f.standard == "" {
			continue
		}
		l := leafOf(v, f)
		if err := l.(scalarLeaf).parse(f.standard, anyKind, f); err != nil {
			panic("policy: default of " + f.name + ": " + err.Error())
		}
		*l.base() = meta{Set: true, Origin: Origin{Layer: LayerBuiltIn}}
	}
}

// merge lays the fields that are given in src over dst.
func (p *plan) merge(dst, src reflect.Value) {
	for _, f := range p.fields {
		d, s := dst.FieldByIndex(f.index), src.FieldByIndex(f.index)
		if f.section == nil {
			if leafOf(src, f).base().given() {
				d.Set(s)
			}
			continue
		}
		if from := f.section.gateOf(s); from != nil && from.State != gateUnset {
			into := f.section.gateOf(d)
			if from.State == gateOff || into.State == gateOff || f.replace {
				d.SetZero()
				f.section.setDefaults(d)
			}
			*into = *from
		}
		f.section.merge(d, s)
	}
}

// each calls fn for every leaf of v that is set, and for every optional section
// that is absent. The fields of such a section are left out.
func (p *plan) each(v reflect.Value, fn func(f *field, l leaf)) {
	for _, f := range p.fields {
		if f.section == nil {
			if l := leafOf(v, f); l.base().Set {
				fn(f, l)
			}
			continue
		}
		s := v.FieldByIndex(f.index)
		if g := f.section.gateOf(s); g != nil && g.State != gateOn {
			if g.State == gateOff || f.off != "" {
				fn(f, g)
			}
			continue
		}
		f.section.each(s, fn)
	}
}
