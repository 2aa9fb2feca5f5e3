package policy

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// environmentFile stands in a Position for the process's environment.
const environmentFile = "environment"

// environmentSettings maps the variables of the environment layer to what they set.
var environmentSettings = []struct {
	variable, section, field string
}{
	{"CB_FAILURE_THRESHOLD", "breaker", "failure_threshold"},
	{"CB_SUCCESS_THRESHOLD", "breaker", "success_threshold"},
	{"CB_TIMEOUT", "breaker", "timeout"},
	{"CB_WINDOW_SIZE", "breaker", "window_size"},
	{"RETRY_MAX_RETRIES", "retry", "max_retries"},
	{"RETRY_BASE_DELAY", "retry", "base_delay"},
	{"RETRY_MAX_DELAY", "retry", "max_delay"},
	{"TIMEOUT_CONNECT", "timeout", "connect"},
	{"TIMEOUT_READ", "timeout", "request"},
}

// builtIn are the built-in values.
var builtIn = func() settings {
	var s settings
	settingsPlan.setDefaults(reflect.ValueOf(&s).Elem())
	return s
}()

// fromEnvironment reads the environment layer. A variable that is empty counts as
// not set, and one with a bad value is reported and ignored.
func fromEnvironment(env environment) (settings, []Problem) {
	var s settings
	v := reflect.ValueOf(&s).Elem()
	var problems []Problem
	for _, e := range environmentSettings {
		value, _ := env.lookup(e.variable)
		if value == "" {
			continue
		}
		section := settingsPlan.byName[e.section]
		f := section.section.byName[e.field]
		l := leafOf(v.FieldByIndex(section.index), f).(scalarLeaf)
		if err := l.parse(value, anyKind, f); err != nil {
			problems = append(problems, environmentProblem(e.variable, err))
			continue
		}
		*l.base() = meta{Set: true, Origin: Origin{Layer: LayerEnvironment, Variable: e.variable}, written: variableText(e.variable)}
	}
	merged := builtIn
	settingsPlan.merge(reflect.ValueOf(&merged).Elem(), v)
	for _, f := range merged.settle() {
		for _, o := range []Origin{f.origin, f.other} {
			problems = append(problems, environmentProblem(o.Variable, errors.New(f.path+": "+f.message+"; the variable is ignored")))
			s.ignore(o.Variable)
		}
	}
	return s, problems
}

func environmentProblem(variable string, err error) Problem {
	return Problem{
		Severity: SeverityError, Position: Position{File: environmentFile}, Path: variable, Message: about(err, variableText(variable)),
	}
}

// ignore takes the value of a variable out of the environment layer.
func (v *settings) ignore(variable string) {
	for _, e := range environmentSettings {
		if e.variable == variable {
			section := settingsPlan.byName[e.section]
			f := section.section.byName[e.field]
			reflect.ValueOf(v).Elem().FieldByIndex(section.index).FieldByIndex(f.index).SetZero()
		}
	}
}

// profile is one shared set.
type profile struct {
	own settings
	// merged is own over the base; nil if the profile has an error and no last good
	// version.
	merged *settings
	// frozen is true if own contradicts the base, so that merged stays as it was
	// once.
	frozen bool
}

// layers are what the services' documents are laid over.
type layers struct {
	// own are the settings that defaults.yaml itself gives.
	own  settings
	base *settings
	// profiles by name. A profile with an error and no last good version is there, without merged.
	profiles map[string]*profile
	// raw is the text of defaults.yaml if all of it is in force, at file.
	raw  []byte
	file string
	// source is defaults.yaml as it was read last.
	source source
}

// profileMap are the profiles of defaults.yaml.
type profileMap struct {
	meta
	V map[string]settings
	// faulty are the profiles with an error, with what is right in them.
	faulty map[string]settings
}

