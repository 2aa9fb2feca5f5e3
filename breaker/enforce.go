package breaker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
	"github.com/breakwater/breakwater/xds/translate"
)

// The runtime keys that make a renewed layer differ. Envoy makes nothing of them.
const (
	breakerLease  = "breakwater.lease.breaker"
	operatorLease = "breakwater.lease.operator"
)

// machine returns the service's machine, with the settings of the policy. The caller must hold board.mu.
func (w *watcher) machine(svc *policy.Service, now time.Time) *Machine {
	settings := SettingsOf(svc)
	m := w.machines[svc.Name]
	if m == nil {
		m = New(settings, now, 0)
		w.machines[svc.Name] = m
	} else if m.settings != settings {
		m.Configure(settings)
	}
	return m
}

// onlyObserves reports whether a service's breaker, which has observed nothing yet, will act on nothing in this proxy. The
// caller must hold board.mu.
func (w *watcher) onlyObserves(service string) bool {
	set := w.board.opts.Control.Set()
	if set == nil {
		return false
	}
	svc := set.Lookup(service)
	return svc != nil && SettingsOf(svc).Shadow
}

// observe lets a service's machine observe. The caller must hold board.mu.
func (w *watcher) observe(svc *policy.Service, o Observation, now time.Time) {
	m := w.machine(svc, now)
	w.succeed(svc.Name, m, now)
	o.At = now
	waited := m.Waiting()
	w.happened(svc.Name, m, m.Observe(o))
	if m.Waiting() != waited {
		w.board.notify([]string{svc.Name})
	}
}

// happened records a machine's transitions. The caller must hold board.mu.
func (w *watcher) happened(service string, m *Machine, transitions []Transition) {
	if m.Told() == Closed {
		delete(w.acting, service)
	} else {
		w.acting[service] = true
	}
	if q := m.Question(); q != 0 {
		w.questions[service] = q
	} else {
		delete(w.questions, service)
	}
	if len(transitions) == 0 {
		return
	}
	b := w.board
	for _, t := range transitions {
		b.log.Info("breaker changed", "service", service, "proxy", w.proxy.ID, "from", t.From, "to", t.To, "cause", t.Cause)
		shadow := m.settings.Shadow && !t.ordered()
		b.metrics.count(service, t.To, shadow)
		b.record(Event{At: t.At, Kind: Transitioned, Service: service, Proxy: w.proxy.ID, From: t.From, To: t.To, Cause: t.Cause, Shadow: shadow})
	}
	b.notify([]string{service})
}

// serve adapts the machines to the services that are served, and to the orders. The caller must hold board.mu.
func (w *watcher) serve(set *policy.Set, now time.Time) {
	if set == nil {
		return
	}
	for name := range w.machines {
		svc := set.Lookup(name)
		if svc == nil {
			w.forget(name)
			continue
		}
		if _, ordered := w.machine(svc, now).Order(); ordered {
			w.obey(svc, now, Action{}) // it can have been released since the proxy joined
		}
	}
	for key := range w.board.orders {
		if svc := set.Lookup(key.service); svc != nil {
			w.obey(svc, now, Action{})
		}
	}
	w.enforce(now)
	w.wake()
}

// enforce tells the proxy what its machines permit, if that has changed or its lease is to be renewed, and returns the
// services of which layer 1 is to be asked. The caller must hold board.mu.
func (w *watcher) enforce(now time.Time) []string {
	want := w.board.layers(w.machines, w.acting)
	lease := w.board.opts.Lease
	if due := !now.Before(w.renewed.Add(lease / 4)); !slices.Equal(want.breaker, w.told.breaker) || due && len(want.breaker) > 0 {
		w.journal(want.breaker, now)
		if c, ok := w.board.opts.Layers.SetBreakerLayer(w.proxy.ID, want.breakerLayer(now, lease)); ok {
			w.told.breaker, w.renewed, w.breakerChange = want.breaker, now, c
			w.board.unsaved()
		}
	}
	if !slices.Equal(want.operator, w.told.operator) || !want.until.Equal(w.told.until) {
		if c, ok := w.board.opts.Layers.SetOperatorLayer(w.proxy.ID, want.operatorLayer(now)); ok {
			w.told.operator, w.told.until, w.operatorChange = want.operator, want.until, c
		}
	}
	return slices.Sorted(maps.Keys(w.questions))
}

// forget forgets a service that is no longer served. The caller must hold board.mu.
func (w *watcher) forget(service string) {
	delete(w.services, service)
	delete(w.machines, service)
	delete(w.acting, service)
	delete(w.questions, service)
	delete(w.fresh, service)
}

