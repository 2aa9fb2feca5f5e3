package policy

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"

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

// layers are what the services' documents are laid over.
type layers struct {
	base *settings
	// profiles are the shared sets by name, each over the base.
	profiles map[string]*settings
	// source is the defaults.yaml that these layers are from; zero if there is none.
	source source
	// fault is true if the newest defaults.yaml has an error. The layers are then those before it as a whole, or, where
	// there are none, what is right in it.
	fault bool
}

// profileMap are the profiles of defaults.yaml.
type profileMap struct {
	meta
	// V has what is right in each profile.
	V map[string]settings
}

func (m *profileMap) decode(d *decoder, n *yaml.Node, path string, _ *field) {
	m.V = map[string]settings{}
	if n.Kind != yaml.MappingNode {
		d.report(d.at(n), path, "must be a map of names to settings, not %s", describe(n))
		return
	}
	layer := d.layer
	defer func() { d.layer, d.variable = layer, "" }()
	for _, e := range d.entries(n, path, 0) {
		at := join(path, e.name)
		d.layer, d.variable = LayerProfile, e.name
		var s settings
		if !isLabel(e.name) {
			d.report(d.at(e.key), at, "a profile's name has lower-case letters, digits and hyphens, at most 63")
		}
		d.section(settingsPlan, reflect.ValueOf(&s).Elem(), e.value, at)
		m.V[e.name] = s
	}
}

// buildLayers reads the layers below the services. file is nil if there is no
// defaults.yaml, and prev if there were no layers before.
func buildLayers(file *specialFile, env environment, prev *layers) (*layers, []Problem) {
	fromEnv, problems := fromEnvironment(env)
	below := builtIn
	settingsPlan.merge(reflect.ValueOf(&below).Elem(), reflect.ValueOf(&fromEnv).Elem())
	l := &layers{base: &below, profiles: map[string]*settings{}}
	if file != nil {
		found := l.read(file, env, prev)
		problems = append(problems, found.listed...)
		if found.n > 0 && prev != nil {
			kept := *prev
			kept.fault = true
			return &kept, problems
		}
	}
	if prev != nil {
		l.reuse(prev)
	}
	return l, problems
}

// read lays defaults.yaml over the base. With an error outside of the profiles none of it is laid there, and a profile
// with an error is left out.
func (l *layers) read(file *specialFile, env environment, prev *layers) findings {
	var doc defaultsDocument
	found := file.found
	if file.root != nil {
		l.source = source{file: file.name, line: 1, text: file.data}
		if prev != nil && bytes.Equal(file.data, prev.source.text) {
			env.refuse = nil // what is in force may be asked for again
		}
		d := newDecoder(file.name, file.line, file.text, LayerDefaults, env)
		d.found = found
		d.section(defaultsPlan, reflect.ValueOf(&doc).Elem(), file.root, "")
		found = d.found
	}
	merged, faults := over(l.base, &doc.settings)
	found.contradictions(faults, "")
	if !found.full() && !found.any(func(path string) bool { return path != "profiles" && !strings.HasPrefix(path, "profiles.") }) {
		l.base = merged
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Profiles.V)) {
		own, at := doc.Profiles.V[name], "profiles."+name
		merged, faults := over(l.base, &own)
		found.contradictions(faults, at+".")
		if !found.full() && !found.any(func(path string) bool { return path == at || strings.HasPrefix(path, at+".") }) {
			l.profiles[name] = merged
		}
	}
	l.fault = found.n > 0
	return found
}

// any reports whether a listed problem has a path for which hold is true.
func (f *findings) any(hold func(path string) bool) bool {
	return slices.ContainsFunc(f.listed, func(p Problem) bool { return hold(p.Path) })
}

// contradictions takes faults of the settings whose paths have the prefix.
func (f *findings) contradictions(faults []fault, prefix string) {
	for _, fault := range faults {
		p := fault.problem()
		p.Path = prefix + p.Path
		f.take(p)
	}
}

// reuse takes over the pointers of prev that are for the same.
func (l *layers) reuse(prev *layers) {
	if reflect.DeepEqual(prev.base, l.base) {
		l.base = prev.base
	}
	for name, p := range l.profiles {
		if last := prev.profiles[name]; last != nil && reflect.DeepEqual(last, p) {
			l.profiles[name] = last
		}
	}
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

// file is the name of defaults.yaml.
func (l *layers) file() string { return cmp.Or(l.source.file, "defaults.yaml") }

// below gives what a document that names the profile is laid over, or says why
// there is nothing.
func (l *layers) below(name string) (*settings, error) {
	if name == "" {
		return l.base, nil
	}
	if p := l.profiles[name]; p != nil {
		return p, nil
	}
	if l.fault {
		return nil, misfitf("there is no profile %s in force: %s has an error", barePart(name), l.file())
	}
	names := slices.Sorted(maps.Keys(l.profiles))
	return nil, misfitf("there is no profile %s in %s%s", barePart(name), l.file(), meant(name, names))
}
