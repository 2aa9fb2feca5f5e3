package breaker

import (
	"context"
	"time"

	"github.com/breakwater/breakwater/xds"
)

// Memory keeps documents over a restart; *store.Dir does.
type Memory interface {
	// Load decodes a document, and reports whether there is one. A corrupt one is set aside and an error.
	Load(name string, v any) (found bool, err error)
	// Save replaces a document as a whole.
	Save(name string, v any) error
}

// The names of the documents.
const (
	breakersDoc = "breakers"
	ordersDoc   = "orders"
	eventsDoc   = "events"
)

// parked are the breakers of one proxy that had opened by themselves, while the proxy is not connected.
type parked struct {
	// At is when their lease was renewed last.
	At        time.Time           `json:"at"`
	Snapshots map[string]Snapshot `json:"services"`
}

// keptParked is how long parked breakers are kept, so that their lapse can be told when the proxy is back.
const keptParked = 24 * time.Hour

// load takes over what an earlier life has kept. What is corrupt is lost, and said.
func (b *Board) load() {
	if b.opts.Memory == nil {
		return
	}
	breakers := map[string]parked{}
	if _, err := b.opts.Memory.Load(breakersDoc, &breakers); err != nil {
		b.log.Error("the breakers' states of before are lost: they start closed", "error", err)
	} else if breakers != nil {
		b.parked = breakers
	}
	var orders []StandingOrder
	if _, err := b.opts.Memory.Load(ordersDoc, &orders); err != nil {
		b.log.Error("the operators' orders of before are lost", "error", err)
		orders = nil
	}
	for _, o := range orders {
		b.orders[orderKey{o.Service, o.Proxy}] = o
	}
	var kept []Event
	if _, err := b.opts.Memory.Load(eventsDoc, &kept); err != nil {
		b.log.Error("the events of before are lost", "error", err)
		kept = nil
	}
	b.events.restore(kept)
}

// unsaved has the states and events saved soon.
func (b *Board) unsaved() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// keep saves the states and the events whenever they have changed, and at the end, until ctx ends.
func (b *Board) keep(ctx context.Context) {
	if b.opts.Memory == nil {
		return
	}
	var told uint64 // the last event that is saved
	for {
		select {
		case <-ctx.Done():
			b.save(&told)
			return
		case <-b.dirty:
			b.save(&told)
		}
	}
}

func (b *Board) save(told *uint64) {
	b.mu.Lock()
	now := time.Now()
	breakers := map[string]parked{}
	for id, p := range b.parked {
		if now.After(p.At.Add(keptParked)) {
			delete(b.parked, id)
			continue
		}
		breakers[id] = p
	}
	for id, w := range b.watchers {
		if p := w.park(); len(p.Snapshots) > 0 {
			breakers[id] = p
		}
	}
	b.mu.Unlock()
	if err := b.opts.Memory.Save(breakersDoc, breakers); err != nil {
		b.log.Error("the breakers' states cannot be saved", "error", err)
	}
	kept, _, _ := b.events.after(0)
	if n := len(kept); n == 0 || kept[n-1].ID == *told {
		return
	}
	if err := b.opts.Memory.Save(eventsDoc, kept); err != nil {
		b.log.Error("the events cannot be saved", "error", err)
		return
	}
	*told = kept[len(kept)-1].ID
}

// park returns the proxy's breakers that have opened by themselves. The caller must hold board.mu.
func (w *watcher) park() parked {
	p := parked{At: w.renewed, Snapshots: map[string]Snapshot{}}
	for name := range w.acting {
		if _, ordered := w.machines[name].Order(); !ordered {
			p.Snapshots[name] = w.machines[name].Snapshot()
		}
	}
	return p
}

// Join returns what a proxy that connects is to be told before it takes traffic; see xds.ServerOptions.
func (b *Board) Join(p xds.Proxy) xds.ProxyLayers {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	machines := b.joined[p.ID].machines
	if machines == nil {
		machines = b.revive(p, now)
	}
	told := b.layers(machines, actingOf(machines))
	b.joined[p.ID] = joined{machines: machines, told: told, at: now}
	return xds.ProxyLayers{Breaker: told.breakerLayer(now, b.opts.Lease), Operator: told.operatorLayer(now)}
}

// joined is a proxy that has connected and is not watched yet: its machines, and what it was told when.
type joined struct {
	machines map[string]*Machine
	told     enforced
	at       time.Time
}

// revive returns the machines of a proxy that connects: those that it was told to keep open go on if its lease can
// not have run out, and the operators' orders are applied. The caller must hold b.mu.
func (b *Board) revive(proxy xds.Proxy, now time.Time) map[string]*Machine {
	machines := map[string]*Machine{}
	set := b.opts.Control.Set()
	if set == nil {
		return machines
	}
	p := b.parked[proxy.ID]
	delete(b.parked, proxy.ID)
	for name, snapshot := range p.Snapshots {
		svc := set.Lookup(name)
		if svc == nil {
			continue
		}
		m, err := Restore(settingsFor(svc, proxy), snapshot, now)
		if err != nil {
			b.log.Error("a breaker's state of before is lost: it starts closed", "proxy", proxy.ID, "service", name, "error", err)
			continue
		}
		if !now.Before(p.At.Add(b.opts.Lease)) {
			for _, t := range m.Lapse(now) {
				b.log.Warn("breaker changed", "service", name, "proxy", proxy.ID, "from", t.From, "to", t.To, "cause", t.Cause)
				b.record(Event{At: now, Kind: Lapsed, Service: name, Proxy: proxy.ID, From: t.From, To: t.To, Cause: t.Cause, Shadow: m.settings.Shadow})
			}
		}
		machines[name] = m
	}
	for _, svc := range set.Services {
		o, ok := b.orderFor(svc.Name, proxy.ID, now)
		if !ok {
			continue
		}
		if machines[svc.Name] == nil {
			machines[svc.Name] = New(settingsFor(svc, proxy), now, 0)
		}
		o.give(machines[svc.Name], now)
	}
	return machines
}

// actingOf names the services whose machines are not closed.
func actingOf(machines map[string]*Machine) map[string]bool {
	acting := map[string]bool{}
	for name, m := range machines {
		if m.Told() != Closed {
			acting[name] = true
		}
	}
	return acting
}
