package breaker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// chunk is how many clusters one look at a proxy asks for in full. With no more services than that each
// look sees everything; with more, a look sees those in trouble and the next chunk of
// the others.
const chunk = 200

// pollInterval is the time between two looks at a proxy. Envoy's main thread takes some 60 ms for the one
// gauge of 5,000 clusters, so the interval grows with their number: 1 ms each, which
// keeps a look's cost near 1 % of a core.
func pollInterval(shortest time.Duration, services int) time.Duration {
	return max(shortest, min(time.Duration(services)*time.Millisecond, 10*time.Second))
}

// watcher looks at one proxy.
type watcher struct {
	board  *Board
	proxy  xds.Proxy
	admin  *envoy.Admin // nil if the proxy named no admin port
	cancel context.CancelFunc

	// looking is held during a look, so that one is enough for all who ask at once.
	looking sync.Mutex
	// looked is when the last look at what was due began; guarded by looking.
	looked time.Time
	// cursor is where the next chunk starts; guarded by looking.
	cursor int

	// All below is guarded by board.mu.

	err      error // of the last look; nil if it succeeded
	asked    bool
	services map[string]*seen
}

// seen is what was seen of one service in one proxy.
type seen struct {
	breaker ProxyBreaker
	history history
}

var errNotAsked = errors.New("the proxy's admin API was not asked yet")

func newWatcher(b *Board, p xds.Proxy, cancel context.CancelFunc) *watcher {
	w := &watcher{board: b, proxy: p, cancel: cancel, services: map[string]*seen{}, err: errNotAsked}
	if p.AdminAddress == "" {
		w.err = fmt.Errorf("the proxy's node metadata names no admin port: use a bootstrap that `breakwater bootstrap` has made")
	} else {
		w.admin = envoy.NewAdmin(p.AdminAddress)
	}
	return w
}

func (w *watcher) run(ctx context.Context) {
	if w.admin == nil {
		<-ctx.Done()
		return
	}
	defer w.admin.Close()
	for {
		w.look(ctx)
		services := 0
		if set := w.board.opts.Control.Set(); set != nil {
			services = len(set.Services)
		}
		timer := time.NewTimer(pollInterval(w.board.opts.Poll, services))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// look asks the proxy for the named services or, without one, for those that are due.
func (w *watcher) look(ctx context.Context, services ...string) {
	if w.admin == nil {
		return
	}
	asked := time.Now()
	w.looking.Lock()
	defer w.looking.Unlock()
	began := time.Now()
	set := w.board.opts.Control.Set()
	if set == nil || len(set.Services) == 0 {
		return
	}
	due := services
	if len(due) == 0 {
		if w.looked.After(asked) {
			return // one look answers all who asked before it began
		}
		var err error
		if due, err = w.due(ctx, set); err != nil {
			w.failed(ctx, err)
			return
		}
	}
	status, err := w.admin.Clusters(ctx, due...)
	if err != nil {
		w.failed(ctx, err)
		return
	}
	if len(services) == 0 {
		w.looked = began
	}
	w.record(set, due, status, time.Now())
}

// due names the services to ask for now: all if they are few, else those that have an ejected host now or
// had one at the last look, and a chunk of the others. The caller must hold w.looking.
func (w *watcher) due(ctx context.Context, set *policy.Set) ([]string, error) {
	names := make([]string, 0, min(len(set.Services), 2*chunk))
	if len(set.Services) <= chunk {
		for _, svc := range set.Services {
			names = append(names, svc.Name)
		}
		return names, nil
	}
	gauges, err := w.admin.Stats(ctx, envoy.StatsQuery{Filter: `outlier_detection\.ejections_active$`, UsedOnly: true, Type: envoy.Gauges})
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for name, n := range gauges {
		service := strings.TrimSuffix(strings.TrimPrefix(name, "cluster."), ".outlier_detection.ejections_active")
		if n > 0 && set.Lookup(service) != nil {
			wanted[service] = true
		}
	}
	w.board.mu.Lock()
	for name, s := range w.services {
		if s.breaker.EjectedHosts > 0 && set.Lookup(name) != nil {
			wanted[name] = true
		}
	}
	w.board.mu.Unlock()
	for range chunk {
		w.cursor %= len(set.Services)
		wanted[set.Services[w.cursor].Name] = true
		w.cursor++
	}
	for name := range wanted {
		names = append(names, name)
	}
	return names, nil
}

// failed notes that the proxy did not answer. A caller that gave up says nothing of the proxy.
func (w *watcher) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.err == nil || !w.asked {
		b.log.Warn("a proxy's admin API does not answer: its breakers are unknown", "proxy", w.proxy.ID, "admin", w.proxy.AdminAddress, "error", err)
	}
	w.asked = true
	w.err = err
	b.notifyAll()
}

// record takes over what the proxy said of the services in due.
func (w *watcher) record(set *policy.Set, due []string, status *adminv3.Clusters, now time.Time) {
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	recovered := w.err != nil
	if recovered && w.asked {
		b.log.Info("a proxy's admin API answers again", "proxy", w.proxy.ID, "admin", w.proxy.AdminAddress)
	}
	w.asked, w.err = true, nil
	clusters := make(map[string]*adminv3.ClusterStatus, len(status.GetClusterStatuses()))
	for _, c := range status.GetClusterStatuses() {
		clusters[c.GetName()] = c
	}
	var changed []string
	for _, name := range due {
		svc := set.Lookup(name)
		if svc == nil {
			continue
		}
		s, ok := w.services[name]
		if !ok {
			s = &seen{}
			w.services[name] = s
		}
		before := s.breaker
		s.breaker = conclude(w.proxy.ID, svc, clusters[name], before, now)
		s.breaker.RecentErrors = s.history.add(s.breaker.Requests, s.breaker.Errors, uint64(svc.Breaker.WindowSize))
		if before.State != s.breaker.State && (before.State == Open || s.breaker.State == Open) {
			b.log.Info("breaker changed", "service", name, "proxy", w.proxy.ID, "from", before.State, "to", s.breaker.State, "cause", s.breaker.Cause)
		}
		if recovered || !same(before, s.breaker) {
			changed = append(changed, name)
		}
	}
	for name := range w.services {
		if set.Lookup(name) == nil {
			delete(w.services, name)
		}
	}
	if recovered {
		b.notifyAll()
	} else {
		b.notify(changed)
	}
}

// view is the proxy's part in a service's breaker. The caller must hold board.mu.
func (w *watcher) view(service string) ProxyBreaker {
	s, ok := w.services[service]
	if w.err != nil {
		p := ProxyBreaker{Proxy: w.proxy.ID, State: Unknown, Cause: w.err.Error(), Since: w.proxy.Since}
		return p
	}
	if !ok {
		return ProxyBreaker{Proxy: w.proxy.ID, State: Unknown, Cause: errNotAsked.Error(), Since: w.proxy.Since}
	}
	return s.breaker
}

// health is the state of the proxy's admin API. The caller must hold board.mu.
func (w *watcher) health() ProxyHealth {
	switch {
	case w.err == nil:
		return ProxyHealth{Reachable: true}
	case errors.Is(w.err, errNotAsked):
		return ProxyHealth{}
	default:
		return ProxyHealth{Error: w.err.Error()}
	}
}
