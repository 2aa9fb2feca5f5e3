package breaker

import (
	"context"
	"maps"
	"time"
)

// expire releases the orders whose time is over, until ctx ends. It begins with what has changed while Breakwater was
// away, and ends with what the orders have left then.
func (b *Board) expire(ctx context.Context) {
	defer b.saveLeft()
	if set := b.opts.Control.Set(); set != nil {
		for _, svc := range set.Services {
			b.settle(svc.Name)
		}
	}
	for {
		failed := false
		b.mu.Lock()
		next, over := time.Hour, map[string]bool{}
		for key, o := range b.orders {
			if o.Until.IsZero() {
				continue
			}
			if left := time.Until(o.Until); left > 0 {
				next = min(next, left)
			} else {
				over[key.service] = true
			}
		}
		b.mu.Unlock()
		for service := range over {
			failed = !b.settle(service) || failed
		}
		switch {
		case failed:
			next = min(next, settleAgain)
		case len(over) > 0:
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-b.ordered:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// saveLeft saves what the orders have left, if one has an end.
func (b *Board) saveLeft() {
	b.ordering.Lock()
	defer b.ordering.Unlock()
	b.mu.Lock()
	orders := maps.Clone(b.orders)
	b.mu.Unlock()
	for _, o := range orders {
		if !o.Until.IsZero() {
			_ = b.saveOrders(orders, time.Now()) // the store says so, and has tried again
			return
		}
	}
}

// settleAgain is the time until the end of an order that could not be carried out is tried again.
const settleAgain = time.Second

// settle carries out what is left of a service's orders, and forgets those that are over. It reports false if it
// failed: they are then kept, to be settled again.
func (b *Board) settle(service string) bool {
	b.ordering.Lock()
	defer b.ordering.Unlock()
	defer b.begin(service)()
	now := time.Now()
	b.mu.Lock()
	orders := maps.Clone(b.orders)
	b.mu.Unlock()
	before := len(orders)
	maps.DeleteFunc(orders, func(k orderKey, o StandingOrder) bool { return k.service == service && o.over(now) })
	b.carryOut(service, now, Action{Reason: "its time is over"})
	change, err := b.opts.Control.SetEnforcing(service, !disables(orders, service, now))
	if err != nil {
		b.log.Error("an order that is over cannot be carried out", "service", service, "error", err)
		return false
	}
	b.mu.Lock()
	b.noteEnforcing(service, change)
	b.mu.Unlock()
	if len(orders) == before {
		return true
	}
	_ = b.saveOrders(orders, now) // the store says so and tries again; after a restart it is over too
	b.mu.Lock()
	b.orders = orders
	b.notify([]string{service})
	b.mu.Unlock()
	return true
}

// succeed lets a machine whose order is over go on with the one for all proxies, if there is one: nothing is to come
// through in between. The caller must hold board.mu.
func (w *watcher) succeed(service string, m *Machine, now time.Time) {
	given, ordered := m.Order()
	if !ordered || given.Until.IsZero() || now.Before(given.Until) {
		return
	}
	if o, ok := w.board.orderFor(service, w.proxy.ID, now); ok {
		w.happened(service, m, o.give(m, now))
	}
}
