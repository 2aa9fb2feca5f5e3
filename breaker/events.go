package breaker

import (
	"context"
	"slices"
	"sync"
	"time"
)

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	// Transitioned: a breaker went from one state to another in one proxy.
	Transitioned EventKind = "transition"
	// Lapsed: the lease of a proxy's breaker states ran out while Breakwater was away or cut off from it.
	Lapsed EventKind = "lapse"
	// HostEjected and HostReturned: Envoy has taken a host out of rotation in one proxy, or back.
	HostEjected  EventKind = "host_ejected"
	HostReturned EventKind = "host_returned"
	// The actions of operators.
	WasReset      EventKind = "reset"
	WasForcedOpen EventKind = "force_open"
	WasDisabled   EventKind = "disable"
	WasReleased   EventKind = "release"
	WasForgotten  EventKind = "forget"
)

// Event is one thing that happened to a breaker, or to a proxy.
type Event struct {
	// ID counts the events; it grows by one with each, over restarts too.
	ID   uint64    `json:"id"`
	At   time.Time `json:"at"`
	Kind EventKind `json:"kind"`
	// Service is empty if a proxy was forgotten.
	Service string `json:"service"`
	// Proxy in which it happened; empty for all.
	Proxy string `json:"proxy,omitempty"`
	// Host is the host that was ejected or has returned, or the one that was reset; empty otherwise.
	Host string `json:"host,omitempty"`
	// From and To are set in a transition.
	From State `json:"from,omitempty"`
	To   State `json:"to,omitempty"`
	// Cause in words; empty for an operator's action without a reason.
	Cause string `json:"cause,omitempty"`
	// Actor is who acted; empty in a transition.
	Actor string `json:"actor,omitempty"`
	// Until is when an order ends by itself; zero for never.
	Until time.Time `json:"until,omitzero"`
	// Shadow is true if the breaker only observes: nothing was enforced.
	Shadow bool `json:"shadow,omitempty"`
}

// maxEventID bounds the ids that are believed, far from where the count would overflow.
const maxEventID = 1 << 53

// keptEvents bounds the events that are kept.
const keptEvents = 1000

// events keeps the newest events and tells those who follow.
type events struct {
	mu sync.Mutex
	// All below is guarded by mu.

	last uint64
	kept []Event // from the oldest to the newest
	// grown is closed and replaced whenever an event is added.
	grown chan struct{}
	ended bool
}

func newEvents() *events { return &events{grown: make(chan struct{})} }

func (e *events) add(x Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	x.ID = e.last
	e.kept = append(e.kept, x)
	if n := len(e.kept) - keptEvents; n > 0 {
		e.kept = slices.Delete(e.kept, 0, n)
	}
	e.wake()
}

// wake wakes those who follow. The caller must hold e.mu.
func (e *events) wake() {
	close(e.grown)
	e.grown = make(chan struct{})
}

func (e *events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	e.wake()
}

// restore takes over what was kept in an earlier life. It must come before the first add.
func (e *events) restore(kept []Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = kept[max(0, len(kept)-keptEvents):]
	for i := range e.kept {
		// What is out of order was not written by this program. The numbers begin anew.
		if id := e.kept[i].ID; id <= e.last || id > maxEventID {
			for j := range e.kept {
				e.kept[j].ID = uint64(j + 1)
			}
			e.last = uint64(len(e.kept))
			return
		}
		e.last = e.kept[i].ID
	}
}

// after returns the events that came after one, and a channel that is closed at the next.
func (e *events) after(id uint64) (newer []Event, grown <-chan struct{}, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := len(e.kept)
	for i > 0 && e.kept[i-1].ID > id {
		i--
	}
	return slices.Clone(e.kept[i:]), e.grown, e.ended
}

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	// Service is the one service; empty for all.
	Service string
	// Limit is the number of the newest events; 0 for all that are kept.
	Limit int
}

func (f EventFilter) of(all []Event) []Event {
	if f.Service == "" {
		return all
	}
	return slices.DeleteFunc(all, func(x Event) bool { return x.Service != f.Service })
}

// Events returns what happened, from the oldest to the newest of the last 1,000 events.
func (b *Board) Events(f EventFilter) []Event {
	all, _, _ := b.events.after(0)
	all = f.of(all)
	if f.Limit > 0 && len(all) > f.Limit {
		all = all[len(all)-f.Limit:]
	}
	return all
}

// FollowEvents sends what Events returns and then each further event. The channel is closed when ctx or the board ends. One
// who receives too slowly misses events that are no longer kept.
func (b *Board) FollowEvents(ctx context.Context, f EventFilter) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		var last uint64
		for limit := f.Limit; ; limit = 0 {
			next, grown, ended := b.events.after(last)
			if n := len(next); n > 0 {
				last = next[n-1].ID
			}
			next = f.of(next)
			if limit > 0 && len(next) > limit {
				next = next[len(next)-limit:]
			}
			for _, x := range next {
				select {
				case out <- x:
				case <-ctx.Done():
					return
				}
			}
			if ended {
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// Forgot records that an operator has forgotten a proxy, and saves that before it returns: the proxy stays forgotten,
// whenever this process ends.
func (b *Board) Forgot(proxy string, by Action) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record(Event{At: time.Now(), Kind: WasForgotten, Proxy: proxy, Cause: by.Reason, Actor: by.Actor})
	b.writeDown(entry{})
}

// record keeps an event, and has it saved.
func (b *Board) record(x Event) {
	b.events.add(x)
	b.unsaved()
}
