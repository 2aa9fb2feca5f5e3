package breaker

import (
	"context"
	"fmt"
	"time"

	"github.com/breakwater/breakwater/xds"
	"github.com/breakwater/breakwater/xds/translate"
)

// act is what is being done to a service's orders and its cluster. Whoever asks a proxy meanwhile sees a part of it.
type act struct {
	// steps counts the beginnings and the ends of what is done: it is odd while something is.
	steps uint64
	// last is the last change of whether the cluster ejects hosts, and at is when it was published; zero if there was none.
	last xds.Change
	at   time.Time
	// ending is true while an order is over whose end is yet to be carried out.
	ending bool
}

func (a act) underWay() bool { return a.steps%2 == 1 || a.ending }

// change is what a proxy may yet have to confirm before it does what it was told; nil if it is to have done so.
func (a act) change() *xds.Change {
	if time.Since(a.at) > ackTimeout {
		return nil
	}
	return &a.last
}

// begin notes that something is done to a service until the returned function is called. The caller must hold b.ordering.
func (b *Board) begin(service string) (end func()) {
	step := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		a := b.acts[service]
		a.steps++
		b.acts[service] = a
	}
	step()
	return step
}

// noteEnforcing notes a change of whether a service's cluster ejects hosts; nil: there was none. The caller must hold b.mu.
func (b *Board) noteEnforcing(service string, change *xds.Change) {
	if change == nil {
		return
	}
	a := b.acts[service]
	a.last, a.at = *change, time.Now()
	b.acts[service] = a
}

// act returns what is being done to a service. The end of an order that is yet to be carried out is under way.
func (b *Board) act(service string) act {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.acts[service]
	for key, o := range b.orders {
		a.ending = a.ending || key.service == service && o.over(time.Now())
	}
	return a
}

// prove waits until the proxy has what it was told of a service, and asks it; again if it was told something else
// meanwhile, for a breaker that is released can open at once, and another action or the end of an order can come.
func (w *watcher) prove(ctx, ackCtx context.Context, service string) ProxyOrder {
	for {
		w = w.now()
		before := w.board.act(service)
		p := w.proof(ctx, ackCtx, service, before.change())
		if p.Error == "" || ackCtx.Err() != nil {
			return p
		}
		if after := w.board.act(service); p.State == w.toldState(service) && after.steps == before.steps && !before.underWay() && !after.underWay() {
			return p
		}
	}
}

// now is the watcher of the same proxy by now, for another stream may have come to speak for it; w if there is none.
func (w *watcher) now() *watcher {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	if now := w.board.watchers[w.proxy.ID]; now != nil {
		return now
	}
	return w
}

func (w *watcher) proof(ctx, ackCtx context.Context, service string, change *xds.Change) ProxyOrder {
	b := w.board
	b.mu.Lock()
	why := w.err
	all, ok := b.orderFor(service, "", time.Now())
	disabled := ok && all.State == Disabled
	b.mu.Unlock()
	state := w.toldState(service)
	var changes []xds.Change
	if change != nil {
		changes = append(changes, *change)
	}
	p := ProxyOrder{Proxy: w.proxy.ID, State: state, Acknowledged: w.acknowledged(ackCtx, changes)}
	if !p.Acknowledged {
		p.Error = fmt.Sprintf("the proxy did not accept it within %s", ackTimeout)
		return p
	}
	if w.admin == nil {
		p.Error = "what the proxy did could not be seen: " + why.Error()
		return p
	}
	keys, err := w.admin.Runtime(ctx)
	if err != nil {
		p.Error = "what the proxy did could not be seen: " + err.Error()
		return p
	}
	enforces, err := w.admin.Enforces(ctx, service)
	if err != nil {
		p.Error = "what the proxy did could not be seen: " + err.Error()
		return p
	}
	shut := keys[translate.MaintenanceKey(service)] == "100"
	switch {
	case shut != (state == ForcedOpen || state == Open):
		p.Error = fmt.Sprintf("the breaker is %s, but Envoy's runtime has %s = %q", state, translate.MaintenanceKey(service), keys[translate.MaintenanceKey(service)])
	case enforces == disabled && !w.shadows(service):
		p.Error = fmt.Sprintf("the breaker is %s, but Envoy's cluster ejects hosts: %t", state, enforces)
	case shut:
		p.Note = "Envoy sends no request to the service"
	case state == Disabled:
		p.Note = "Envoy sends every request and ejects no host"
	default:
		p.Note = "Envoy sends requests and ejects hosts that fail"
	}
	return p
}

// shadows reports whether a service's breaker only observes, so that its cluster never ejects hosts.
func (w *watcher) shadows(service string) bool {
	svc := w.board.opts.Control.Set().Lookup(service)
	return svc != nil && svc.Breaker.Shadow
}
