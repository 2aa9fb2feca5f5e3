package policy

import (
	"fmt"
	"maps"
	"slices"
)

// fallbacks judges the fallbacks that name another service. A document that was
// edited so that its fallback leads nowhere keeps its last good version; where there
// is none, and where it was the other service that went away, the service is served
// without its fallback.
func (b *builder) fallbacks() {
	b.fallbacksOfFaulty()
	reverted := map[string]bool{}
	for {
		wrong := b.wrongFallbacks()
		if len(wrong) == 0 {
			return
		}
		progress := false
		for _, name := range slices.Sorted(maps.Keys(wrong)) {
			r, last := b.next.live[name], b.prev.live[name]
			if last == nil || reverted[name] || r.base.Stale || last.entry.hash == r.entry.hash {
				continue
			}
			b.reportFallback(r, wrong[name])
			reverted[name], progress = true, true
			b.next.live[name] = b.lastGood(last)
		}
		if progress {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(wrong)) {
			r := *b.next.live[name]
			if !reverted[name] {
				b.reportFallback(&r, wrong[name])
			}
			if last := b.prev.live[name]; last != nil && last.base == r.base && last.served != last.base {
				r.served = last.served
			} else {
				r.served = r.base.withoutFallback()
			}
			b.next.live[name] = &r
		}
	}
}

// fallbacksOfFaulty judges the fallbacks of documents that have another error.
func (b *builder) fallbacksOfFaulty() {
	for _, name := range b.names {
		for _, e := range b.next.files[name].entries {
			if e.service != nil || e.doc == nil || !e.doc.Fallback.Service.Set {
				continue
			}
			f := &e.doc.Fallback.Service
			var message string
			switch {
			case !isLabel(f.V): // as settle says
			case f.V == e.name:
				message = "a service cannot be its own fallback"
			case b.claims[f.V] == nil:
				message = "there is no service " + f.says(f.V)
			}
			if message != "" {
				b.problems = append(b.problems, Problem{
					Severity: SeverityError, Position: e.inFile(f.Origin.Position), Service: e.name, Path: "fallback.service", Message: message,
				})
			}
		}
	}
}

// reportFallback reports where a service names its fallback. The last good version
// of a document, and that of defaults.yaml, has no place in the files as they are.
func (b *builder) reportFallback(r *record, message string) {
	s := r.served
	origin := s.Origins["fallback.service"]
	at := origin.Position
	switch {
	case s.Stale:
		at = Position{File: r.entry.file}
		if claims := b.claims[s.Name]; claims != nil {
			at = claims[0].inFile(claims[0].start)
		}
		message += " (the last good version of this service)"
	case origin.Layer != LayerService && b.next.layers.fault:
		at = s.Position
		message += " (set in the last good version of " + b.next.layers.file() + ")"
	}
	b.problems = append(b.problems, Problem{
		Severity: SeverityError, Position: at, Service: s.Name, Path: "fallback.service", Message: message,
	})
}

// wrongFallbacks gives, by service, what is wrong with the fallback that it names.
func (b *builder) wrongFallbacks() map[string]string {
	next := func(name string) string {
		if r := b.next.live[name]; r != nil && r.served.Fallback != nil {
			return r.served.Fallback.Service
		}
		return ""
	}
	wrong := map[string]string{}
	// done are the services whose chain of fallbacks is known to end.
	done := map[string]bool{}
	names := slices.Sorted(maps.Keys(b.next.live))
	suggestions := maxSuggestions
	for _, name := range names {
		var chain []string
		at := name
		for ; at != "" && !done[at] && wrong[at] == "" && !slices.Contains(chain, at); at = next(at) {
			chain = append(chain, at)
			if target := next(at); target != "" && b.next.live[target] == nil {
				others := names
				if suggestions--; suggestions < 0 {
					others = nil
				}
				wrong[at] = b.missingFallback(at, target, others)
			}
		}
		if i := slices.Index(chain, at); i >= 0 && wrong[at] == "" {
			for _, member := range chain[i:] {
				if next(member) == member {
					wrong[member] = "a service cannot be its own fallback"
					continue
				}
				s := b.next.live[member].served
				wrong[member] = fmt.Sprintf("fallbacks lead in a circle: %s falls back to %s, and so back to %[1]s", s.title(), s.says("fallback.service", next(member)))
			}
		}
		for _, member := range chain {
			done[member] = true
		}
	}
	return wrong
}

// maxSuggestions bounds how many names are looked for that may have been meant: each takes a look at every service.
const maxSuggestions = 100

// missingFallback says that there is no target for the fallback of name. others are what may have been meant.
func (b *builder) missingFallback(name, target string, others []string) string {
	plain := b.next.live[name].served.says("fallback.service", target)
	message := "there is no service " + plain
	switch {
	case b.claims[target] != nil:
		return message + " without an error"
	case plain != target:
		return message
	}
	others = slices.DeleteFunc(slices.Clone(others), func(other string) bool { return other == name })
	return message + string(meant(target, others))
}
