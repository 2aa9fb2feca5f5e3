package xds

import (
	"slices"
	"strings"
	"time"
)

// answer is what one connected proxy has made of a resource. Where its streams differ, the one that has rejected something
// speaks for all.
type answer struct {
	proxy string
	// since is when the first of the proxy's streams connected: with its id, the name of this connection.
	since time.Time
	// accepted is the version that the proxy has; empty if none, or if its streams have several.
	accepted string
	// rejected is what it rejected last, until it accepts a version.
	rejected rejection
	// pending are the versions that it was sent and has not answered to.
	pending []string
}

// answers returns what every connected proxy has made of a resource, in ascending order of id.
func (l *Ledger) answers(typeURL, name string) []answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]answer, 0, len(l.proxies))
	for id, p := range l.proxies {
		out = append(out, p.answer(id, typeURL, name))
	}
	slices.SortFunc(out, func(a, b answer) int { return strings.Compare(a.proxy, b.proxy) })
	return out
}

// answer returns what the proxy has made of a resource. The caller must hold the ledger's mu.
func (p *proxyState) answer(id, typeURL, name string) answer {
	a := answer{proxy: id, since: p.streams[0].proxy.Since}
	for i, s := range p.streams {
		a.add(s.types[typeURL], name, i == 0)
	}
	return a
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
}

// lacking returns how many connected proxies have not accepted a version, and how many have. Those in without do not count.
func (l *Ledger) lacking(typeURL, name, version string, without func(proxy string) bool) (lack, have int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.proxies {
		switch {
		case without(id):
		case p.accepts(typeURL, name, version):
			have++
		default:
			lack++
		}
	}
	return lack, have
}

// accepts reports whether all streams of the proxy have accepted a version. The caller must hold the ledger's mu.
func (p *proxyState) accepts(typeURL, name, version string) bool {
	return !slices.ContainsFunc(p.streams, func(s *streamState) bool {
		t := s.types[typeURL]
		return t == nil || t.accepted[name] != version
	})
}
