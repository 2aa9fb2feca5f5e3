package breaker

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/breakwater/breakwater/xds"
)

// Memory keeps documents over a restart; *store.Dir does.
type Memory interface {
	// Load decodes a document, and reports whether there is one. A corrupt one is set aside and an error.
	Load(name string, v any) (found bool, err error)
	// Save replaces a document as a whole. What cannot be saved is saved as soon as that works.
	Save(name string, v any) error
	// Unsaved reports whether the document's last Save failed, and has not been made up for since.
	Unsaved(name string) bool
	// Append, Turn, Drop and Replay are for what is not to be lost until the next Save; see store.Dir.
	Append(name string, v any) error
	Turn(name string) error
	Drop(name string) error
	Replay(name string, take func(value []byte) error) error
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

// errParkedOrder says that parked breakers are those that have opened by themselves: orders are kept apart.
var errParkedOrder = errors.New("it has an operator's order")

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
		if err := (OrderRequest{Service: o.Service, Proxy: o.Proxy, State: o.State}).check(); err != nil || o.State == Closed {
			b.log.Error("an operator's order of before is lost", "service", o.Service, "proxy", o.Proxy, "state", o.State, "error", err)
			continue
		}
		o.Until = o.untilAfterLoad(time.Now())
		b.orders[orderKey{o.Service, o.Proxy}] = o
	}
	var kept []Event
	if _, err := b.opts.Memory.Load(eventsDoc, &kept); err != nil {
		b.log.Error("the events of before are lost", "error", err)
		kept = nil
	}
	b.events.restore(b.replay(kept))
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

// save saves the states, and the events unless told is the last of them.
func (b *Board) save(told *uint64) {
	breakers, kept := b.unkept()
	// What cannot be saved the store tries again by itself, so each is to be given to it.
	err := b.opts.Memory.Save(breakersDoc, breakers)
	if n := len(kept); n > 0 && kept[n-1].ID != *told {
		eventsErr := b.opts.Memory.Save(eventsDoc, kept)
		if eventsErr == nil {
			*told = kept[n-1].ID
		}
		err = errors.Join(err, eventsErr)
	}
	if err != nil {
		return // and the journal stays
	}
	if err := b.opts.Memory.Drop(breakersDoc); err != nil {
		b.log.Error("the journal of the breakers' states cannot be ended", "error", err)
	}
}

// unkept returns what is to be saved now. From here on the journal has what is not in it.
func (b *Board) unkept() (map[string]parked, []Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.opts.Memory.Turn(breakersDoc); err != nil {
		b.log.Error("the journal of the breakers' states cannot be turned", "error", err)
	}
	now := time.Now()
	breakers := map[string]parked{}
	for id, p := range b.parked {
		if now.After(p.At.Add(keptParked)) {
			delete(b.parked, id)
			continue
		}
		breakers[id] = parked{At: p.At, Snapshots: maps.Clone(p.Snapshots)} // it is saved without the lock
	}
	for id, j := range b.joined {
		if p := j.park(now); len(p.Snapshots) > 0 {
			breakers[id] = p
		}
	}
	for id, w := range b.watchers {
		if p := w.park(now); len(p.Snapshots) > 0 {
			breakers[id] = p
		}
	}
	kept, _, _ := b.events.after(0)
	if n := len(kept); n > 0 {
		b.journaled = kept[n-1].ID
	}
	return breakers, kept
}

// park returns what is to be parked of machines: those that have opened by themselves. What the proxy was told was
// renewed last at a time; if it was told nothing of breakers, there is no lease that could run out.
func (e *enforced) park(machines map[string]*Machine, acting map[string]bool, renewed, now time.Time) parked {
	p := parked{At: renewed, Snapshots: map[string]Snapshot{}}
	if len(e.breaker) == 0 {
		p.At = now
	}
	for name := range acting {
		if s := parkable(machines[name]); s != nil {
			p.Snapshots[name] = *s
		}
	}
	return p
}

