package policy

import (
	"fmt"
)

// environment is what the variables of a document are expanded from.
type environment struct {
	lookup func(string) (string, bool)
	// refuse says why a variable may not be asked for; nil: every one may.
	refuse func(name string) error
}

func (e environment) refuses(name string) error {
	if e.refuse == nil {
		return nil
	}
	return e.refuse(name)
}

// BuildCandidate is Build for files that are to be judged and not served, from whoever may
// see what is served. It expands only variables that the policies of live refer to, for
// their values can be seen there already; any other is an error where it stands, the same
// whether the variable is set or not. A document that is in live as it is stays as it is.
func BuildCandidate(files []File, env func(string) (string, bool), live *Set) (*Set, []Problem) {
	shown := live.variables()
	return build(files, environment{lookup: env, refuse: func(name string) error {
		if shown[name] {
			return nil
		}
		return fmt.Errorf("a plan does not expand ${%s}: no policy in force refers to it, and its value is not to be shown; write a value in its place to plan with", name)
	}}, live)
}

// disclosed returns the entry, or one with a fault in its place if it would serve the value of a variable that is refused.
// Such a value is known without being asked for, in a document or a profile that was read before but is not in force: one
// that has an error, or that no service uses.
func (b *builder) disclosed(e *entry) *entry {
	if b.env.refuse == nil || e.service == nil {
		return e
	}
	fault := func(at Position, path string, err error) *entry {
		to := *e
		to.service, to.placed = nil, nil
		to.faults = []Problem{{Severity: SeverityError, Position: at, Service: e.name, Path: path, Message: err.Error()}}
		return &to
	}
	for _, l := range e.lookups {
		if err := b.env.refuse(l.name); err != nil {
			return fault(l.at, l.path, err)
		}
	}
	profile := e.doc.Profile
	for _, l := range b.next.layers.lookups {
		if l.profile == "" || l.profile != profile.V {
			continue
		}
		if err := b.env.refuse(l.name); err != nil {
			return fault(profile.Origin.Position, "profile", fmt.Errorf("profile %s: %w", profile.V, err))
		}
	}
	return e
}

// variables are the environment variables that the values in force depend on. Those that
// only a profile names that no service uses are not among them.
func (s *Set) variables() map[string]bool {
	shown := map[string]bool{}
	if s == nil || s.state == nil {
		return shown
	}
	add := func(lookups []lookup, profiles map[string]bool) {
		for _, l := range lookups {
			if l.profile == "" || profiles[l.profile] {
				shown[l.name] = true
			}
		}
	}
	used := map[string]bool{}
	for _, r := range s.state.live {
		used[r.served.Profile] = true
		add(r.entry.lookups, nil)
	}
	if s.state.layers != nil {
		add(s.state.layers.lookups, used)
	}
	if s.state.gateway != nil {
		add(s.state.gateway.lookups, nil)
	}
	return shown
}
