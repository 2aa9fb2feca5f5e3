package breaker

import (
	"context"
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

// Watch sends every breaker in the first element and in each further one those that changed since,
// in ascending order of service. A service that is no longer served comes once with Removed
// set. Between two elements is the time every at least: the changes of that time are one, as they are at its end, and the
// first change after a longer time comes at once. The channel is closed when ctx or the board ends.
func (b *Board) Watch(ctx context.Context, every time.Duration) <-chan []Breaker {
	s := &subscriber{pending: map[string]bool{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	out := make(chan []Breaker)
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
		told := map[string]bool{}
		next := b.Breakers(ctx)
		for {
			for _, x := range next {
				if x.Removed {
					delete(told, x.Service)
				} else {
					told[x.Service] = true
				}
			}
			select {
			case out <- next:
			case <-ctx.Done():
				return
			case <-s.done:
				return
			}
			pause := time.After(every)
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

// since returns what changed for a subscriber, and forgets it.
func (b *Board) since(s *subscriber, told map[string]bool) []Breaker {
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
	b.mu.Lock()
	watchers := b.sorted()
	b.mu.Unlock()
	var out []Breaker
	for _, name := range slices.Sorted(maps.Keys(pending)) {
		switch {
		case served[name]:
			out = append(out, b.compose(name, watchers))
		case told[name]:
			out = append(out, Breaker{Service: name, Removed: true})
		}
	}
	return out
}

// Served tells the board that another set is served: what is known of services that went is forgotten, so that they
// begin anew if they come again; new settings and the orders for services that came hold at once; and those who watch
// learn of it. It is to be called for every set, before the next is served.
func (b *Board) Served() {
	set := b.opts.Control.Set()
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
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
