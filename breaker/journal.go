package breaker

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/breakwater/breakwater/xds/translate"
)

// entry is a line of the breakers' journal: what a proxy is about to be told, or events alone.
type entry struct {
	// Proxy is empty, and At zero, if there are only events.
	Proxy string    `json:"proxy"`
	At    time.Time `json:"at"`
	// Services are those for which it is told something else; null for one that is no longer to be parked.
	Services map[string]*Snapshot `json:"services"`
	// Events are those that led to it, and any other since the entry before.
	Events []Event `json:"events,omitempty"`
}

// journal writes down what the proxy is about to be told, if it is something else than before: the end of this process in the
// next instant is not to part the two. The caller must hold board.mu.
func (w *watcher) journal(want []translate.Enforcement, now time.Time) {
	w.board.journal(w.proxy.ID, differing(w.told.breaker, want), w.machines, w.acting, now)
}

// journalJoin writes down what a proxy that connects is no longer told of what was parked of it. The caller must hold b.mu.
func (b *Board) journalJoin(proxy string, before parked, machines map[string]*Machine, acting map[string]bool, now time.Time) {
	var ended []string
	for name := range before.Snapshots {
		if !acting[name] {
			ended = append(ended, name)
		}
	}
	b.journal(proxy, ended, machines, acting, now)
}

// journal writes down what becomes of the services that are changed for a proxy, if there are any. The caller must hold b.mu.
func (b *Board) journal(proxy string, changed []string, machines map[string]*Machine, acting map[string]bool, now time.Time) {
	if len(changed) == 0 {
		return
	}
	e := entry{Proxy: proxy, At: now, Services: make(map[string]*Snapshot, len(changed))}
	for _, name := range changed {
		e.Services[name] = nil
		if acting[name] {
			e.Services[name] = parkable(machines[name])
		}
	}
	b.writeDown(e)
}

// writeDown adds an entry to the journal, with all events that are not in it yet. The caller must hold b.mu.
func (b *Board) writeDown(e entry) {
	if b.opts.Memory == nil {
		return
	}
	e.Events, _, _ = b.events.after(b.journaled)
	if err := b.opts.Memory.Append(breakersDoc, e); err != nil {
		b.log.Error("what happens cannot be written down at once: it is lost if Breakwater ends before it is saved", "proxy", e.Proxy, "error", err)
		return
	}
	if n := len(e.Events); n > 0 {
		b.journaled = e.Events[n-1].ID
	}
}

// differing names the services for which two enforcements, each in ascending order of service, are not equal.
func differing(a, b []translate.Enforcement) []string {
	var names []string
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Service < b[0].Service:
			names, a = append(names, a[0].Service), a[1:]
		case len(a) == 0 || b[0].Service < a[0].Service:
			names, b = append(names, b[0].Service), b[1:]
		default:
			if a[0] != b[0] {
				names = append(names, a[0].Service)
			}
			a, b = a[1:], b[1:]
		}
	}
	return names
}

// replay takes over what the journal has beside the documents, and returns the events with those that are not in kept.
func (b *Board) replay(kept []Event) []Event {
	var last uint64
	if n := len(kept); n > 0 {
		last = kept[n-1].ID
	}
	err := b.opts.Memory.Replay(breakersDoc, func(value []byte) error {
		var e entry
		if err := json.Unmarshal(value, &e); err != nil {
			return fmt.Errorf("an entry of the breakers' journal: %w", err)
		}
		b.takeOver(e)
		for _, x := range e.Events {
			if x.ID > last && x.ID <= maxEventID {
				kept, last = append(kept, x), x.ID
			}
		}
		return nil
	})
	if err != nil {
		b.log.Error("some of the breakers' last changes of before are lost", "error", err)
	}
	b.journaled = last
	b.unsaved()
	return kept
}

// takeOver parks what a proxy was told by an entry. What is parked may be newer than the entry.
func (b *Board) takeOver(e entry) {
	if e.Proxy == "" {
		return
	}
	p := b.parked[e.Proxy]
	if p.Snapshots == nil {
		p.Snapshots = map[string]Snapshot{}
	}
	if e.At.After(p.At) {
		p.At = e.At
	}
	for name, s := range e.Services {
		if s == nil {
			delete(p.Snapshots, name)
		} else {
			p.Snapshots[name] = *s
		}
	}
	b.park(e.Proxy, p)
}
