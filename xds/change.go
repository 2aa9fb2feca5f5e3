package xds

import "context"

// Change is one publication that proxies are to confirm. Each has a sequence number, in ascending order for one type: the
// ACK of a later one covers it.
type Change struct {
	typeURL string
	target
	// without are the proxies that it is withheld from.
	without map[string]bool
	// Generation of the cluster or host.
	Generation uint64
	// Unsaved is why the generation could not be saved; nil if it is. A restart before it is takes it back.
	Unsaved error
}

// target is a version of a resource. The zero value is none.
type target struct {
	name, version string
	sequence      uint64
}

// of returns what a proxy is to confirm; none if it is sent nothing.
func (c Change) of(proxy string) target {
	if c.without[proxy] {
		return target{}
	}
	return c.target
}

// reply is what a stream has made of a target.
type reply int

const (
	unanswered reply = iota
	accepted
	refused
)

// reply returns what the stream has made of a target: once it has answered to all up to that publication, it has accepted one
// that it has, and one after which it has accepted a later publication of the resource. Before, it may have the version of
// the target from an earlier time, and be about to get another one.
func (t *typeState) reply(want target) reply {
	if t == nil {
		return unanswered
	}
	rejected, ok := t.rejected[want.name]
	switch {
	case t.answered >= want.sequence && t.accepted[want.name] == want.version:
		return accepted
	case ok && (rejected.version == want.version || rejected.sequence >= want.sequence):
		return refused
	case t.answered >= want.sequence && t.accepted[want.name] != "":
		return accepted
	default:
		return unanswered
	}
}

// reply returns what a proxy's streams have made of a target: the least of their replies. The caller must hold the ledger's mu.
func (p *proxyState) reply(typeURL string, want target) reply {
	all := accepted
	for _, s := range p.streams {
		switch s.types[typeURL].reply(want) {
		case unanswered:
			return unanswered
		case refused:
			all = refused
		}
	}
	return all
}

// AwaitOn waits until one proxy has accepted the change on all its streams, and reports false if ctx ends before. The zero
// Change is accepted by all.
func (p *Publisher) AwaitOn(ctx context.Context, proxy string, c Change) bool {
	want := c.of(proxy)
	if want == (target{}) {
		return true
	}
	for {
		reply, changed := p.ledger.reply(proxy, c.typeURL, want)
		if reply == accepted {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// reply returns what a proxy has made of a target, and a channel that is closed when that can have changed.
func (l *Ledger) reply(proxy, typeURL string, want target) (reply, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.proxies[proxy]
	if p == nil {
		return unanswered, l.connections.wait()
	}
	return p.reply(typeURL, want), p.answers.wait()
}
