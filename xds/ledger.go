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
	// left are the doubts about proxies that have no stream now, by id; guarded by mu.
	left map[string]leftDoubts
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
	// asked is true once the proxy has asked for the type.
	asked bool
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
	// doubtful are the names of a response of several resources that was rejected: Envoy has applied some of them, and says
	// neither which nor, when it reconnects, that it has them. Each is sent again, alone, whatever version the proxy claims.
	doubtful map[string]struct{}
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
	return &Ledger{now: now, streams: map[streamKey]*streamState{}, proxies: map[string]*proxyState{}, left: map[string]leftDoubts{}}
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
	s.doubt(l.left[p.ID].doubts)
	delete(l.left, p.ID)
	for _, o := range of.streams { // one of them may be the former connection of the same process
		s.doubt(o.doubts())
	}
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
	delete(l.streams, key)
	of := s.of
	of.streams = slices.DeleteFunc(of.streams, func(o *streamState) bool { return o == s })
	if len(of.streams) < 2 {
		of.shared = time.Time{}
	}
	if last = len(of.streams) == 0; last {
		delete(l.proxies, s.proxy.ID)
		l.leave(s)
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

// doubts are the names of the resources of which it is not known which version a proxy has, by type.
type doubts map[string]map[string]struct{}

func (d doubts) add(typeURL, name string) {
	if d[typeURL] == nil {
		d[typeURL] = map[string]struct{}{}
	}
	d[typeURL][name] = struct{}{}
}

// leftDoubts are those about a proxy that has no stream.
type leftDoubts struct {
	doubts
	since time.Time
}

// maxLeft bounds the proxies without a stream about which doubts are remembered.
const maxLeft = 1000

// doubts returns what is doubtful of the stream's proxy once the stream has ended: also what it has been sent together and has
// not answered to. The caller must hold the ledger's mu.
func (s *streamState) doubts() doubts {
	d := doubts{}
	for typeURL, t := range s.types {
		for name := range t.doubtful {
			d.add(typeURL, name)
		}
		for _, b := range t.pending {
			for name := range b.versions {
				if len(b.versions) > 1 {
					d.add(typeURL, name)
				}
			}
		}
	}
	return d
}

// doubt takes over what is doubtful of another stream. The caller must hold the ledger's mu.
func (s *streamState) doubt(d doubts) {
	for typeURL, names := range d {
		t := s.ofType(typeURL)
		for name := range names {
			t.doubtful[name] = struct{}{}
		}
	}
}

// leave remembers what is doubtful of a proxy whose last stream has ended; of too many proxies, it forgets the one that left
// first. The caller must hold l.mu.
func (l *Ledger) leave(s *streamState) {
	d := s.doubts()
	if len(d) == 0 {
		return
	}
	l.left[s.proxy.ID] = leftDoubts{d, l.now()}
	if len(l.left) <= maxLeft {
		return
	}
	first := s.proxy.ID
	for id, left := range l.left {
		if left.since.Before(l.left[first].since) {
			first = id
		}
	}
	delete(l.left, first)
}

// ofType returns the state of one type. The caller must hold l.mu.
func (s *streamState) ofType(typeURL string) *typeState {
	t, ok := s.types[typeURL]
	if !ok {
		t = &typeState{doubtful: map[string]struct{}{}, pending: map[string]batch{}, accepted: map[string]string{}, inherited: map[string]string{}, rejected: map[string]rejection{}}
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
	t := s.ofType(typeURL)
	if t.asked {
		return
	}
	t.asked = true
	for name, version := range has {
		if _, ok := t.doubtful[name]; !ok {
			t.accepted[name], t.inherited[name] = version, version
		}
	}
	l.changed(s, typeURL)
}

// sent notes that a response was sent under a nonce.
func (l *Ledger) sent(key streamKey, typeURL, nonce string, b batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.streams[key]; s != nil {
		t := s.ofType(typeURL)
		t.pending[nonce] = b
	}
}

// answered notes an ACK (text is empty) or a NACK of one response. What Envoy says in a NACK is kept for people; which
// resource is at fault is known once one is rejected that was sent alone. It returns false if the
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
	for name, version := range b.versions {
		switch {
		case text == "":
			t.accepted[name] = version
			delete(t.rejected, name)
			delete(t.doubtful, name)
		case len(b.versions) == 1:
			t.rejected[name] = rejection{version: version, sequence: b.sequence, text: shorten(text), at: l.now()}
			delete(t.doubtful, name)
		default:
			delete(t.accepted, name)
			delete(t.inherited, name)
			t.doubtful[name] = struct{}{}
		}
	}
	for _, name := range b.removed {
		delete(t.accepted, name)
		delete(t.inherited, name)
		delete(t.rejected, name)
		delete(t.doubtful, name)
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
