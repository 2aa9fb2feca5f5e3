package breaker

import (
	"context"
	"errors"
	"slices"
	"strings"
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

	// looking has room for one, who is looking: one look is enough for all who ask at once. It is no mutex, for a proxy
	// that does not answer must not hold up those who can not wait.
	looking chan struct{}
	// looked is when the last look at what was due began; guarded by looking.
	looked time.Time
	// cursor is where the next chunk starts; guarded by looking.
	cursor int

	// reports wait for control, stir has room for one, and ended is closed when control ends.
	reports chan arrived
	stir    chan struct{}
	ended   chan struct{}
	// overflows and statuses belong to control.
	overflows overflows
	statuses  statuses

	// All below is guarded by board.mu.

	// machines by service; acting are those that are not closed, and questions what machines want to know of layer 1.
	machines  map[string]*Machine
	acting    map[string]bool
	questions map[string]uint64
	// reported is when the last load report came; zero if none has.
	reported time.Time
	// fresh says when services were reset of which no report has arrived since.
	fresh map[string]time.Time
	// told is what the proxy was told last by its runtime layers, renewed when, and the changes those that the proxy is
	// to confirm.
	told                          enforced
	renewed                       time.Time
	breakerChange, operatorChange xds.Change

	err      error // of the last look; nil if it succeeded
	asked    bool
	services map[string]*seen
}

// seen is what was seen of one service in one proxy.
type seen struct{ breaker ProxyBreaker }

var (
	errNotAsked = errors.New("the proxy's admin API was not asked yet")
	errNoAdmin  = errors.New("the proxy's node metadata names no admin port: use a bootstrap that `breakwater bootstrap` has made")
)

func newWatcher(b *Board, p xds.Proxy, cancel context.CancelFunc) *watcher {
	w := &watcher{
		board: b, proxy: p, cancel: cancel, services: map[string]*seen{}, err: errNotAsked,
		looking: make(chan struct{}, 1),
		reports: make(chan arrived, queuedReports), stir: make(chan struct{}, 1), ended: make(chan struct{}),
		questions: map[string]uint64{}, fresh: map[string]time.Time{},
	}
	if p.AdminAddress == "" {
		w.err = errNoAdmin
	} else {
		w.admin = envoy.NewAdmin(p.AdminAddress, envoy.WithObserver(b.metrics.asked))
	}
	return w
}

// begin has the watcher go on from what its proxy was given when it connected. The caller must hold board.mu.
func (w *watcher) begin(j joined) {
	w.machines, w.acting, w.told, w.renewed = j.machines, actingOf(j.machines), j.told, j.at
}

// succeeds has the watcher go on from where another one of the same proxy ends: the proxy has been connected all the time.
// The caller must hold board.mu.
func (w *watcher) succeeds(former *watcher) {
	w.machines, w.acting, w.questions, w.fresh = former.machines, former.acting, former.questions, former.fresh
	w.told, w.renewed, w.reported = former.told, former.renewed, former.reported
	w.breakerChange, w.operatorChange = former.breakerChange, former.operatorChange
}

func (w *watcher) run(ctx context.Context) {
	if w.admin == nil {
		<-ctx.Done()
		return
	}
	defer w.admin.Close()
	var slow slowCalls
	for {
		w.look(ctx)
		slow.observe(ctx, w)
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
		w.unanswered(services)
		return
	}
	asked := time.Now()
	select {
	case w.looking <- struct{}{}:
	case <-ctx.Done():
		w.unanswered(services)
		return
	}
	defer func() { <-w.looking }()
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
	inquiries := w.inquiries(due)
	status, err := w.admin.Clusters(ctx, due...)
	if err != nil {
		w.failed(ctx, err)
		w.unanswered(services)
		return
	}
	if len(services) == 0 {
		w.looked = began
	}
	w.record(due, status, inquiries, time.Now())
}

// due names the services to ask for now: all if they are few, else those that have an ejected host now or
// had one at the last look, and a chunk of the others. The caller must be the one who is looking.
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
	if w.err == nil || !w.asked || w.err.Error() != err.Error() {
		b.notifyAll()
	}
	if w.err == nil || !w.asked {
		b.log.Warn("a proxy's admin API does not answer: its breakers are unknown", "proxy", w.proxy.ID, "admin", w.proxy.AdminAddress, "error", err)
	}
	w.asked = true
	w.err = err
}

// inFlight is how many requests are at the service's hosts, which load reports that have fallen silent do not say.
func inFlight(c *adminv3.ClusterStatus) Gauge {
	g := Gauge{Known: c != nil}
	for _, h := range envoy.HostStates(c) {
		g.N = add(g.N, h.InFlight)
	}
	return g
}

// inquiry is what a machine wants to know, and its generation, when a look begins.
type inquiry struct{ question, generation uint64 }

// inquiries notes what the machines of some services want to know.
func (w *watcher) inquiries(services []string) map[string]inquiry {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	out := make(map[string]inquiry, len(services))
	for _, name := range services {
		if m := w.machines[name]; m != nil {
			out[name] = inquiry{m.Question(), m.Generation()}
		}
	}
	return out
}

// unanswered tells the machines of some services that layer 1 cannot be seen.
func (w *watcher) unanswered(services []string) {
	b := w.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.left() {
		return
	}
	set, now := b.opts.Control.Set(), time.Now()
	for _, name := range services {
		q := w.questions[name]
		if svc := set.Lookup(name); svc != nil && q != 0 {
			w.observe(svc, Observation{Layer1: Layer1{Answer: Unavailable, Question: q}, Generation: w.machines[name].Generation()}, now)
		}
	}
	w.enforce(now)
	w.wake()
}

