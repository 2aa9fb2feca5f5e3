package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// Errors of what an operator orders.
var (
	// ErrInvalidOrder: the order can not be given; the text says why.
	ErrInvalidOrder = errors.New("invalid order")
	// ErrUnknownProxy: no proxy of that id is connected, or has been of late.
	ErrUnknownProxy = errors.New("unknown proxy")
)

// StandingOrder is a state that an operator has set for a service until it is released or its time is over. It is
// kept over restarts of either side.
type StandingOrder struct {
	Service string `json:"service"`
	// Proxy is the one proxy that it is for; empty for all, those that join later included.
	Proxy string `json:"proxy,omitempty"`
	// State is ForcedOpen or Disabled.
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Left is how long it had yet to hold when it was saved last; zero if it has no end.
	Left time.Duration `json:"left,omitempty"`
	// NotSaved is true if it could not be saved: a restart before it is ends it.
	NotSaved bool `json:"-"`
	Order
}

type orderKey struct{ service, proxy string }

func (o StandingOrder) over(now time.Time) bool { return !o.Until.IsZero() && !now.Before(o.Until) }

// words says in words what the order is, and whose.
func (o StandingOrder) words() string {
	done := map[State]string{ForcedOpen: "forced open ", Disabled: "disabled "}[o.State]
	return done + o.Action.words()
}

// compare is by service and proxy.
func (o StandingOrder) compare(p StandingOrder) int {
	return cmp.Or(cmp.Compare(o.Service, p.Service), cmp.Compare(o.Proxy, p.Proxy))
}

// give gives the order to a machine, unless it has it.
func (o StandingOrder) give(m *Machine, now time.Time) []Transition {
	if given, ok := m.Order(); ok && given == o.Order && m.Told() == o.State {
		return nil
	}
	if o.State == Disabled {
		return m.Disable(now, o.Order)
	}
	return m.ForceOpen(now, o.Order)
}

// untilAfterLoad is when a loaded order ends, measured by this process's own clock: never after what its TTL had left when it
// was saved, whatever was done to the time of day since.
func (o StandingOrder) untilAfterLoad(now time.Time) time.Time {
	if o.Until.IsZero() {
		return o.Until
	}
	left := min(o.Until.Sub(now), o.Until.Sub(o.Since))
	if o.Left != 0 { // negative: it was over
		left = min(left, o.Left)
	}
	return now.Add(left)
}

// unsavedTTL is how long an order holds at most that cannot be saved.
const unsavedTTL = 15 * time.Minute

// maxTTL is how long an order can hold. Envoy takes what no duration of its own can hold for an error, and all that comes
// with it.
const maxTTL = 100 * 365 * 24 * time.Hour

// OrderRequest asks for a state. A service has one order for each proxy and one for all; the former goes first.
type OrderRequest struct {
	Service string
	// Proxy as in StandingOrder. Disabled is always for all proxies: it is a property of the cluster, which they share.
	Proxy string
	// State is ForcedOpen, Disabled, or Closed to release.
	State State
	// TTL is how long the order holds, at most maxTTL; 0 until it is released.
	TTL time.Duration
	Action
}

func (r OrderRequest) check() error {
	switch {
	case r.State != ForcedOpen && r.State != Disabled && r.State != Closed:
		return fmt.Errorf("%w: %q is not a state that can be ordered", ErrInvalidOrder, r.State)
	case r.State == Disabled && r.Proxy != "":
		return fmt.Errorf("%w: a breaker can be disabled on all proxies only, for they share the service's cluster", ErrInvalidOrder)
	case r.TTL < 0:
		return fmt.Errorf("%w: the time to live is %s and must not be negative", ErrInvalidOrder, r.TTL)
	case r.TTL > maxTTL:
		return fmt.Errorf("%w: the time to live is %s and must not be longer than 100 years; 0 is until it is released", ErrInvalidOrder, r.TTL)
	case r.State == Closed && r.TTL != 0:
		return fmt.Errorf("%w: a release has no time to live", ErrInvalidOrder)
	}
	return nil
}

// OrderResult is what an order did, proved by each proxy's own admin API.
type OrderResult struct {
	Service string
	State   State
	// Until is when it ends by itself; zero for never.
	Until time.Time
	// NotSaved is why it could not be saved, though it was carried out; empty if it was. A restart before it is saved takes
	// it back.
	NotSaved string
	// Proxies in ascending order of id: those that are connected and that it is for.
	Proxies []ProxyOrder
}

