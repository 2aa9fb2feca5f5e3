package breaker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// Control is what the board needs of the control plane; *xds.Publisher is one.
type Control interface {
	// Set is what is served; nil before the first is.
	Set() *policy.Set
	// Regenerate makes every proxy forget the ejections of a service or, if host is not
	// empty, of one of its hosts.
	Regenerate(service, host string) (xds.Change, error)
	// Await waits for every proxy to accept the change and says which did.
	Await(ctx context.Context, c xds.Change) map[string]bool
}

// Proxies tells which proxies are connected; *xds.Ledger does.
type Proxies interface {
	Proxies() []xds.Proxy
	// Changed is closed at the next change.
	Changed() <-chan struct{}
}

// Options of a Board. Control and Proxies are required.
type Options struct {
	Control Control
	Proxies Proxies
	// Log is the null logger if nil.
	Log hclog.Logger
	// Poll is the shortest time between two looks at a proxy; 500 ms if zero. With many
	// services it is longer: see pollInterval.
	Poll time.Duration
}

// Board knows the state of every breaker in every connected proxy.
type Board struct {
	opts Options
	log  hclog.Logger

	mu sync.Mutex
	// watchers by proxy id; guarded by mu.
	watchers map[string]*watcher
	// subscribers are told of changes; guarded by mu.
	subscribers map[*subscriber]struct{}
	// ended is true once Run has ended; guarded by mu.
	ended bool
}

// NewBoard returns a board that knows nothing until Run.
func NewBoard(opts Options) *Board {
	if opts.Log == nil {
		opts.Log = hclog.NewNullLogger()
	}
	if opts.Poll <= 0 {
		opts.Poll = 500 * time.Millisecond
	}
	return &Board{
		opts:        opts,
		log:         opts.Log,
		watchers:    map[string]*watcher{},
		subscribers: map[*subscriber]struct{}{},
	}
}

// Run looks at every connected proxy until ctx ends. It always returns nil.
func (b *Board) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer b.closeSubscribers()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		changed := b.opts.Proxies.Changed()
		b.follow(ctx, &running)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// follow starts a watcher for each proxy that is new, and stops those of proxies that are gone.
func (b *Board) follow(ctx context.Context, running *sync.WaitGroup) {
	connected := map[string]xds.Proxy{}
	for _, p := range b.opts.Proxies.Proxies() {
		connected[p.ID] = p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	touched := false
	for id, w := range b.watchers {
		if p, ok := connected[id]; !ok || !p.Since.Equal(w.proxy.Since) {
			w.cancel()
			delete(b.watchers, id)
			touched = true
		}
	}
	for id, p := range connected {
		if b.watchers[id] != nil {
			continue
		}
		wctx, cancel := context.WithCancel(ctx)
		w := newWatcher(b, p, cancel)
		b.watchers[id] = w
		touched = true
		running.Go(func() { w.run(wctx) })
	}
	if touched {
		b.notifyAll()
	}
}

// sorted returns the watchers in order of proxy id. The caller must hold b.mu.
func (b *Board) sorted() []*watcher {
	out := make([]*watcher, 0, len(b.watchers))
	for _, w := range b.watchers {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, c *watcher) int { return cmp.Compare(a.proxy.ID, c.proxy.ID) })
	return out
}

// Breakers returns every service's breaker in ascending order of service. It looks at the proxies
// first, so that the answer is of now; a proxy that does not answer soon is shown as it
// was seen last.
func (b *Board) Breakers(ctx context.Context) []Breaker {
	b.refresh(ctx)
	set := b.opts.Control.Set()
	if set == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Breaker, 0, len(set.Services))
	for _, svc := range set.Services {
		out = append(out, b.breaker(svc.Name))
	}
	return out
}

// Breaker returns one service's breaker, or ErrUnknownService.
func (b *Board) Breaker(ctx context.Context, service string) (Breaker, error) {
	if _, err := b.lookup(service); err != nil {
		return Breaker{}, err
	}
	b.refresh(ctx, service)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.breaker(service), nil
}

func (b *Board) lookup(service string) (*policy.Service, error) {
	if set := b.opts.Control.Set(); set != nil {
		if svc := set.Lookup(service); svc != nil {
			return svc, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknownService, service)
}

// refreshTimeout bounds how long a question waits for a proxy's admin API.
const refreshTimeout = 500 * time.Millisecond

// refresh looks at every proxy now: at these services, or at those that are due.
func (b *Board) refresh(ctx context.Context, services ...string) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	b.mu.Lock()
	watchers := b.sorted()
	b.mu.Unlock()
	each(watchers, func(_ int, w *watcher) { w.look(ctx, services...) })
}

// breaker composes the view of all proxies. The caller must hold b.mu.
func (b *Board) breaker(service string) Breaker {
	out := Breaker{Service: service, Proxies: make([]ProxyBreaker, 0, len(b.watchers))}
	for _, w := range b.sorted() {
		out.Proxies = append(out.Proxies, w.view(service))
	}
	out.State, out.Summary = summarize(out.Proxies)
	return out
}

// gravity orders the states: the gravest is the service's.
var gravity = []State{Open, Unknown, Closed}

// summarize is the state over all proxies, and that in words.
func summarize(proxies []ProxyBreaker) (State, string) {
	if len(proxies) == 0 {
		return Unknown, "no proxy is connected"
	}
	count := map[State]int{}
	for _, p := range proxies {
		count[p.State]++
	}
	for _, s := range gravity {
		if n := count[s]; n > 0 {
			plural := "proxies"
			if len(proxies) == 1 {
				plural = "proxy"
			}
			return s, fmt.Sprintf("%s on %d of %d %s", s, n, len(proxies), plural)
		}
	}
	return Unknown, "unknown"
}

// ProxyHealth says whether a proxy's admin API answers.
type ProxyHealth struct {
	// Reachable is true if it answered the last time it was asked.
	Reachable bool
	// Error says why not; empty if it is reachable or was not asked yet.
	Error string
}

// Health returns the health of every connected proxy's admin API, by proxy id.
func (b *Board) Health() map[string]ProxyHealth {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]ProxyHealth, len(b.watchers))
	for id, w := range b.watchers {
		out[id] = w.health()
	}
	return out
}