// record takes over what the proxy said of the services in due. inquiries are what was noted before it was asked.
func (w *watcher) record(due []string, status *adminv3.Clusters, inquiries map[string]inquiry, now time.Time) {
	b := w.board
	clusters := make(map[string]*adminv3.ClusterStatus, len(status.GetClusterStatuses()))
	for _, c := range status.GetClusterStatuses() {
		clusters[c.GetName()] = c
	}
	var rejections []xds.Rejection
	if slices.ContainsFunc(due, func(name string) bool { return clusters[name] == nil }) {
		rejections = b.opts.Control.Rejections()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.left() {
		return
	}
	set := b.opts.Control.Set() // another may be served than when the look began
	recovered := w.err != nil
	if recovered && w.asked {
		b.log.Info("a proxy's admin API answers again", "proxy", w.proxy.ID, "admin", w.proxy.AdminAddress)
	}
	w.asked, w.err = true, nil
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
		s.breaker = conclude(w.proxy.ID, svc, clusters[name], rejection(rejections, w.proxy.ID, name), before, now)
		w.recordHosts(name, before.Hosts, s.breaker.Hosts, now)
		asked := inquiries[name]
		if l := sightOf(clusters[name], asked.question); w.machines[name] != nil || len(l.Ejected) > 0 && len(l.Ejected) == l.Total {
			w.observe(svc, Observation{Layer1: l, InFlight: inFlight(clusters[name]), Generation: asked.generation}, now)
		}
		if recovered || !same(before, s.breaker) {
			changed = append(changed, name)
		}
	}
	for name := range w.services {
		if set.Lookup(name) == nil {
			w.forget(name)
		}
	}
	if recovered {
		b.notifyAll()
	} else {
		b.notify(changed)
	}
	w.enforce(now)
	w.wake()
}

// recordHosts records the hosts that were ejected and that have returned between two looks. A host that is new or gone
// tells nothing. The caller must hold board.mu.
func (w *watcher) recordHosts(service string, before, now []Host, at time.Time) {
	ejected := make(map[string]bool, len(before))
	for _, h := range before {
		ejected[h.Address] = h.Ejected
	}
	for _, h := range now {
		if was, known := ejected[h.Address]; known && was != h.Ejected {
			kind := HostReturned
			if h.Ejected {
				kind = HostEjected
			}
			w.board.record(Event{At: at, Kind: kind, Service: service, Proxy: w.proxy.ID, Host: h.Address})
		}
	}
}

// sightOf is what the admin API says of a cluster to a machine; nil: the proxy does not have it.
func sightOf(c *adminv3.ClusterStatus, question uint64) Layer1 {
	if c == nil {
		return Layer1{Answer: Unavailable, Question: question}
	}
	l := Layer1{Answer: Looked, Question: question, Ejected: ejectedHosts(c)}
	for _, h := range envoy.HostStates(c) {
		l.Total++
		if h.Unhealthy && !h.Ejected {
			l.Unhealthy++
		}
	}
	return l
}

// view is the proxy's part in a service's breaker. The caller must hold board.mu.
func (w *watcher) view(service string) ProxyBreaker {
	p := ProxyBreaker{Proxy: w.proxy.ID, State: Unknown, Since: w.proxy.Since}
	s, ok := w.services[service]
	switch {
	case w.err != nil:
		p.Cause = w.err.Error()
	case !ok:
		p.Cause = errNotAsked.Error()
	default:
		p = s.breaker
	}
	if m := w.machines[service]; m != nil {
		m.describe(&p)
	} else if w.onlyObserves(service) {
		p.Shadow, p.ShadowState = true, Closed
	}
	return p
}

// describe adds what a machine knows of its breaker to what was seen of layer 1.
func (m *Machine) describe(p *ProxyBreaker) {
	c := m.Counts()
	p.Attempts, p.Failures = c.TotalAttempts, c.TotalFailures
	p.RecentAttempts, p.RecentErrors = c.Attempts, c.Failures
	p.Successes = c.Successes
	p.Shadow = m.settings.Shadow
	if o, ok := m.Order(); ok {
		order := o // o itself would be allocated for every view
		p.Order = &order
	}
	if m.settings.Shadow {
		if _, ordered := m.Order(); !ordered {
			p.ShadowState = m.Told()
			return
		}
	}
	// What the proxy was told holds there, whether it can be seen or not; but that it was told nothing proves nothing.
	switch {
	case m.Told() != Closed:
		p.State, p.Cause, p.Since, p.Until, p.Waiting = m.Told(), m.Cause(), m.Since(), m.Until(), m.Waiting()
		p.Overloaded = p.Overloaded && m.Told() != HalfOpen // the limit that is hit is that of the probes
	case p.State == Closed && m.cause != "" && m.Since().After(p.Since): // one that was made a moment ago has changed nothing
		p.Since = m.Since()
	}
}

// health is the state of the proxy's admin API. The caller must hold board.mu.
func (w *watcher) health() ProxyHealth {
	h := ProxyHealth{Reachable: w.err == nil, LastReport: w.reported}
	if w.err != nil && !errors.Is(w.err, errNotAsked) {
		h.Error = w.err.Error()
	}
	return h
}
