package xds

import "context"

// Await waits until every connected proxy has accepted or refused the change or ctx ends, and says of each proxy
// whether it has accepted it. A proxy that the service is withheld from has not, and is not waited for.
func (p *Publisher) Await(ctx context.Context, c Change) map[string]bool {
	for {
		state, changed := p.ledger.confirmed(c)
		if changed == nil {
			return state
		}
		select {
		case <-ctx.Done():
			return state
		case <-changed:
		}
	}
}

// confirmed returns for each connected proxy whether it has accepted the change, and a channel that is closed when one that
// has not answered may have; nil if all have.
func (l *Ledger) confirmed(c Change) (by map[string]bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by = make(map[string]bool, len(l.proxies))
	for id, p := range l.proxies {
		want := c.of(id)
		if want == (target{}) {
			by[id] = false
			continue
		}
		reply := p.reply(c.typeURL, want)
		by[id] = reply == accepted
		if reply == unanswered && changed == nil {
			changed = p.answers.wait()
		}
	}
	return by, changed
}