// ProxyOrder is one proxy's part in an order.
type ProxyOrder struct {
	Proxy string
	// Acknowledged is true if the proxy accepted what it was told.
	Acknowledged bool
	// State of the breaker there afterwards.
	State State
	// Note says in words what Envoy reported.
	Note string
	// Error says why the order could not be proved; empty if it was.
	Error string
}

// OK reports whether there is a proxy that it is for, and every one confirmed.
func (r OrderResult) OK() bool {
	return len(r.Proxies) > 0 && !slices.ContainsFunc(r.Proxies, func(p ProxyOrder) bool { return p.Error != "" })
}

// Order gives or releases an order. It is saved before it is carried out, and holds though no proxy is connected: those
// that join later follow it. One that cannot be saved is carried out for unsavedTTL at most.
func (b *Board) Order(ctx context.Context, req OrderRequest) (OrderResult, error) {
	svc, err := b.lookup(req.Service)
	if err != nil {
		return OrderResult{}, err
	}
	if err := req.check(); err != nil {
		return OrderResult{}, err
	}
	o, watchers, kept, err := b.give(ctx, svc, req)
	if err != nil {
		return OrderResult{}, err
	}
	// Without the lock: a proxy that does not answer is not to keep other orders back.
	result := OrderResult{
		Service: req.Service, State: req.State, Until: o.Until, NotSaved: kept.unsaved(), Proxies: make([]ProxyOrder, len(watchers)),
	}
	ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	each(watchers, func(i int, w *watcher) { result.Proxies[i] = w.prove(ctx, ackCtx, req.Service) })
	superseded := b.superseded(o)
	for i := range result.Proxies {
		switch p := &result.Proxies[i]; {
		case p.Error != "":
		case superseded:
			p.Note += "; since then another action has taken its place"
		case req.State == Closed && (p.State == ForcedOpen || p.State == Disabled):
			p.Note += "; the order for all proxies goes on"
		}
	}
	return result, nil
}

// superseded reports whether a later order or reset has taken the place of an order or of a release.
func (b *Board) superseded(o StandingOrder) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept, ok := b.orders[orderKey{o.Service, o.Proxy}]
	if o.State == Closed || ok {
		return ok && !kept.Since.Equal(o.Since)
	}
	return !o.over(time.Now())
}

// give keeps an order and carries it out, and returns it with the watchers of the proxies that it is for. A caller who has left gets nothing begun.
func (b *Board) give(ctx context.Context, svc *policy.Service, req OrderRequest) (StandingOrder, []*watcher, keptOrder, error) {
	b.ordering.Lock()
	defer b.ordering.Unlock()
	if err := ctx.Err(); err != nil {
		return StandingOrder{}, nil, keptOrder{}, err
	}
	now := time.Now()
	o := StandingOrder{Service: svc.Name, Proxy: req.Proxy, State: req.State, Since: now, Order: Order{Action: req.Action}}
	if req.TTL > 0 {
		o.Until = now.Add(req.TTL)
	}
	b.mu.Lock()
	connected := ids(b.sorted())
	_, had := b.orders[orderKey{req.Service, req.Proxy}]
	released := had || req.Proxy == "" && b.hasOrder(req.Service)
	b.mu.Unlock()
	if req.Proxy != "" && !had && !slices.Contains(connected, req.Proxy) && !b.opts.Known(req.Proxy) {
		return o, nil, keptOrder{}, UnknownProxy(req.Proxy, connected)
	}
	defer b.begin(svc.Name)()
	kept, err := b.keepOrder(&o, now)
	if err != nil {
		return o, nil, keptOrder{}, err
	}
	if req.State != Closed || released {
		kind := map[State]EventKind{ForcedOpen: WasForcedOpen, Disabled: WasDisabled, Closed: WasReleased}[req.State]
		b.record(Event{At: now, Kind: kind, Service: req.Service, Proxy: req.Proxy, Cause: req.Reason, Actor: req.Actor, Until: o.Until})
	}
	watchers := b.carryOut(o.Service, now, req.Action)
	if req.Proxy != "" {
		watchers = slices.DeleteFunc(watchers, func(w *watcher) bool { return w.proxy.ID != req.Proxy })
	}
	b.mu.Lock()
	b.notify([]string{o.Service}) // an order that replaces another of its kind is no transition
	b.mu.Unlock()
	return o, watchers, kept, nil
}

// keptOrder is what has become of an order that is the board's: the change of the cluster, nil if it stays, and why the
// orders could not be saved.
type keptOrder struct {
	change *xds.Change
	err    error
}

