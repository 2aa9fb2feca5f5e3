package xds

import (
	"slices"
	"strings"
	"time"
)

// verdict is what the connected proxies made of one version of a resource.
type verdict struct {
	accepted int
	rejected int
	pending  int
	// text is the reason of the first that rejected it, version what that one rejected, and by the
	// ids of all that did.
	text    string
	version string
	by      []string
	// first is when the first of them rejected it.
	first time.Time
	// asked is when the last of those that are still to answer was asked, as far as is known.
	asked time.Time
}

// unanimous reports whether no proxy is still to answer and none has rejected.
func (v verdict) unanimous() bool { return v.pending == 0 && v.rejected == 0 }

// reject adds a proxy that rejected it.
func (v *verdict) reject(proxy string, r rejection) {
	v.rejected++
	v.by = append(v.by, proxy)
	if v.first.IsZero() || r.at.Before(v.first) {
		v.first, v.text, v.version = r.at, r.text, r.version
	}
}

// await adds a proxy that is still to answer.
func (v *verdict) await(asked time.Time) {
	v.pending++
	if asked.After(v.asked) {
		v.asked = asked
	}
}

// verdict returns what the proxies made of a version. before returns a refusal that stands though the proxy may have been
// given another version since; nil: there are none. It must not call back.
func (l *Ledger) verdict(typeURL, name, version string, before func(proxy string) (rejection, bool)) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	var v verdict
	for _, s := range l.streams {
		t := s.types[typeURL]
		if t == nil {
			v.await(s.proxy.Since)
			continue
		}
		r := t.rejected[name]
		refused := r.version == version
		if before != nil && !refused {
			r, refused = before(s.proxy.ID)
		}
		switch {
		case t.accepted[name] == version:
			v.accepted++
		case refused:
			v.reject(s.proxy.ID, r)
		default:
			v.await(s.proxy.Since)
		}
	}
	slices.Sort(v.by)
	v.by = slices.Compact(v.by)
	return v
}

// answer is what one connected proxy has made of a resource. Where its streams differ, the one that has rejected something
// speaks for all.
type answer struct {
	proxy string
	// since is when the first of the proxy's streams connected: with its id, the name of this connection.
	since time.Time
	// accepted is the version that the proxy has; empty if none, or if its streams have several.
	accepted string
	// rejected is what it refused last, until it accepts a version.
	rejected rejection
	// pending are the versions that it was sent, or is about to be sent, and has not answered to.
	pending []string
}

// answers returns what every connected proxy has made of a resource, in ascending order of id.
func (l *Ledger) answers(typeURL, name string) []answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]answer, 0, len(l.proxies))
	for id, p := range l.proxies {
		a := answer{proxy: id, since: p.streams[0].proxy.Since}
		for i, s := range p.streams {
			a.add(s.types[typeURL], name, i == 0)
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b answer) int { return strings.Compare(a.proxy, b.proxy) })
	return out
}

// add adds what one stream has made of the resource; t is nil if it did not ask for the type.
func (a *answer) add(t *typeState, name string, first bool) {
	if t == nil {
		t = &typeState{}
	}
	accepted, rejected := t.accepted[name], t.rejected[name]
	switch {
	case first, a.rejected == (rejection{}) && rejected != (rejection{}):
		a.accepted, a.rejected = accepted, rejected
	case a.rejected == (rejection{}) && a.accepted != accepted:
		a.accepted = ""
	}
	for _, b := range t.pending {
		if version, ok := b.versions[name]; ok {
			a.pending = append(a.pending, version)
		}
	}
	if version, ok := t.built.versions[name]; ok {
		a.pending = append(a.pending, version)
	}
}
