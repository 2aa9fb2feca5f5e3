package breaker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
	"github.com/breakwater/breakwater/xds/translate"
)

// ackTimeout bounds how long an action waits for a proxy to accept what it was sent. That takes milliseconds; a new EDS
// cluster that lacks its endpoints would take 15 s.
const ackTimeout = 5 * time.Second

// proofTimeout bounds what a reset asks a proxy's admin API for the proof. With refreshTimeout before it and ackTimeout a
// reset takes at most 8 s, whatever a proxy does.
const proofTimeout = 2500 * time.Millisecond

// Reset closes a service's breaker in every proxy: it ends the operators' orders, empties the windows, and makes the
// proxies forget the ejections of the service or of one of its hosts. It is proved by what each proxy's own admin API says
// afterwards. If no proxy has anything to clear, nothing is sent. An order that is stored after it goes before it.
func (b *Board) Reset(ctx context.Context, req ResetRequest) (ResetResult, error) {
	svc, err := b.lookup(req.Service)
	if err != nil {
		return ResetResult{}, err
	}
	if err := checkHost(svc, req); err != nil {
		return ResetResult{}, err
	}
	b.mu.Lock()
	watchers := b.sorted()
	b.mu.Unlock()
	result := ResetResult{Service: req.Service, Host: req.Host, Proxies: make([]ProxyReset, len(watchers))}
	ejected := lookBefore(ctx, req, watchers, result.Proxies)
	changes, err := b.giveReset(ctx, req, watchers, ejected, &result)
	if err != nil {
		return ResetResult{}, err
	}
	if !result.Pushed {
		for i, w := range watchers {
			b.clear(w.proxy.ID, 0, req)
			result.Proxies[i].Note = "no host is ejected and the breaker is closed: nothing to clear"
		}
		return result, nil
	}
	// It has begun, so that it is carried out though its caller leaves: only the proof is for the caller.
	pushCtx, cancelPush := context.WithTimeout(context.WithoutCancel(ctx), ackTimeout/2)
	defer cancelPush()
	ackCtx, cancelAck := context.WithTimeout(ctx, ackTimeout)
	defer cancelAck()
	each(watchers, func(i int, w *watcher) {
		for _, c := range changes {
			b.opts.Control.AwaitOn(pushCtx, w.proxy.ID, c)
		}
		b.clear(w.proxy.ID, result.Generation, req)
		w = w.now()
		p := &result.Proxies[i]
		p.Acknowledged = w.acknowledged(ackCtx, changes)
		if p.Acknowledged || p.Error == "" { // else it has been silent in both ways
			w.proveReset(ctx, req, p)
		}
	})
	for i := range result.Proxies { // after all waits: the answer says what holds then
		p := &result.Proxies[i]
		p.conclude(result.Generation)
		if o, ok := b.order(req.Service, p.Proxy); ok && p.Error == "" {
			p.Note += "; since then it was " + o.words()
		}
	}
	return result, nil
}

// lookBefore asks the proxies which hosts are ejected before a reset, and reports whether one has any or may have. It does
// not wait for long, since the others have yet to be told, and not at all for one that was silent when it was asked last.
func lookBefore(ctx context.Context, req ResetRequest, watchers []*watcher, proxies []ProxyReset) (ejected bool) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	each(watchers, func(i int, w *watcher) {
		p := &proxies[i]
		p.Proxy = w.proxy.ID
		if p.Error = w.silence(); p.Error == "" {
			p.Before, p.Error = w.ejected(ctx, req)
		}
		p.unseen = p.Error != ""
	})
	return slices.ContainsFunc(proxies, func(p ProxyReset) bool { return p.Error != "" || len(p.Before) > 0 })
}

