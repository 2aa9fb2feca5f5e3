package breaker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// slowCalls reads, of the services that have a slow_call criterion, how long their requests took. Envoy has no such
// thing in its load reports, so the admin API is asked for the histograms of these clusters alone.
type slowCalls struct {
	// before are the histograms as they were read last, and timeouts the counts of requests that never got an
	// answer and so are in no histogram; by service.
	before   map[string]envoy.Histogram
	timeouts map[string]uint64
}

// observe asks, and lets the machines observe what is new since the last time. What was there at the first time is not new.
func (s *slowCalls) observe(ctx context.Context, w *watcher) {
	services := slowServices(w.board.opts.Control.Set())
	if len(services) == 0 || w.admin == nil {
		return
	}
	names := slices.Sorted(maps.Keys(services))
	times, err := w.admin.ClusterHistograms(ctx, names, "upstream_rq_time")
	if err != nil {
		return // the next look says that the admin API does not answer
	}
	timeouts, err := w.admin.ClusterCounters(ctx, names, "upstream_rq_timeout")
	if err != nil {
		return
	}
	first := s.before == nil
	if first {
		s.before, s.timeouts = map[string]envoy.Histogram{}, map[string]uint64{}
	}
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	if w.left() {
		return
	}
	set, now := w.board.opts.Control.Set(), time.Now()
	for name := range services {
		svc := set.Lookup(name)
		if svc == nil || svc.Breaker.SlowCall == nil {
			continue // another set is served since
		}
		h, t := times[name], timeouts[name]["upstream_rq_timeout"]
		before, had := s.before[name]
		late := t - min(s.timeouts[name], t)
		s.before[name], s.timeouts[name] = h, t
		if first || !had {
			continue
		}
		limit := svc.Breaker.SlowCall.Duration
		measured, slow := h.Since(before).Above(float64(limit) / float64(time.Millisecond))
		if measured += late; !svc.Timeout.Request.Set || svc.Timeout.Request.D >= limit {
			slow += late
		}
		if measured > 0 {
			m := w.machine(svc, now)
			w.observe(svc, Observation{Slow: SlowCalls{Measured: measured, Slow: slow}, Generation: m.Generation()}, now)
		}
	}
	w.enforce(now)
	w.wake()
}

// slowServices are those with a slow_call criterion, by name.
func slowServices(set *policy.Set) map[string]*policy.Service {
	if set == nil {
		return nil
	}
	out := map[string]*policy.Service{}
	for _, svc := range set.Services {
		if svc.Breaker.SlowCall != nil {
			out[svc.Name] = svc
		}
	}
	return out
}
