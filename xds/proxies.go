package xds

import (
	"slices"
	"strings"
	"time"
)

// Proxy is one Envoy as the ledger knows it: of a node id with several streams, the one that connected last.
type Proxy struct {
	// ID is the node id and Cluster the node's cluster.
	ID, Cluster string
	// Version of Envoy, such as "1.40.0"; empty if the proxy did not say.
	Version string
	// Address from which the proxy reached Breakwater, ip:port.
	Address string
	// AdminAddress of its admin API, ip:port; empty if its metadata has no port.
	AdminAddress string
	// Since is when it connected.
	Since time.Time
	// Streams is the number of its streams: 1, but for several proxies with one id and in a hot restart.
	Streams int
	// Faults says in words what is wrong with it, the gravest first; nil if nothing is.
	Faults []string
	// Resources says what was accepted, in ascending order of type.
	Resources []ProxyResources
}

// ProxyResources is one proxy's state of one type.
type ProxyResources struct {
	// Type is the short name and TypeURL the full one.
	Type, TypeURL string
	// Accepted is the number of resources that the proxy has accepted, and Version the
	// hash over their versions.
	Accepted int
	Version  string
	// Pending is true while an answer is awaited.
	Pending bool
	// LastNACK is the last rejection; nil if there was none since the proxy connected, or
	// if all that it rejected has been replaced.
	LastNACK *NACK
}

// NACK is a proxy's rejection of one version of a resource.
type NACK struct {
	Resource, Version string
	// Text is what Envoy said.
	Text string
	Time time.Time
}

// Connected returns the connected proxies without their resources and faults, in ascending order of id. It costs nothing
// for what they have, so that it can be asked at each change.
func (l *Ledger) Connected() []Proxy {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Proxy, 0, len(l.proxies))
	for _, p := range l.proxies {
		out = append(out, p.summary())
	}
	slices.SortFunc(out, func(a, b Proxy) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// summary returns the proxy without its resources and faults. The caller must hold the ledger's mu.
func (p *proxyState) summary() Proxy {
	q := p.newest().proxy
	q.Streams = len(p.streams)
	return q
}

// Proxies returns the connected proxies in ascending order of id.
func (l *Ledger) Proxies() []Proxy {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	out := make([]Proxy, 0, len(l.proxies))
	for _, p := range l.proxies {
		q := p.summary()
		q.Faults = p.faults(now)
		for typeURL := range typeNames {
			if r, ok := p.resources(typeURL); ok {
				q.Resources = append(q.Resources, r)
			}
		}
		slices.SortFunc(q.Resources, func(a, b ProxyResources) int { return strings.Compare(a.Type, b.Type) })
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b Proxy) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// resources returns the proxy's state of one type: what its newest stream that asks for it has accepted, and what any
// stream awaits or has rejected. It reports false if none asks for the type. The caller must hold the ledger's mu.
func (p *proxyState) resources(typeURL string) (r ProxyResources, ok bool) {
	r = ProxyResources{Type: typeName(typeURL), TypeURL: typeURL}
	for _, s := range p.streams {
		t := s.types[typeURL]
		if t == nil {
			continue
		}
		ok = true
		if t.digest == "" {
			t.digest = hashVersions(t.accepted)
		}
		r.Accepted, r.Version = len(t.accepted), t.digest
		r.Pending = r.Pending || len(t.pending) > 0
		for name, rej := range t.rejected {
			if r.LastNACK == nil || rej.at.After(r.LastNACK.Time) {
				r.LastNACK = &NACK{Resource: name, Version: rej.version, Text: rej.text, Time: rej.at}
			}
		}
	}
	return r, ok
}

// refusals returns every version that a connected proxy refused and has not replaced yet,
// with all the proxies that refused it.
func (l *Ledger) refusals() []Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	type key struct{ typeURL, name, version string }
	by := map[key]*Rejection{}
	for _, s := range l.streams {
		for typeURL, t := range s.types {
			for name, r := range t.rejected {
				k := key{typeURL, name, r.version}
				if by[k] == nil {
					by[k] = &Rejection{Type: typeName(typeURL), TypeURL: typeURL, Resource: name, Version: r.version, Text: r.text, Since: r.at}
				}
				by[k].Proxies = append(by[k].Proxies, s.proxy.ID)
			}
		}
	}
	out := make([]Rejection, 0, len(by))
	for _, r := range by {
		slices.Sort(r.Proxies)
		r.Proxies = slices.Compact(r.Proxies)
		out = append(out, *r)
	}
	return out
}