// giveReset decides what a reset is to clear, ends the orders of the service and gives its cluster, or the one host, a new
// generation where something is ejected. A caller who has left gets nothing begun.
func (b *Board) giveReset(ctx context.Context, req ResetRequest, watchers []*watcher, ejected bool, result *ResetResult) ([]xds.Change, error) {
	b.ordering.Lock()
	defer b.ordering.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	ordered := b.hasOrder(req.Service)
	b.mu.Unlock()
	if len(watchers) == 0 && !ordered {
		return nil, ErrNoProxy
	}
	b.clearUnwatched(req.Service)
	result.Pushed = ejected || ordered
	for i, w := range watchers {
		from := w.toldState(req.Service)
		result.Proxies[i].From = from
		result.Pushed = result.Pushed || from != Closed
	}
	if !result.Pushed {
		return nil, nil
	}
	defer b.begin(req.Service)()
	now := time.Now()
	var changes []xds.Change
	var kept keptOrder
	if ordered {
		var err error
		if kept, err = b.keepOrder(&StandingOrder{Service: req.Service, State: Closed}, now); err != nil {
			return nil, err
		}
		if kept.change != nil {
			changes = append(changes, *kept.change)
		}
	}
	if ejected {
		change, err := b.opts.Control.Regenerate(req.Service, req.Host)
		switch {
		case errors.Is(err, xds.ErrNotPublished):
			return nil, fmt.Errorf("%w: %w", ErrUnknownService, err)
		case err != nil:
			return nil, err
		}
		changes = append(changes, change)
		result.Generation = change.Generation
		kept.change = &change // the last of the two tells of both: they are in one document
	}
	result.NotSaved = kept.unsaved()
	b.record(Event{At: now, Kind: WasReset, Service: req.Service, Host: req.Host, Cause: req.Reason, Actor: req.Actor})
	return changes, nil
}

// proveReset asks the proxy what it did.
func (w *watcher) proveReset(ctx context.Context, req ResetRequest, p *ProxyReset) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	if p.After, p.Error = w.ejected(ctx, req); p.Error != "" {
		return
	}
	if p.Error = w.shut(ctx, req.Service); p.Error == "" {
		w.look(ctx, req.Service)
	}
}

// hasOrder reports whether there is an order for a service. The caller must hold b.mu.
func (b *Board) hasOrder(service string) bool {
	for key := range b.orders {
		if key.service == service {
			return true
		}
	}
	return false
}

// clear closes a service's machine in a proxy, unless an order was stored after the reset: that goes before it.
func (b *Board) clear(proxy string, generation uint64, req ResetRequest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w, svc := b.watchers[proxy], b.opts.Control.Set().Lookup(req.Service)
	now := time.Now()
	switch {
	case svc == nil:
		return
	case w == nil: // it has left, or is back and not watched yet
		b.forgetBreaker(proxy, req.Service, now)
		return
	}
	if _, ordered := b.orderFor(svc.Name, proxy, now); ordered {
		w.obey(svc, now, req.Action)
	} else {
		m := w.machine(svc, now)
		w.happened(svc.Name, m, m.Reset(now, req.Action, generation))
	}
	// The reports that have arrived, and the next one, count attempts from before the reset.
	w.fresh[svc.Name] = now
	w.enforce(now)
	w.wake()
}

// clearUnwatched forgets a service's breaker in every proxy that is not watched: one that is not connected, or has just
// connected. It is closed when it is back.
func (b *Board) clearUnwatched(service string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, proxies := range []iter.Seq[string]{maps.Keys(b.parked), maps.Keys(b.joined)} {
		for _, proxy := range slices.Collect(proxies) {
			b.forgetBreaker(proxy, service, now)
		}
	}
}

// forgetBreaker forgets a service's breaker in a proxy that is not watched, but for an order. The caller must hold b.mu.
func (b *Board) forgetBreaker(proxy, service string, now time.Time) {
	if _, ordered := b.orderFor(service, proxy, now); !ordered {
		delete(b.joined[proxy].machines, service)
	}
	p := b.parked[proxy]
	if _, ok := p.Snapshots[service]; !ok {
		return
	}
	delete(p.Snapshots, service)
	b.park(proxy, p)
	b.writeDown(entry{Proxy: proxy, At: p.At, Services: map[string]*Snapshot{service: nil}})
	b.unsaved()
}

