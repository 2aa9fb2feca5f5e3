package xds

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Proxy is one Envoy as the ledger knows it.
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
	// Delta is true for incremental xDS, false for the state of the world.
	Delta bool
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

// Ledger keeps what every connected proxy was sent, has accepted and has rejected.
type Ledger struct {
	now func() time.Time

	mu sync.Mutex
	// proxies by node id; guarded by mu, and so is all that it holds.
	proxies map[string]*proxyState
	// changed is closed and replaced whenever the ledger changes; guarded by mu.
	changed chan struct{}
}

type proxyState struct {
	proxy  Proxy
	stream streamKey
	types  map[string]*typeState
}

// streamKey names a stream: go-control-plane counts the two protocols apart.
type streamKey struct {
	delta bool
	id    int64
}

type typeState struct {
	// pending are the responses that were not answered yet, by nonce.
	pending map[string]batch
	// accepted are the versions that the proxy has, by resource name.
	accepted map[string]string
	// inherited are the versions of what the proxy had when it connected.
	inherited map[string]string
	// rejected are the versions that the proxy refused, with its reason. An entry
	// lives until another version of that name is accepted.
	rejected map[string]rejection
	// built is the last state-of-the-world response that was made for the proxy.
	built map[string]string
}

// batch is what one response consists of.
type batch struct {
	versions map[string]string
	removed  []string
	// whole is true if the batch is all that the proxy is to have (state of the world).
	whole bool
}

type rejection struct {
	version string
	text    string
	at      time.Time
}

func newLedger(now func() time.Time) *Ledger {
	return &Ledger{now: now, proxies: map[string]*proxyState{}, changed: make(chan struct{})}
}

// Changed returns a channel that is closed at the next change.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// notify wakes those who wait on Changed. The caller must hold l.mu.
func (l *Ledger) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// connect notes a proxy's stream and returns the address of a proxy of the same id that
// was connected by another stream, if any: the new one takes its place.
func (l *Ledger) connect(key streamKey, p Proxy) (replaced string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.proxies[p.ID]; ok && old.stream != key {
		replaced = old.proxy.Address
	}
	p.Since = l.now()
	p.Delta = key.delta
	l.proxies[p.ID] = &proxyState{proxy: p, stream: key, types: map[string]*typeState{}}
	l.notify()
	return replaced
}

// disconnect forgets the proxy of that stream, and returns its id; empty if another
// stream has taken its place.
func (l *Ledger) disconnect(key streamKey) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.proxies {
		if p.stream == key {
			delete(l.proxies, id)
			l.notify()
			return id
		}
	}
	return ""
}

// ofType returns the state of one type. The caller must hold l.mu.
func (p *proxyState) ofType(typeURL string) *typeState {
	t, ok := p.types[typeURL]
	if !ok {
		t = &typeState{pending: map[string]batch{}, accepted: map[string]string{}, inherited: map[string]string{}, rejected: map[string]rejection{}}
		p.types[typeURL] = t
	}
	return t
}

// find returns the proxy of a stream, or nil if the stream was replaced. The caller
// must hold l.mu.
func (l *Ledger) find(key streamKey, id string) *proxyState {
	p, ok := l.proxies[id]
	if !ok || p.stream != key {
		return nil
	}
	return p
}

// subscribed notes that the proxy asks for a type, and the versions it says it has
// from an earlier stream.
func (l *Ledger) subscribed(key streamKey, id, typeURL string, has map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.find(key, id)
	if p == nil {
		return
	}
	_, known := p.types[typeURL]
	t := p.ofType(typeURL)
	for name, version := range has {
		t.accepted[name], t.inherited[name] = version, version
	}
	if !known || len(has) > 0 {
		l.notify()
	}
}

func (l *Ledger) sent(key streamKey, id, typeURL, nonce string, b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.find(key, id)
	if p == nil {
		return
	}
	p.ofType(typeURL).pending[nonce] = b
	l.notify()
}

// built notes the resources of a state-of-the-world response that is about to be sent.
func (l *Ledger) built(id, typeURL string, versions map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.proxies[id]; ok {
		p.ofType(typeURL).built = versions
	}
}

// sentWhole notes that the response that was built last is sent under a nonce.
func (l *Ledger) sentWhole(key streamKey, id, typeURL, nonce string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.find(key, id)
	if p == nil {
		return
	}
	t := p.ofType(typeURL)
	t.pending[nonce] = batch{versions: t.built, whole: true}
	l.notify()
}

// answered notes an ACK (text is empty) or a NACK of one response. It returns false if the
// nonce is not one that was sent on this stream.
func (l *Ledger) answered(key streamKey, id, typeURL, nonce, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.find(key, id)
	if p == nil {
		return false
	}
	t := p.ofType(typeURL)
	b, ok := t.pending[nonce]
	if !ok {
		return false
	}
	delete(t.pending, nonce)
	refused := b.refused(text)
	if b.whole && text == "" {
		clear(t.accepted)
	}
	for name, version := range b.versions {
		if refused[name] {
			if b.whole && t.accepted[name] == version {
				continue
			}
			t.rejected[name] = rejection{version: version, text: text, at: l.now()}
			continue
		}
		t.accepted[name] = version
		delete(t.rejected, name)
	}
	for _, name := range b.removed {
		delete(t.accepted, name)
		delete(t.inherited, name)
		delete(t.rejected, name)
	}
	l.notify()
	return true
}

