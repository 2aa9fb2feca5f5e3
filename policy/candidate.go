package policy

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// environment is what the variables of a document are expanded from.
type environment struct {
	lookup func(string) (string, bool)
	// refuse says why a variable may not be asked for; nil: every one may.
	refuse func(name string) error
	// ctx is nil, or ends when what is built is of no use any more.
	ctx context.Context
	// searches are how many times the place of a syntax error may still be searched for, which takes long; nil: once.
	searches *int
}

// maxSearches bounds them for one Build.
const maxSearches = 20

func (e environment) maySearch() bool {
	if e.searches == nil {
		return true
	}
	*e.searches--
	return *e.searches >= 0
}

func (e environment) ended() bool { return e.ctx != nil && e.ctx.Err() != nil }

func (e environment) refuses(name string) error {
	if e.refuse == nil {
		return nil
	}
	return e.refuse(name)
}

// hides returns why one of the variables may not be asked for; nil if all may.
func (e environment) hides(variables []lookup) error {
	for _, v := range variables {
		if err := e.refuses(v.name); err != nil {
			return err
		}
	}
	return nil
}

// variables are the environment variables that effective values show, by path.
type variables map[string]expansions

func (v variables) add(path string, l leaf) {
	if m := l.base(); len(m.variables) > 0 {
		v[path] = expansionsOf(m)
	}
}

// hidden returns the first path in order whose value shows a variable that env refuses, and why; an empty path for none.
func (v variables) hidden(env environment) (path string, err error) {
	for _, path := range slices.Sorted(maps.Keys(v)) {
		if err := env.hides(v[path].variables); err != nil {
			return path, err
		}
	}
	return "", nil
}

// over is the document with the effective values of the service, faults or not.
func (doc *document) over(below *settings) *document {
	all := *doc
	all.settings = doc.merged(below)
	all.settle()
	all.complete(&doc.Upstream)
	return &all
}

func (doc *document) variables() variables {
	out := variables{}
	documentPlan.each(reflect.ValueOf(doc).Elem(), func(f *field, l leaf) { out.add(f.path, l) })
	return out
}

// BuildCandidate is Build for files that are to be judged and not served, from whoever may
// see what is served. It expands only variables that effective values of live show, for
// those can be seen there already; any other is an error where it stands, the same
// whether the variable is set or not, and so is what a document would show of one that stands in
// what live has: in a value that every service overrides, in a profile that none uses, in a document with an error. A
// document that is in live as it is stays as it is.
//
// refused are the services whose policy in live Envoy has refused, so that its values are not in effect.
//
// It stops soon once ctx ends, and returns that as an error; there is no other.
func BuildCandidate(ctx context.Context, files []File, env func(string) (string, bool), live *Set, refused []string) (*Set, []Problem, error) {
	shown := live.shown(refused)
	set, problems := build(files, environment{lookup: env, ctx: ctx, refuse: func(name string) error {
		if shown[name] {
			return nil
		}
		return fmt.Errorf("a plan does not expand ${%s}: no value in force shows it, and a plan is not to either; write a value in its place to plan with", name)
	}}, live)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	return set, problems, nil
}

// shown are the environment variables that the effective values of the set show, but for the refused services.
func (s *Set) shown(refused []string) map[string]bool {
	shown := map[string]bool{}
	if s == nil || s.state == nil {
		return shown
	}
	add := func(v variables) {
		for _, e := range v {
			for _, v := range e.variables {
				shown[v.name] = true
			}
		}
	}
	for _, svc := range s.Services {
		if !slices.Contains(refused, svc.Name) {
			add(svc.variables)
		}
	}
	own := s.state.gateway
	gateway := maps.Clone(own.variables)
	if s.Gateway.Host != own.gateway.Host || s.Gateway.Port != own.gateway.Port {
		delete(gateway, "address") // the gateway's address is another than that of gateway.yaml
	}
	add(gateway)
	return shown
}

// disclosed returns the entry, or one with a fault in its place if it would show the value of a variable that is refused.
// Such a value is known without being asked for, in a document or a layer that was read before: one that has an error,
// that no service uses, or that all override.
func (b *builder) disclosed(e *entry) *entry {
	if b.env.refuse == nil || b.served(e) {
		return e
	}
	at, path, err := e.shows(b.env)
	if err == nil {
		return e
	}
	to := *e
	to.doc, to.service, to.placed = nil, nil, nil
	if e.asks(b.env) != nil {
		to.problems = nil
	}
	to.faults = []Problem{{Severity: SeverityError, Position: at, Service: e.name, Path: path, Message: err.Error()}}
	return &to
}

// served reports whether the entry is in force as it is, so that it shows nothing new.
func (b *builder) served(e *entry) bool {
	last := b.prev.live[e.name]
	return last != nil && e.service != nil && last.entry.service == e.service && last.served == last.base
}

// shows returns where the entry, or what is said of its faults, shows a variable that env refuses, and why that is refused.
// Whether there is a fault makes no difference to that, for that alone would tell of the value.
func (e *entry) shows(env environment) (Position, string, error) {
	switch {
	case len(e.problems) > 0 && e.asks(env) != nil:
		return e.start, "", e.asks(env)
	case e.doc == nil:
		return Position{}, "", nil
	case e.below == nil: // there is no such profile, and no more is said
		p := e.doc.Profile
		return p.Origin.Position, "profile", env.hides(p.variables)
	}
	all := e.doc.over(e.below)
	path, err := all.variables().hidden(env)
	if err != nil {
		return e.refusal(path, all.origin(path), err)
	}
	return Position{}, "", nil
}

// asks returns why a variable of the document itself may not be asked for.
func (e *entry) asks(env environment) error {
	return env.hides(e.lookups)
}

// refusal is where a user of the document can do something about a value that is not to be shown.
func (e *entry) refusal(path string, o Origin, err error) (Position, string, error) {
	switch o.Layer {
	case LayerService:
		return o.Position, path, err
	case LayerProfile:
		return e.doc.Profile.Origin.Position, "profile", fmt.Errorf("profile %s: %w (%s at %s)", e.doc.Profile.says(o.Variable), err, path, o.Position)
	}
	return e.doc.Upstream.Origin.Position, path, fmt.Errorf("%w (set %s)", err, o.place())
}

// origin is that of the value at a path; zero if there is none.
func (doc *document) origin(path string) Origin {
	var out Origin
	documentPlan.each(reflect.ValueOf(doc).Elem(), func(f *field, l leaf) {
		if f.path == path {
			out = l.base().Origin
		}
	})
	return out
}