// toldState is what the proxy is told of a service's breaker: closed of one that only observes.
func (w *watcher) toldState(service string) State {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	m := w.machines[service]
	if m == nil {
		return Closed
	}
	if _, ordered := m.Order(); m.settings.Shadow && !ordered {
		return Closed
	}
	return m.Told()
}

// acknowledged waits until the proxy has accepted the changes and what it was told of its breakers.
func (w *watcher) acknowledged(ctx context.Context, changes []xds.Change) bool {
	w.board.mu.Lock()
	all := append(slices.Clone(changes), w.breakerChange, w.operatorChange)
	w.board.mu.Unlock()
	for _, c := range all {
		if !w.board.opts.Control.AwaitOn(ctx, w.proxy.ID, c) {
			return false
		}
	}
	return true
}

// shut returns in words that the proxy still keeps requests from the service though its breaker is closed, or why it
// could not be asked; empty if it does not.
func (w *watcher) shut(ctx context.Context, service string) string {
	if w.toldState(service) != Closed {
		return ""
	}
	keys, err := w.admin.Runtime(ctx)
	if err != nil {
		return err.Error()
	}
	if v, ok := keys[translate.MaintenanceKey(service)]; ok && v != "0" && w.toldState(service) == Closed {
		return fmt.Sprintf("Envoy's runtime has %s = %s", translate.MaintenanceKey(service), v)
	}
	return ""
}

// checkHost returns an error if the request names a host that can not be reset.
func checkHost(svc *policy.Service, req ResetRequest) error {
	if req.Host == "" {
		return nil
	}
	if !svc.Upstream.ByAddress() {
		return fmt.Errorf("%w: %s", ErrHostNotResettable, req.Service)
	}
	known := svc.Upstream.Addresses()
	if slices.Contains(known, req.Host) {
		return nil
	}
	return fmt.Errorf("%w: %s has %s, not %s", ErrUnknownHost, req.Service, list(known), req.Host)
}

// each does something for all watchers at once, and returns when that is done.
func each(watchers []*watcher, do func(i int, w *watcher)) {
	var wg sync.WaitGroup
	for i, w := range watchers {
		wg.Go(func() { do(i, w) })
	}
	wg.Wait()
}

// ejected asks the proxy which of the request's hosts are ejected, and returns in words why
// it could not be asked.
func (w *watcher) ejected(ctx context.Context, req ResetRequest) (addresses []string, failure string) {
	if w.admin == nil {
		return nil, w.silence()
	}
	status, err := w.admin.Clusters(ctx, req.Service)
	if err != nil {
		return nil, err.Error()
	}
	for _, c := range status.GetClusterStatuses() {
		if c.GetName() == req.Service {
			addresses = ejectedHosts(c)
		}
	}
	if req.Host != "" {
		addresses = slices.DeleteFunc(addresses, func(a string) bool { return a != req.Host })
	}
	return addresses, ""
}

// silence says in words why the proxy's admin API did not answer when it was asked last; empty if it did, or was not asked
// yet.
func (w *watcher) silence() string {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	return w.health().Error
}

// conclude says in words what the proxy reported.
func (p *ProxyReset) conclude(generation uint64) {
	switch {
	case p.Error != "":
		p.Error = "what the proxy did could not be seen: " + p.Error
	case !p.Acknowledged:
		p.Error = fmt.Sprintf("the proxy did not accept generation %d within %s", generation, ackTimeout)
	case len(p.After) > 0:
		p.Note = fmt.Sprintf("cleared, and ejected again since: %s", list(p.After))
	case p.unseen:
		p.Note = "cleared: what was ejected before could not be seen"
	case len(p.Before) > 0:
		p.Note = fmt.Sprintf("cleared: %s", list(p.Before))
	case p.From != Closed:
		p.Note = fmt.Sprintf("closed: the breaker was %s", p.From)
	default:
		p.Note = "no host was ejected here"
	}
}
