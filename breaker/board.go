package breaker

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

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
	// AwaitOn waits for a proxy to accept the change, and reports whether it did.
	AwaitOn(ctx context.Context, proxy string, c xds.Change) bool
	// SetEnforcing says whether hosts of the service are to be ejected. The change is nil if nothing has to.
	SetEnforcing(service string, enforcing bool) (*xds.Change, error)
	// Rejections are the resources that proxies have rejected and that are not yet replaced.
	Rejections() []xds.Rejection
}

// Layers tells single proxies what is to be enforced; *xds.Server does. They report false if the proxy is not
// connected.
type Layers interface {
	SetBreakerLayer(proxy string, l xds.Layer) (xds.Change, bool)
	SetOperatorLayer(proxy string, l xds.Layer) (xds.Change, bool)
}

// Proxies tells which proxies are connected; *xds.Ledger does.
type Proxies interface {
	// Connected need not say what resources they have.
	Connected() []xds.Proxy
	// Changed is closed when one next connects or disconnects.
	Changed() <-chan struct{}
}

// Options of a Board. Control, Proxies and Layers are required.
type Options struct {
	Control Control
	Proxies Proxies
	Layers  Layers
	// Known reports whether a proxy that is not connected has been of late; nil: none has.
	Known func(proxy string) bool
	// Memory keeps states, orders and events over a restart; nil: they are forgotten.
	Memory Memory
	// Lease is how long a proxy keeps an open breaker open if it hears nothing more from Breakwater; 15 s if zero. It
	// is renewed when a third of that is over at the latest.
	Lease time.Duration
	// Log is the null logger if nil.
	Log hclog.Logger
	// Registerer of the metrics; nil: none.
	Registerer prometheus.Registerer
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
	// joined are the proxies that have connected and have no watcher yet, and parked what is known of those that are
	// not connected; guarded by mu.
	joined map[string]joined
	parked map[string]parked
	// journaled is the last event that is in the journal, or collected to be saved.
	journaled uint64
	// orders are those of the operators; guarded by mu, and changed with ordering held only.
	orders map[orderKey]StandingOrder
	// acts is what actions and ends of orders are doing, by service; guarded by mu.
	acts map[string]act
	// subscribers are told of changes; guarded by mu.
	subscribers map[*subscriber]struct{}
	// ended is true once Run has ended; guarded by mu.
	ended bool

	// ordering is held while an order or a reset is stored and published, so that they are in one order everywhere, and
	// never while a proxy is waited for.
	ordering sync.Mutex
	// ordered and dirty have room for one: the orders have changed, and something is to be saved.
	ordered, dirty chan struct{}
	events         *events
	metrics        *metrics
	readings       readings
	history        *history
}

const defaultLease = 15 * time.Second

// NewBoard returns a board that knows what Memory has kept, and nothing of now until Run.
func NewBoard(opts Options) *Board {
	if opts.Log == nil {
		opts.Log = hclog.NewNullLogger()
	}
	if opts.Known == nil {
		opts.Known = func(string) bool { return false }
	}
	if opts.Poll <= 0 {
		opts.Poll = 500 * time.Millisecond
	}
	if opts.Lease <= 0 {
		opts.Lease = defaultLease
	}
	b := &Board{
		opts:        opts,
		log:         opts.Log,
		watchers:    map[string]*watcher{},
		joined:      map[string]joined{},
		parked:      map[string]parked{},
		orders:      map[orderKey]StandingOrder{},
		acts:        map[string]act{},
		subscribers: map[*subscriber]struct{}{},
		ordered:     make(chan struct{}, 1),
		dirty:       make(chan struct{}, 1),
		events:      newEvents(),
		readings:    readings{last: map[string]*reading{}},
		history:     newHistory(),
	}
	b.metrics = newMetrics(b, opts.Registerer)
	b.load()
	return b
}

// Run looks at every connected proxy until ctx ends. It always returns nil.
func (b *Board) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	defer b.events.end()
	defer b.closeSubscribers()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { b.keep(ctx) })
	running.Go(func() { b.expire(ctx) })
	running.Go(func() { b.renewLeases(ctx) })
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