// refused returns the names that a NACK of that text refuses. Envoy applies what is
// good in a response of clusters or listeners and lists the others as "name: reason".
// A response is refused as a whole if the reason names none of its resources.
func (b batch) refused(text string) map[string]bool {
	refused := map[string]bool{}
	if text == "" {
		return refused
	}
	for _, listed := range []func(name string) bool{
		func(name string) bool { return !b.whole && mentions(text, name+":") },
		func(name string) bool { return !b.whole && mentions(text, name) },
		func(string) bool { return true },
	} {
		for name := range b.versions {
			if listed(name) {
				refused[name] = true
			}
		}
		if len(refused) > 0 {
			break
		}
	}
	return refused
}

// mentions reports whether Envoy's text names the resource, as a whole word.
func mentions(text, name string) bool {
	for rest := text; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		before := i == 0 || !isNameByte(rest[i-1])
		after := i+len(name) == len(rest) || !isNameByte(rest[i+len(name)])
		if before && after {
			return true
		}
		rest = rest[i+1:]
	}
}

func isNameByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// held reports whether the proxy has rejected this very version.
func (l *Ledger) held(id, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.proxies[id]
	if !ok {
		return false
	}
	t, ok := p.types[typeURL]
	if !ok {
		return false
	}
	r, ok := t.rejected[name]
	return ok && r.version == version
}

// verdict is what the connected proxies made of one version of a resource.
type verdict struct {
	accepted int
	rejected int
	pending  int
	// text is the reason of one that rejected it, and by the ids of all that did.
	text string
	by   []string
	// first is when the first of them rejected it.
	first time.Time
}

// unanimous reports whether no proxy is still to answer and none has rejected.
func (v verdict) unanimous() bool { return v.pending == 0 && v.rejected == 0 }

func (l *Ledger) verdict(typeURL, name, version string) verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	var v verdict
	for id, p := range l.proxies {
		t := p.types[typeURL]
		switch {
		case t == nil:
			v.pending++
		case t.accepted[name] == version:
			v.accepted++
		case t.rejected[name].version == version:
			r := t.rejected[name]
			v.rejected++
			v.by = append(v.by, id)
			if v.first.IsZero() || r.at.Before(v.first) {
				v.first, v.text = r.at, r.text
			}
		default:
			v.pending++
		}
	}
	slices.Sort(v.by)
	return v
}

// inherited reports whether any connected proxy had a resource of this name when it
// connected, and has it still.
func (l *Ledger) inherited(typeURL, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.proxies {
		if t := p.types[typeURL]; t != nil && t.inherited[name] != "" {
			return true
		}
	}
	return false
}

// inherits reports whether a proxy has a resource of which it has accepted no other version
// than the one it had when it connected.
func (l *Ledger) inherits(id, typeURL, name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.proxies[id]
	if !ok || p.types[typeURL] == nil {
		return false
	}
	t := p.types[typeURL]
	return t.inherited[name] != "" && t.accepted[name] == t.inherited[name]
}

// accepts reports whether a proxy has accepted a version and no other since.
func (l *Ledger) accepts(id, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.proxies[id]
	return ok && p.types[typeURL] != nil && p.types[typeURL].accepted[name] == version
}

// Proxies returns the connected proxies in ascending order of id.
func (l *Ledger) Proxies() []Proxy {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Proxy, 0, len(l.proxies))
	for _, p := range l.proxies {
		q := p.proxy
		for typeURL, t := range p.types {
			r := ProxyResources{
				Type:     typeName(typeURL),
				TypeURL:  typeURL,
				Accepted: len(t.accepted),
				Version:  hashVersions(t.accepted),
				Pending:  len(t.pending) > 0,
			}
			for name, rej := range t.rejected {
				if r.LastNACK == nil || rej.at.After(r.LastNACK.Time) {
					r.LastNACK = &NACK{Resource: name, Version: rej.version, Text: rej.text, Time: rej.at}
				}
			}
			q.Resources = append(q.Resources, r)
		}
		slices.SortFunc(q.Resources, func(a, b ProxyResources) int { return strings.Compare(a.Type, b.Type) })
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b Proxy) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// acceptedBy returns for each connected proxy whether it has accepted that version.
func (l *Ledger) acceptedBy(typeURL, name, version string) map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]bool, len(l.proxies))
	for id, p := range l.proxies {
		t := p.types[typeURL]
		out[id] = t != nil && t.accepted[name] == version
	}
	return out
}

func (l *Ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.proxies)
}

// refusals returns every version that a connected proxy refused and has not replaced yet,
// with all the proxies that refused it.
func (l *Ledger) refusals() []Rejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	type key struct{ typeURL, name, version string }
	by := map[key]*Rejection{}
	for id, p := range l.proxies {
		for typeURL, t := range p.types {
			for name, r := range t.rejected {
				k := key{typeURL, name, r.version}
				if by[k] == nil {
					by[k] = &Rejection{Type: typeName(typeURL), TypeURL: typeURL, Resource: name, Version: r.version, Text: r.text, Since: r.at}
				}
				by[k].Proxies = append(by[k].Proxies, id)
			}
		}
	}
	out := make([]Rejection, 0, len(by))
	for _, r := range by {
		slices.Sort(r.Proxies)
		out = append(out, *r)
	}
	return out
}
