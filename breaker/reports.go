package breaker

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/xds"
)

const (
	// queuedReports is how many reports of one proxy may wait while it is asked something.
	queuedReports = 16
	// questionTimeout bounds a question to a proxy's admin API on which a decision waits.
	questionTimeout = 500 * time.Millisecond
)

// Report takes a load report in. It waits while earlier reports of the same proxy are dealt with. A report of a proxy
// that is not connected is dropped.
func (b *Board) Report(r xds.LoadReport) {
	b.mu.Lock()
	w := b.watchers[r.Proxy]
	b.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.reports <- arrived{r, time.Now()}:
	case <-w.ended:
	}
}

// arrived is a report that waits, and since when.
type arrived struct {
	xds.LoadReport
	at time.Time
}

// take lets the machines observe what a report says, and asks layer 1 what they want to know.
func (w *watcher) take(ctx context.Context, r arrived) {
	set := w.board.opts.Control.Set()
	if set == nil {
		return
	}
	w.overflows.subtract(ctx, w.admin, r.Services)
	w.statuses.correct(ctx, w.admin, set, r.Services)
	now := time.Now()
	w.board.mu.Lock()
	set = w.board.opts.Control.Set() // another may be served since
	w.board.history.report(now, w.proxy.ID, r.Services, set)
	if w.left() {
		w.board.mu.Unlock()
		return
	}
	w.reported = now
	reported := make(map[string]bool, len(w.acting))
	for _, load := range r.Services {
		if len(load.Hosts) == 0 {
			continue
		}
		svc := set.Lookup(load.Service)
		if svc == nil {
			continue
		}
		reported[load.Service] = true
		if _, fresh := w.fresh[load.Service]; !fresh {
			o := observation(load)
			o.Generation = w.machine(svc, now).Generation()
			w.observe(svc, o, now)
		}
	}
	maps.DeleteFunc(w.fresh, func(_ string, reset time.Time) bool { return r.at.After(reset) })
	// A service of which nothing is reported has no request in flight.
	for name := range w.acting {
		if svc := set.Lookup(name); svc != nil && !reported[name] {
			w.observe(svc, Observation{InFlight: Gauge{Known: true}, Generation: w.machines[name].Generation()}, now)
		}
	}
	asked := w.enforce(now)
	w.board.mu.Unlock()
	w.ask(ctx, asked)
}

// observation is what a load report says of a service.
func observation(load xds.ServiceLoad) Observation {
	o := Observation{Hosts: make([]HostResults, len(load.Hosts)), InFlight: Gauge{Known: true}}
	for i, h := range load.Hosts {
		o.Hosts[i] = HostResults{Address: h.Address, Successes: h.Successes, Failures: h.Errors}
		o.InFlight.N = add(o.InFlight.N, h.InProgress)
	}
	return o
}

// overflows tells, of the errors that load reports count, those that no host made: requests over max_requests. Envoy
// counts each as an error of a host, and as dropped; but it counts as dropped those over max_pending_requests too,
// which are nobody's errors. So where a report has both, Envoy's own counter says how many were which. It is read a
// little after the report was made, and is ahead by what overflowed in between: that is left for the next report.
type overflows struct {
	// left is how many overflows Envoy has counted that no report had yet, and counted its counter when it was read
	// last, by service. A service that is in neither had none when based became true.
	left, counted map[string]uint64
	based         bool
}

// base reads how many overflows there were before the first report: those are in none.
func (o *overflows) base(ctx context.Context, admin *envoy.Admin) {
	o.left, o.counted = map[string]uint64{}, map[string]uint64{}
	if admin == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	const prefix, suffix = "cluster.", "." + activeOverflow
	stats, err := admin.Stats(ctx, envoy.StatsQuery{Filter: `\.` + activeOverflow + "$", UsedOnly: true, Type: envoy.Counters})
	if err != nil {
		return
	}
	o.based = true
	for name, n := range stats {
		o.counted[strings.TrimSuffix(strings.TrimPrefix(name, prefix), suffix)] = n
	}
}

// subtract takes the overflows out of the errors.
func (o *overflows) subtract(ctx context.Context, admin *envoy.Admin, loads []xds.ServiceLoad) {
	var doubtful []*xds.ServiceLoad
	var names []string
	for i := range loads {
		l := &loads[i]
		switch {
		case l.Dropped == 0:
			delete(o.left, l.Service)
		case errorsOf(l) > 0:
			doubtful = append(doubtful, l)
			names = append(names, l.Service)
		}
	}
	if len(doubtful) == 0 {
		return
	}
	known := false
	if o.based {
		known = o.read(ctx, admin, doubtful, names)
	} else {
		o.base(ctx, admin) // with what these reports have
	}
	for _, l := range doubtful {
		n := min(l.Dropped, errorsOf(l))
		if known {
			n = min(n, o.left[l.Service])
		}
		o.left[l.Service] -= min(n, o.left[l.Service])
		discount(l, n)
	}
}

// Envoy counts an overflow as an error, then answers the request, and then counts it as an overflow, so that its counter
// may lag by what its workers are about: on a busy machine by some ten milliseconds. Each further read waits twice as long as
// the one before it.
const (
	overflowReads = 4
	overflowLag   = 10 * time.Millisecond
)

// read reads Envoy's counter of some services, and again where it does not explain the report, for it may lag. It
// reports false if it can not be read.
func (o *overflows) read(ctx context.Context, admin *envoy.Admin, loads []*xds.ServiceLoad, names []string) bool {
	for reads, lag := 1, overflowLag; ; reads, lag = reads+1, 2*lag {
		counters, err := activeOverflows(ctx, admin, names)
		if err != nil {
			return false
		}
		short := false
		for _, l := range loads {
			short = o.count(l.Service, counters[l.Service]) < min(l.Dropped, errorsOf(l)) || short
		}
		if !short || reads == overflowReads {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(lag):
		}
	}
}

// count takes in what Envoy's counter is now, and returns how many overflows are left for reports.
func (o *overflows) count(service string, total uint64) uint64 {
	before := o.counted[service]
	if total < before {
		before = 0 // the cluster was removed and is back
	}
	o.counted[service] = total
	o.left[service] = add(o.left[service], total-before)
	return o.left[service]
}

// activeOverflow is Envoy's counter of requests over max_requests.
const activeOverflow = "upstream_rq_active_overflow"

// activeOverflows asks for the requests over max_requests of some services since the clusters were created.
func activeOverflows(ctx context.Context, admin *envoy.Admin, services []string) (map[string]uint64, error) {
	if admin == nil {
		return nil, errNotAsked
	}
	ctx, cancel := context.WithTimeout(ctx, questionTimeout)
	defer cancel()
	stats, err := admin.ClusterCounters(ctx, services, activeOverflow)
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(stats))
	for service, counters := range stats {
		out[service] = counters[activeOverflow]
	}
	return out, nil
}

func errorsOf(l *xds.ServiceLoad) uint64 {
	var n uint64
	for _, h := range l.Hosts {
		n = add(n, h.Errors)
	}
	return n
}

// discount takes n errors out of a service's, from the hosts with the most: which host an overflow was counted at says
// nothing.
func discount(l *xds.ServiceLoad, n uint64) {
	takeMost(l.Hosts, n, func(h *xds.HostLoad) *uint64 { return &h.Errors })
}