// follow starts a watcher for each proxy that is new, and stops those of proxies that are gone. Where another stream has
// come to speak for a proxy, a new watcher takes the place of the former with all that the breakers know.
func (b *Board) follow(ctx context.Context, running *sync.WaitGroup) {
	connected := map[string]xds.Proxy{}
	for _, p := range b.opts.Proxies.Connected() {
		connected[p.ID] = p
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	touched := false
	for id, w := range b.watchers {
		if _, ok := connected[id]; !ok {
			b.leave(w)
			touched = true
		}
	}
	for id, p := range connected {
		former := b.watchers[id]
		if former != nil && p.Since.Equal(former.proxy.Since) {
			continue
		}
		wctx, cancel := context.WithCancel(ctx)
		w := newWatcher(b, p, cancel)
		if former != nil {
			former.cancel()
			w.succeeds(former)
		} else {
			w.begin(b.joining(p))
		}
		b.watchers[id] = w
		w.serve(b.opts.Control.Set(), time.Now()) // what was ordered since it joined
		touched = true
		running.Go(func() { w.run(wctx) })
		running.Go(func() { w.control(wctx) })
	}
	b.lapseJoined(connected, time.Now())
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

// Query says which breakers are asked for, and how much of each.
type Query struct {
	// From leaves out the services whose names are less.
	From string
	// Proxies asks for Breaker.Proxies too.
	Proxies bool
}

// Breakers yields the services' breakers in ascending order of service, each as it is when it is yielded: there is
// never more than one in memory. It looks at the proxies first, unless the query goes on from a service, so that the
// answer is of now; a proxy that does not answer soon is shown as it was seen last.
func (b *Board) Breakers(ctx context.Context, q Query) iter.Seq[Breaker] {
	if q.From == "" {
		b.refresh(ctx)
	}
	var services []listed
	if set := b.opts.Control.Set(); set != nil {
		for _, svc := range set.Services {
			if svc.Name >= q.From {
				services = append(services, listed{service: svc.Name})
			}
		}
	}
	return b.compose(services, q.Proxies)
}

// listed is a service in a list of breakers.
type listed struct {
	service string
	removed bool
}

// compose yields the breakers of some services, without those that are no longer served by then. It takes b.mu for one
// at a time: many must not hold up the reports.
func (b *Board) compose(services []listed, proxies bool) iter.Seq[Breaker] {
	return func(yield func(Breaker) bool) {
		b.mu.Lock()
		watchers := b.sorted()
		b.mu.Unlock()
		for _, l := range services {
			x := Breaker{Service: l.service, Removed: true}
			if !l.removed {
				if _, err := b.lookup(l.service); err != nil {
					continue
				}
				b.mu.Lock()
				x = breakerOf(l.service, watchers, proxies)
				b.mu.Unlock()
			}
			if !yield(x) {
				return
			}
		}
	}
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
	set := b.opts.Control.Set()
	if set != nil {
		if svc := set.Lookup(service); svc != nil {
			return svc, nil
		}
	}
	return nil, UnknownService(service, set)
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
func (b *Board) breaker(service string) Breaker { return breakerOf(service, b.sorted(), true) }

// breakerOf composes the view of some watchers, which must be in order of proxy id. The caller must hold board.mu.
func breakerOf(service string, watchers []*watcher, proxies bool) Breaker {
	if proxies {
		views := make([]ProxyBreaker, len(watchers))
		for i, w := range watchers {
			views[i] = w.view(service)
		}
		return NewBreaker(service, views)
	}
	var f fold
	for _, w := range watchers {
		view := w.view(service)
		f.add(&view)
	}
	return f.breaker(service)
}

// ProxyHealth says whether a proxy's admin API answers, and whether it reports.
type ProxyHealth struct {
	// Reachable is true if it answered the last time it was asked.
	Reachable bool
	// Error says why not; empty if it is reachable or was not asked yet.
	Error string
	// LastReport is when its last load report came; zero if none has. Without load reports its breakers open by
	// ejections only.
	LastReport time.Time
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