// unsaved says in words why what was ordered could not be saved; empty if it was.
func (k keptOrder) unsaved() string {
	err := k.err
	if k.change != nil {
		err = errors.Join(err, k.change.Unsaved)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// keepOrder saves the orders with one that is new, or without the one that is released, makes the cluster enforce or
// not, and then makes the orders the board's: if it fails, all is as it was. An order that cannot be saved gets an end. The
// caller must hold b.ordering.
func (b *Board) keepOrder(o *StandingOrder, now time.Time) (keptOrder, error) {
	b.mu.Lock()
	former := b.orders
	orders := maps.Clone(former)
	b.mu.Unlock()
	key := orderKey{o.Service, o.Proxy}
	if o.State == Closed {
		delete(orders, key)
		if o.Proxy == "" { // a release for all is one for each
			maps.DeleteFunc(orders, func(k orderKey, _ StandingOrder) bool { return k.service == o.Service })
		}
	} else {
		orders[key] = *o
	}
	// Those of other services whose time is over stay: expire has yet to carry out their end.
	maps.DeleteFunc(orders, func(k orderKey, x StandingOrder) bool { return k.service == o.Service && x.over(now) })
	kept := keptOrder{err: b.saveOrders(orders, now)}
	if latest := now.Add(unsavedTTL); kept.err != nil && o.State != Closed {
		if o.NotSaved = true; o.Until.IsZero() || o.Until.After(latest) {
			o.Until = latest
		}
		orders[key] = *o
		_ = b.saveOrders(orders, now) // with this end, once that works
	}
	var err error
	if kept.change, err = b.opts.Control.SetEnforcing(o.Service, !disables(orders, o.Service, now)); err != nil {
		return keptOrder{}, errors.Join(err, b.saveOrders(former, now))
	}
	b.mu.Lock()
	b.orders = orders
	b.noteEnforcing(o.Service, kept.change)
	b.mu.Unlock()
	select {
	case b.ordered <- struct{}{}:
	default:
	}
	return kept, nil
}

// disables reports whether a service is disabled by one of the orders.
func disables(orders map[orderKey]StandingOrder, service string, now time.Time) bool {
	o, ok := orders[orderKey{service, ""}]
	return ok && o.State == Disabled && !o.over(now)
}

func (b *Board) saveOrders(orders map[orderKey]StandingOrder, now time.Time) error {
	if b.opts.Memory == nil {
		return nil
	}
	list := slices.SortedFunc(maps.Values(orders), StandingOrder.compare)
	for i, o := range list {
		if !o.Until.IsZero() {
			list[i].Left = o.Until.Sub(now)
		}
	}
	if err := b.opts.Memory.Save(ordersDoc, list); err != nil {
		return fmt.Errorf("cannot save the overrides: %w", err)
	}
	return nil
}

// Orders returns the orders in force, in order of service and proxy.
func (b *Board) Orders() []StandingOrder {
	unsaved := b.opts.Memory != nil && b.opts.Memory.Unsaved(ordersDoc)
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var out []StandingOrder
	for _, o := range b.orders {
		if !o.over(now) {
			o.NotSaved = o.NotSaved && unsaved
			out = append(out, o)
		}
	}
	slices.SortFunc(out, StandingOrder.compare)
	return out
}

// order is orderFor now.
func (b *Board) order(service, proxy string) (StandingOrder, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orderFor(service, proxy, time.Now())
}

// orderFor returns the order that a service's breaker follows in a proxy. The caller must hold b.mu.
func (b *Board) orderFor(service, proxy string, now time.Time) (StandingOrder, bool) {
	for _, p := range []string{proxy, ""} {
		if o, ok := b.orders[orderKey{service, p}]; ok && !o.over(now) {
			return o, true
		}
	}
	return StandingOrder{}, false
}

// carryOut makes the machines of a service follow the orders, and returns the watchers of all proxies, in order of id. Those
// who watch hear of the transitions alone.
func (b *Board) carryOut(service string, now time.Time, by Action) []*watcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	svc := b.opts.Control.Set().Lookup(service)
	if svc == nil {
		return nil
	}
	watchers := b.sorted()
	for _, w := range watchers {
		w.obey(svc, now, by)
		w.enforce(now)
		w.wake()
	}
	return watchers
}

// obey makes the machine of a service follow its order, or releases it. The caller must hold board.mu.
func (w *watcher) obey(svc *policy.Service, now time.Time, by Action) {
	if o, ok := w.board.orderFor(svc.Name, w.proxy.ID, now); ok {
		m := w.machine(svc, now)
		w.happened(svc.Name, m, o.give(m, now))
	} else if m := w.machines[svc.Name]; m != nil {
		w.happened(svc.Name, m, m.Release(now, by))
	}
}
