package policy

import (
	"maps"
	"slices"
)

// Change is one effective value that differs between two policies.
type Change struct {
	// Path is dotted, such as "breaker.failure_threshold".
	Path string
	// From and To are the values as in Setting; empty where there is none.
	From, To string
	// Position is where the newer policy sets the value or, if it sets it no longer, where
	// the older one did; zero for values from neither.
	Position Position
}

// Changes are the effective values in which two versions of a service differ, in ascending
// order of path. Either may be nil: then all values of the other are new, or gone. Without a
// difference in what is served there is none, whatever the profile.
func Changes(from, to *Service) []Change {
	if from != nil && to != nil && from.Digest == to.Digest {
		return nil
	}
	return changes(from.settings(), to.settings())
}

// GatewayChanges are the effective values in which two versions of the gateway differ, as
// Changes are.
func GatewayChanges(from, to *Gateway) []Change { return changes(from.settings(), to.settings()) }

func (g *Gateway) settings() []Setting {
	if g == nil {
		return nil
	}
	return g.Settings()
}

func (s *Service) settings() []Setting {
	if s == nil {
		return nil
	}
	return s.Settings()
}

func changes(from, to []Setting) []Change {
	older, newer := byPath(from), byPath(to)
	paths := maps.Clone(older)
	maps.Copy(paths, newer)
	var out []Change
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		was, is := older[path], newer[path]
		if was.Value == is.Value {
			continue
		}
		c := Change{Path: path, From: was.Value, To: is.Value, Position: is.Origin.Position}
		if c.Position == (Position{}) {
			c.Position = was.Origin.Position
		}
		out = append(out, c)
	}
	return out
}

func byPath(settings []Setting) map[string]Setting {
	out := make(map[string]Setting, len(settings))
	for _, s := range settings {
		out[s.Path] = s
	}
	return out
}