// parkable returns what is to be parked of a machine that acts; nil if that is an operator's order, which is kept apart.
func parkable(m *Machine) *Snapshot {
	if _, ordered := m.Order(); ordered {
		return nil
	}
	s := m.Snapshot()
	return &s
}

// park returns what is to be parked of the watcher's proxy. The caller must hold board.mu.
func (w *watcher) park(now time.Time) parked {
	return w.told.park(w.machines, w.acting, w.renewed, now)
}

// park keeps what is parked of a proxy in place of what was. The caller must hold b.mu.
func (b *Board) park(proxy string, p parked) {
	delete(b.parked, proxy)
	if len(p.Snapshots) > 0 {
		b.parked[proxy] = p
	}
}

// leave stops the watcher of a proxy that is gone, or whose next stream has begun. The caller must hold b.mu.
func (b *Board) leave(w *watcher) {
	w.cancel()
	delete(b.watchers, w.proxy.ID)
	b.park(w.proxy.ID, w.park(time.Now()))
}

// left reports whether the watcher was stopped: the proxy is then another's, and nothing is to be concluded any
// more. The caller must hold board.mu.
func (w *watcher) left() bool { return w.board.watchers[w.proxy.ID] != w }

// Join returns what a proxy that connects is to be told before it takes traffic; see xds.ServerOptions.
func (b *Board) Join(p xds.Proxy) xds.ProxyLayers {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	// A proxy can be back before its old stream has ended, or before that was noticed.
	if w := b.watchers[p.ID]; w != nil {
		b.leave(w)
	} else if j, ok := b.joined[p.ID]; ok {
		b.park(p.ID, j.park(now))
	}
	before := b.parked[p.ID]
	machines := b.revive(p, now)
	acting := actingOf(machines)
	told := b.layers(machines, acting)
	if b.opts.Control.Set() != nil {
		b.journalJoin(p.ID, before, machines, acting, now)
	}
	b.joined[p.ID] = joined{machines: machines, told: told, at: now}
	return xds.ProxyLayers{Breaker: told.breakerLayer(now, b.opts.Lease), Operator: told.operatorLayer(now)}
}

// joining returns what a proxy that is not watched yet was given when it connected. The caller must hold b.mu.
func (b *Board) joining(p xds.Proxy) joined {
	j, ok := b.joined[p.ID]
	if !ok {
		j.machines = b.revive(p, time.Now())
	}
	delete(b.joined, p.ID)
	return j
}

// joinTime bounds the time from Join until the proxy is connected. That takes microseconds.
const joinTime = 10 * time.Second

// lapseJoined parks what was given to proxies that have joined, and are not connected: they have left before they were
// watched. The caller must hold b.mu.
func (b *Board) lapseJoined(connected map[string]xds.Proxy, now time.Time) {
	for id, j := range b.joined {
		if _, ok := connected[id]; !ok && now.Sub(j.at) > joinTime {
			delete(b.joined, id)
			b.park(id, j.park(now))
		}
	}
}

// joined is a proxy that has connected and is not watched yet: its machines, and what it was told when.
type joined struct {
	machines map[string]*Machine
	told     enforced
	at       time.Time
}

// park returns what is to be parked of the proxy.
func (j joined) park(now time.Time) parked {
	return j.told.park(j.machines, actingOf(j.machines), j.at, now)
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
		m, err := Restore(SettingsOf(svc), snapshot, now)
		if snapshot.Order != nil {
			err = errParkedOrder
		}
		if err != nil {
			b.log.Error("a breaker's state of before is lost: it starts closed", "proxy", proxy.ID, "service", name, "error", err)
			continue
		}
		if !now.Before(p.At.Add(b.opts.Lease)) {
			for _, t := range m.Lapse(now) {
				b.log.Warn("breaker changed", "service", name, "proxy", proxy.ID, "from", t.From, "to", t.To, "cause", t.Cause)
				b.metrics.count(name, t.To, m.settings.Shadow) // callers have felt it, though nobody saw it
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
			machines[svc.Name] = New(SettingsOf(svc), now, 0)
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
