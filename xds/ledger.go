package xds

import (
	"slices"
	"sync"
	"time"
)

// Ledger keeps what every connected proxy was sent, has accepted and has rejected. A proxy is a node id. Several streams
// can carry one id: each has its own part of the ledger, and the end of one leaves those of the others.
type Ledger struct {
	now func() time.Time

	mu sync.Mutex
	// streams are the open streams that have named their proxy, and proxies those by node id; guarded by mu, and so is all
	// that they hold.
	streams map[streamKey]*streamState
	proxies map[string]*proxyState
	// taken are the versions of the route tables that proxies have left with since drainTaken; guarded by mu.
	taken []string
	// connections changes when a stream begins or ends, published when what the Publisher acts on does; guarded by mu.
	connections, published notice
}

// proxyState is a connected proxy.
type proxyState struct {
	// streams in the order in which they connected; never empty.
	streams []*streamState
	// shared is since when it has had more than one stream; zero if it has one.
	shared time.Time
	// answers changes when one of its streams has answered, begun or ended.
	answers notice
}

// newest is the stream that speaks for the proxy.
func (p *proxyState) newest() *streamState { return p.streams[len(p.streams)-1] }

// streamState is one stream of a proxy.
type streamState struct {
	key   streamKey
	proxy Proxy
	of    *proxyState
	types map[string]*typeState
}

type typeState struct {
	// pending are the responses that were not answered yet, by nonce.
	pending map[string]batch
	// accepted are the versions that the proxy has, by resource name, and digest is their hash; empty if it was not made since
	// they changed.
	accepted map[string]string
	digest   string
	// inherited are the versions of what the proxy had when it connected.
	inherited map[string]string
	// rejected are the versions that the proxy refused, with its reason. An entry
	// lives until another version of that name is accepted.
	rejected map[string]rejection
	// answered is the sequence number of the last publication to which the proxy has answered. All earlier ones are
	// answered too.
	answered uint64
	// built is the response of a route table that was made for the proxy and is not sent yet; the zero value if there is none.
	built batch
}

// batch is what one response consists of.
type batch struct {
	versions map[string]string
	removed  []string
	// sequence is the number of the last publication that the response covers.
	sequence uint64
}

type rejection struct {
	version string
	// sequence is that of the response that was refused.
	sequence uint64
	text     string
	at       time.Time
}

func newLedger(now func() time.Time) *Ledger {
	return &Ledger{now: now, streams: map[streamKey]*streamState{}, proxies: map[string]*proxyState{}}
}

// Changed returns a channel that is closed when a stream next begins or ends.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connections.wait()
}

// answersChanged returns a channel that is closed when next a stream begins or ends, or has answered to anything but a
// runtime layer.
func (l *Ledger) answersChanged() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published.wait()
}

// connect notes a stream of a proxy, and returns the addresses of the proxy's other streams.
func (l *Ledger) connect(key streamKey, p Proxy) (others []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.proxies[p.ID]
	if of == nil {
		of = &proxyState{}
		l.proxies[p.ID] = of
	}
	for _, s := range of.streams {
		others = append(others, s.proxy.Address)
	}
	s := &streamState{key: key, proxy: p, of: of, types: map[string]*typeState{}}
	of.streams = append(of.streams, s)
	if len(of.streams) == 2 {
		of.shared = p.Since
	}
	l.streams[key] = s
	l.streamsChanged(of)
	return others
}

// disconnect forgets a stream and returns the id of its proxy; empty if it had named none. last is true if that was the
// proxy's last stream.
func (l *Ledger) disconnect(key streamKey) (id string, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[key]
	if s == nil {
		return "", false
	}
	l.take(s)
	delete(l.streams, key)
	of := s.of
	of.streams = slices.DeleteFunc(of.streams, func(o *streamState) bool { return o == s })
	if len(of.streams) < 2 {
		of.shared = time.Time{}
	}
	if last = len(of.streams) == 0; last {
		delete(l.proxies, s.proxy.ID)
	}
	l.streamsChanged(of)
	return s.proxy.ID, last
}

// streamsChanged wakes those whom it concerns that a proxy's stream has begun or ended. The caller must hold l.mu.
func (l *Ledger) streamsChanged(of *proxyState) {
	of.answers.wake()
	l.connections.wake()
	l.published.wake()
}

// changed wakes those whom it concerns that a stream has answered. The caller must hold l.mu.
func (l *Ledger) changed(s *streamState, typeURL string) {
	s.of.answers.wake()
	if typeURL != typeRuntime {
		l.published.wake()
	}
}

// take notes which route tables a stream's proxy may leave with: one that it was sent last it may have accepted, though its
// answer never came. The caller must hold l.mu.
func (l *Ledger) take(s *streamState) {
	t := s.types[typeRoute]
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
func (s *streamState) ofType(typeURL string) *typeState {
	t, ok := s.types[typeURL]
	if !ok {
		t = &typeState{pending: map[string]batch{}, accepted: map[string]string{}, inherited: map[string]string{}, rejected: map[string]rejection{}}
		s.types[typeURL] = t
	}
	return t
}

// subscribed notes that a stream's proxy asks for a type, and the versions it says it has from an earlier stream. Only the
// first request for a type says that.
func (l *Ledger) subscribed(key streamKey, typeURL string, has map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[key]
	if s == nil {
		return
	}
	if s.types[typeURL] != nil {
		return
	}
	t := s.ofType(typeURL)
	for name, version := range has {
		t.accepted[name], t.inherited[name] = version, version
	}
	l.changed(s, typeURL)
}

// sent notes that a response was sent under a nonce.
func (l *Ledger) sent(key streamKey, typeURL, nonce string, b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.streams[key]; s != nil {
		t := s.ofType(typeURL)
		t.pending[nonce], t.built = b, batch{}
	}
}

// built notes a response that is about to be sent.
func (l *Ledger) built(key streamKey, typeURL string, b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.streams[key]; s != nil {
		s.ofType(typeURL).built = b
	}
}

// answered notes an ACK (text is empty) or a NACK of one response. It returns false if the
// nonce is not one that was sent on this stream.
func (l *Ledger) answered(key streamKey, typeURL, nonce, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[key]
	if s == nil {
		return false
	}
	t := s.ofType(typeURL)
	b, ok := t.pending[nonce]
	if !ok {
		return false
	}
	delete(t.pending, nonce)
	t.digest = ""
	refused := b.refused(text)
	reason := shorten(text)
	for name, version := range b.versions {
		if refused[name] {
			t.rejected[name] = rejection{version: version, sequence: b.sequence, text: reason, at: l.now()}
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
	t.answered = max(t.answered, b.sequence)
	l.changed(s, typeURL)
	return true
}

// upToDate notes that nothing is left to send to a stream of what was published up to a sequence number.
func (l *Ledger) upToDate(key streamKey, typeURL string, sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[key]
	if s == nil {
		return
	}
	if t := s.ofType(typeURL); t.answered < sequence && len(t.pending) == 0 {
		t.answered = sequence
		s.of.answers.wake()
	}
}
