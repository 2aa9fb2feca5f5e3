package breaker

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// subscriber is one who watches. Changes are merged while it does not receive.
type subscriber struct {
	mu sync.Mutex
	// pending are the services that changed, and all is true if any can have; guarded by mu.
	pending map[string]bool
	all     bool
	// wake has room for one.
	wake chan struct{}
	// done is closed when the board ends.
	done chan struct{}
}

// WatchQuery says what a watcher asks for.
type WatchQuery struct {
	// Every is the least time between two elements; 0: none.
	Every time.Duration
	// Proxies asks for Breaker.Proxies too.
	Proxies bool
}

// Watch sends every breaker in the first element and in each further one those that changed since,
// in ascending order of service. A service that is no longer served comes once with Removed
// set. The changes between two elements are one, as they are when the element is read, and the first change after a
// longer time than Every comes at once. The channel is closed when ctx or the board ends.
func (b *Board) Watch(ctx context.Context, q WatchQuery) <-chan iter.Seq[Breaker] {
	s := &subscriber{pending: map[string]bool{}, all: true, wake: make(chan struct{}, 1), done: make(chan struct{})}
	out := make(chan iter.Seq[Breaker])
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		close(out)
		return out
	}
	b.subscribers[s] = struct{}{}
	b.mu.Unlock()
	go func() {
		defer close(out)
		defer func() {
			b.mu.Lock()
			delete(b.subscribers, s)
			b.mu.Unlock()
		}()
		b.refresh(ctx)
		told := map[string]bool{}
		next := b.since(s, told)
		for {
			select {
			case out <- b.compose(next, q.Proxies):
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
			pause := time.After(q.Every)
			for next = nil; len(next) == 0; {
				select {
				case <-s.wake:
				case <-ctx.Done():
					return
				case <-s.done:
					return
				}
				if pause != nil {
					select {
					case <-pause:
						pause = nil
					case <-ctx.Done():
						return
					case <-s.done:
						return
					}
				}
				next = b.since(s, told)
			}
		}
	}()
	return out
}

// since returns what changed for a subscriber, in ascending order, and forgets it. Told are the services that the
// subscriber knows, and becomes those that it knows then.
func (b *Board) since(s *subscriber, told map[string]bool) []listed {
	s.mu.Lock()
	pending, all := s.pending, s.all
	s.pending, s.all = map[string]bool{}, false
	s.mu.Unlock()
	served := map[string]bool{}
	if set := b.opts.Control.Set(); set != nil {
		for _, svc := range set.Services {
			served[svc.Name] = true
			if all {
				pending[svc.Name] = true
			}
		}
	}
	for name := range told {
		if !served[name] {
			pending[name] = true
		}
	}
	var out []listed
	for _, name := range slices.Sorted(maps.Keys(pending)) {
		switch {
		case served[name]:
			told[name] = true
			out = append(out, listed{service: name})
		case told[name]:
			delete(told, name)
			out = append(out, listed{service: name, removed: true})
		}
	}
	return out
}

// Served tells the board that another set is served: what is known of services that went is forgotten, so that they
// begin anew if they come again; new settings and the orders for services that came hold at once; and those who watch
// learn of it. It is to be called for every set, once it is served.
func (b *Board) Served() {
	b.mu.Lock()
	defer b.mu.Unlock()
	set, now := b.opts.Control.Set(), time.Now()
	for _, w := range b.watchers {
		w.serve(set, now)
	}
	for _, j := range b.joined {
		maps.DeleteFunc(j.machines, func(name string, _ *Machine) bool { return set.Lookup(name) == nil })
	}
	for _, p := range b.parked {
		maps.DeleteFunc(p.Snapshots, func(name string, _ Snapshot) bool { return set.Lookup(name) == nil })
	}
	b.metrics.follow(set)
	b.history.keep(set)
	b.notifyAll()
}

// notifyAll marks every service as changed. The caller must hold b.mu.
func (b *Board) notifyAll() { b.tell(nil, true) }

// notify marks services as changed for every subscriber. The caller must hold b.mu.
func (b *Board) notify(services []string) {
	if len(services) > 0 {
		b.tell(services, false)
	}
}

func (b *Board) tell(services []string, all bool) {
	for s := range b.subscribers {
		s.mu.Lock()
		s.all = s.all || all
		for _, name := range services {
			s.pending[name] = true
		}
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (b *Board) closeSubscribers() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	for s := range b.subscribers {
		close(s.done)
		delete(b.subscribers, s)
	}
}