// enforced is what one proxy is told.
type enforced struct {
	breaker, operator []translate.Enforcement
	// until is when the last of the operator's orders ends; zero if one has no end.
	until time.Time
}

// breakerLayer is the layer of what Breakwater has concluded.
func (e *enforced) breakerLayer(now time.Time, lease time.Duration) xds.Layer {
	l := xds.Layer{Keys: translate.Enforce(e.breaker, breakerLease, now.UnixMilli())}
	if len(e.breaker) > 0 {
		l.TTL = lease
	}
	return l
}

// operatorLayer is the layer of the operators' orders. It has one TTL, so while Breakwater is away each order holds as
// long as the one that ends last.
func (e *enforced) operatorLayer(now time.Time) xds.Layer {
	l := xds.Layer{Keys: translate.Enforce(e.operator, operatorLease, now.UnixMilli())}
	if len(e.operator) > 0 && !e.until.IsZero() {
		l.TTL = max(e.until.Sub(now), time.Second)
	}
	return l
}

// layers is what machines permit. The caller must hold b.mu.
func (b *Board) layers(machines map[string]*Machine, acting map[string]bool) enforced {
	var e enforced
	set := b.opts.Control.Set()
	if set == nil {
		return e
	}
	endless := false
	for _, name := range slices.Sorted(maps.Keys(acting)) {
		m, svc := machines[name], set.Lookup(name)
		permit := m.Permit()
		if svc == nil || !permit.Limited {
			continue
		}
		t := translate.Enforcement{Service: name, Max: permit.Max, MaxPending: permit.Max, Fallback: svc.Fallback != nil}
		// Half-open is not to raise the limits of the policy. None is 0.
		if l := svc.Limits; l != (policy.Limits{}) {
			t.Max, t.MaxPending = min(t.Max, uint64(l.MaxRequests)), min(t.MaxPending, uint64(l.MaxPendingRequests))
		}
		order, ordered := m.Order()
		switch {
		case !ordered && m.settings.Shadow:
		case !ordered:
			e.breaker = append(e.breaker, t)
		default:
			e.operator = append(e.operator, t)
			endless = endless || order.Until.IsZero()
			if order.Until.After(e.until) {
				e.until = order.Until
			}
		}
	}
	if endless {
		e.until = time.Time{}
	}
	return e
}

// control deals with a proxy's reports and its machines' deadlines until ctx ends.
func (w *watcher) control(ctx context.Context) {
	defer close(w.ended)
	w.overflows.base(ctx, w.admin)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-w.reports:
			w.take(ctx, r)
		case <-w.stir:
		case <-timer.C:
		}
		timer.Reset(w.tick(ctx))
	}
}

// tick lets happen what is due, and returns the time until something is next.
func (w *watcher) tick(ctx context.Context) time.Duration {
	now := time.Now()
	w.board.mu.Lock()
	if w.left() {
		w.board.mu.Unlock()
		return time.Hour
	}
	for name := range w.acting {
		m := w.machines[name]
		if at := m.Wake(); !at.IsZero() && !now.Before(at) {
			w.succeed(name, m, now)
			w.happened(name, m, m.Tick(now))
		}
	}
	asked := w.enforce(now)
	w.board.mu.Unlock()
	w.ask(ctx, asked)

	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	next := time.Hour
	for name := range w.acting {
		if at := w.machines[name].Wake(); !at.IsZero() {
			next = min(next, time.Until(at))
		}
	}
	return max(next, time.Millisecond)
}

// renewLeases renews what the proxies were told, until ctx ends. It has nothing to wait for, unlike control, which a proxy
// whose admin API hangs can hold up for longer than a lease.
func (b *Board) renewLeases(ctx context.Context) {
	tick := time.NewTicker(max(b.opts.Lease/12, time.Millisecond)) // due at a quarter, it is done at a third
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		b.mu.Lock()
		watchers := b.sorted()
		b.mu.Unlock()
		for _, w := range watchers {
			w.renew()
		}
	}
}

// renew renews the lease of what the proxy was told, if there is one and it is due.
func (w *watcher) renew() {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	if len(w.told.breaker) > 0 && !w.left() {
		w.enforce(time.Now())
	}
}

// ask looks at services of which machines want to know what layer 1 does.
func (w *watcher) ask(ctx context.Context, services []string) {
	if len(services) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	w.look(ctx, services...)
}

// wake lets the control loop look at its deadlines anew.
func (w *watcher) wake() {
	select {
	case w.stir <- struct{}{}:
	default:
	}
}
