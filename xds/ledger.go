package xds

import (
	"sync"
	"time"
)

// Ledger keeps what every connected proxy was sent, has accepted and has rejected.
type Ledger struct {
	now func() time.Time

	mu sync.Mutex
	// proxies by node id; guarded by mu, and so is all that it holds.
	proxies map[string]*proxyState
	// taken are the versions of the route tables that proxies have left with since drainTaken; guarded by mu.
	taken []string
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
	// built is the response that was made for the proxy and is not sent yet: in the state-of-the-world protocol of all types, in
	// the incremental one of route tables; nil if there is none.
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
		l.take(old)
	}
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
			l.take(p)
			delete(l.proxies, id)
			l.notify()
			return id
		}
	}
	return ""
}

// take notes which route tables a proxy that leaves may have: one that it was sent last it may have accepted, though its
// answer never came. The caller must hold l.mu.
func (l *Ledger) take(p *proxyState) {
	t := p.types[typeRoute]
	if t == nil {
		return
	}
	for _, version := range t.accepted {
		l.taken = remember(l.taken, version)
	}
	for _, b := range t.pending {
		for _, version := range b.versions {
			l.taken = remember(l.taken, version)
		}
	}
}

// drainTaken returns the versions of the route tables that proxies have left with since the last call, those that left
// last at the end.
func (l *Ledger) drainTaken() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.taken
	l.taken = nil
	return taken
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
	t := p.ofType(typeURL)
	t.pending[nonce], t.built = b, nil
	l.notify()
}

// built notes the resources of a response that is about to be sent.
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
	t.pending[nonce], t.built = batch{versions: t.built, whole: true}, nil
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

// typeOf returns a proxy's state of one type, or nil. The caller must hold l.mu.
func (l *Ledger) typeOf(id, typeURL string) *typeState {
	if p, ok := l.proxies[id]; ok {
		return p.types[typeURL]
	}
	return nil
}

// held reports whether the proxy has rejected this very version.
func (l *Ledger) held(id, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.typeOf(id, typeURL)
	return t != nil && t.rejected[name].version == version
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
	t := l.typeOf(id, typeURL)
	return t != nil && t.inherited[name] != "" && t.accepted[name] == t.inherited[name]
}

// accepts reports whether a proxy has accepted a version and no other since.
func (l *Ledger) accepts(id, typeURL, name, version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.typeOf(id, typeURL)
	return t != nil && t.accepted[name] == version
}

// connected reports whether a proxy of that id is.
func (l *Ledger) connected(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.proxies[id] != nil
}

func (l *Ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.proxies)
}