func (m *profileMap) decode(d *decoder, n *yaml.Node, path string, _ *field) {
	m.V, m.faulty = map[string]settings{}, map[string]settings{}
	if n.Kind != yaml.MappingNode {
		d.report(d.at(n), path, "must be a map of names to settings, not %s", describe(n))
		return
	}
	layer := d.layer
	defer func() { d.layer, d.variable = layer, "" }()
	for _, e := range d.entries(n, path, 0) {
		at := join(path, e.name)
		d.layer, d.variable = LayerProfile, e.name
		before := d.found.n
		var s settings
		if !isLabel(e.name) {
			d.report(d.at(e.key), at, "a profile's name has lower-case letters, digits and hyphens, at most 63")
		}
		d.section(settingsPlan, reflect.ValueOf(&s).Elem(), e.value, at)
		if d.found.n > before {
			m.faulty[e.name] = s
			continue
		}
		m.V[e.name] = s
	}
}

func (m *profileMap) encode() *yaml.Node {
	n := mappingNode()
	names := make([]string, 0, len(m.V))
	for name := range m.V {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := m.V[name]
		appendField(n, name, settingsPlan.encode(reflect.ValueOf(&s).Elem()))
	}
	return n
}

// buildLayers reads the layers below the services. file is nil if there is no
// defaults.yaml.
func buildLayers(file *specialFile, env environment, prev *layers) (*layers, []Problem) {
	if prev == nil {
		prev = &layers{}
	}
	fromEnv, problems := fromEnvironment(env)
	below := builtIn
	settingsPlan.merge(reflect.ValueOf(&below).Elem(), reflect.ValueOf(&fromEnv).Elem())

	b := layerBuilder{below: below, prev: prev, out: &layers{file: "defaults.yaml", profiles: map[string]*profile{}}}
	if file != nil {
		b.out.file = file.name
		b.out.source = source{file: file.name, line: 1, text: file.data}
		b.read(file, env)
	} else {
		b.settle(settings{})
	}
	if file != nil && b.found.n == 0 {
		b.out.raw = file.data
	}
	return b.out, append(problems, b.found.listed...)
}

type layerBuilder struct {
	below settings
	prev  *layers
	out   *layers
	found findings
}

// read decodes defaults.yaml. What is at fault in it keeps its version of prev.
func (b *layerBuilder) read(file *specialFile, env environment) {
	var doc defaultsDocument
	b.found = file.found
	var faulty faultySections
	if file.root != nil {
		if bytes.Equal(file.data, b.prev.raw) {
			env.refuse = nil // what is in force may be asked for again
		}
		d := newDecoder(file.name, file.line, file.text, LayerDefaults, env)
		d.found = b.found
		d.section(defaultsPlan, reflect.ValueOf(&doc).Elem(), file.root, "")
		b.found, faulty = d.found, d.sections
	}
	if b.retains(env) {
		return
	}
	own := doc.settings
	unread := file.root == nil || file.found.n > 0 || faulty.whole
	if unread || faulty.shared {
		_, faults := over(&b.below, &own)
		b.contradictions(faults, "")
		own = b.prev.own
	}
	b.settle(own)
	if b.retains(env) {
		return
	}
	if unread || faulty.profiles {
		for name, p := range b.prev.profiles {
			if p.merged != nil {
				b.keepProfile(name)
			}
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Profiles.faulty)) {
		own := doc.Profiles.faulty[name]
		_, faults := over(b.out.base, &own)
		b.contradictions(faults, "profiles."+name+".")
		b.keepProfile(name)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Profiles.V)) {
		b.profile(name, doc.Profiles.V[name])
	}
	b.retains(env)
}

// retains keeps all layers as they are, and reports that it does, if there is an error in defaults.yaml and there is a
// variable in them that env refuses: parts of the new laid over parts of the old, or whether they fit, would tell of its
// value.
func (b *layerBuilder) retains(env environment) bool {
	if env.refuse == nil || b.found.n == 0 || !b.prev.hides(env) {
		return false
	}
	b.out.own, b.out.base, b.out.profiles = b.prev.own, b.prev.base, b.prev.profiles
	return true
}

func (l *layers) hides(env environment) bool {
	for _, p := range l.profiles {
		if p.own.hides(env) || p.merged != nil && p.merged.hides(env) {
			return true
		}
	}
	return l.own.hides(env)
}

// settle takes own as the defaults' layer, or else that of prev, or else none: the
// first that does not contradict the layers below.
func (b *layerBuilder) settle(own settings) {
	for _, candidate := range []settings{own, b.prev.own, {}} {
		merged, faults := over(&b.below, &candidate)
		if len(faults) > 0 {
			if b.out.base == nil {
				b.report(faults, &own, &candidate)
			}
			continue
		}
		b.out.own, b.out.base = candidate, merged
		break
	}
	if b.prev.base != nil && reflect.DeepEqual(b.prev.base, b.out.base) {
		b.out.base = b.prev.base
	}
}

// report reports faults unless they are of another candidate than the user's newest.
func (b *layerBuilder) report(faults []fault, newest, candidate *settings) {
	if !reflect.DeepEqual(newest, candidate) {
		return
	}
	b.contradictions(faults, "")
}

// contradictions reports faults of the settings whose paths have the prefix.
func (b *layerBuilder) contradictions(faults []fault, prefix string) {
	for _, f := range faults {
		p := f.problem()
		p.Path = prefix + p.Path
		b.found.take(p)
	}
}

func (b *layerBuilder) profile(name string, own settings) {
	merged, faults := over(b.out.base, &own)
	if len(faults) > 0 {
		b.contradictions(faults, "profiles."+name+".")
		b.keepProfile(name)
		return
	}
	b.add(name, &profile{own: own, merged: merged})
}

// keepProfile takes the last good version of a profile.
func (b *layerBuilder) keepProfile(name string) {
	last := b.prev.profiles[name]
	if last == nil || last.merged == nil {
		b.out.profiles[name] = &profile{}
		return
	}
	if merged, faults := over(b.out.base, &last.own); len(faults) == 0 {
		b.add(name, &profile{own: last.own, merged: merged})
		return
	}
	b.out.profiles[name] = &profile{own: last.own, merged: last.merged, frozen: true}
}

func (b *layerBuilder) add(name string, p *profile) {
	if last := b.prev.profiles[name]; last != nil && reflect.DeepEqual(last.merged, p.merged) {
		p.merged = last.merged
	}
	b.out.profiles[name] = p
}

// over lays own over below. The settings are not settled, so that what is laid over
// them in turn is clamped anew; the faults are those that settling would find.
func over(below, own *settings) (*settings, []fault) {
	merged := *below
	settingsPlan.merge(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(own).Elem())
	settled := merged
	return &merged, settled.settle()
}

// explicit gives the settled settings with every value set, as if a user had
// written them all: laid over anything, the result is the same.
func (v *settings) explicit() settings {
	all := *v
	all.settle()
	if !all.Breaker.Errors.Set {
		all.Breaker.Errors = statuses{meta: meta{Set: true}, V: []StatusRange{{From: 500, To: 599}}}
	}
	for _, t := range []*text{&all.TLS.ServerName, &all.TLS.CAFile, &all.TLS.CertFile, &all.TLS.KeyFile} {
		t.Set = all.TLS.Gate.State == gateOn
	}
	if all.Fallback.Service.Set {
		all.Fallback.Status, all.Fallback.Headers, all.Fallback.Body = count{}, headerValues{}, text{}
	}
	for _, g := range []*gate{
		&all.HealthCheck.Gate, &all.Fallback.Gate, &all.Breaker.SlowCall.Gate,
	} {
		if g.State == gateUnset {
			g.State = gateOff
		}
	}
	return all
}

// frozen reports whether the profile of that name can not be written down over the
// present defaults.
func (l *layers) frozen(name string) bool {
	p := l.profiles[name]
	return p != nil && p.frozen
}

// below gives what a document that names the profile is laid over, or says why
// there is nothing.
func (l *layers) below(name string) (*settings, error) {
	if name == "" {
		return l.base, nil
	}
	p := l.profiles[name]
	switch {
	case p != nil && p.merged != nil:
		return p.merged, nil
	case p != nil:
		return nil, misfitf("profile %s has an error, and there is no last good version of it", barePart(name))
	}
	names := make([]string, 0, len(l.profiles))
	for n := range l.profiles {
		names = append(names, n)
	}
	slices.Sort(names)
	return nil, misfitf("there is no profile %s in %s%s", barePart(name), l.file, meant(name, names))
}
