package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

const (
	// explainWindow is the time between the two looks of which the difference is what happens
	// now.
	explainWindow = time.Second
	// explainLook bounds each look: a proxy that does not answer must not hold the answer up.
	explainLook = 800 * time.Millisecond
)

// leftOut adds to the error of an unknown service why it is left out; err itself if no policy with an error names it.
func leftOut(err error, service string, problems []policy.Problem) error {
	i := slices.IndexFunc(problems, func(p policy.Problem) bool { return p.Service == service && p.Severity == policy.SeverityError })
	if i < 0 || !errors.Is(err, breaker.ErrUnknownService) {
		return err
	}
	return fmt.Errorf("%w: %s: its policy has an error and no last good version: %s", breaker.ErrUnknownService, service, problems[i])
}

// Explain asks every proxy twice, a second apart, for the counts of the service alone.
func (m *model) Explain(ctx context.Context, service string) (admin.Explanation, error) {
	timer := time.NewTimer(explainWindow)
	defer timer.Stop()
	first, before, err := m.lookAt(ctx, service)
	if err != nil {
		return admin.Explanation{}, leftOut(err, service, m.plane.reloader.Status().Problems)
	}
	select {
	case <-ctx.Done():
		return admin.Explanation{}, ctx.Err()
	case <-timer.C:
	}
	b, after, err := m.lookAt(ctx, service)
	if err != nil {
		return admin.Explanation{}, err
	}
	set := m.plane.publisher.InForce()
	svc := set.Lookup(service)
	if svc == nil {
		return admin.Explanation{}, breaker.UnknownService(service, set)
	}
	applied := m.plane.publisher.Set().Lookup(service) // another than svc if Envoy has rejected it
	addFailedAttempts(before, first)
	addFailedAttempts(after, b)
	q := inquiry{
		breaker: b, policy: svc, stale: applied != nil && applied.Stale, counts: growth(before, after, b), health: m.plane.board.Health(),
		windows: map[string]breaker.Window{}, events: m.plane.board.Events(breaker.EventFilter{Service: service}), now: time.Now(),
	}
	for _, o := range m.plane.board.Orders() {
		if o.Service == service {
			q.orders = append(q.orders, o)
		}
	}
	windows, err := m.plane.board.Windows(service)
	if err != nil {
		return admin.Explanation{}, err
	}
	for _, w := range windows {
		q.windows[w.Proxy] = w.Window
	}
	if q.connected, err = m.Proxies(ctx); err != nil {
		return admin.Explanation{}, err
	}
	if q.disconnected, err = m.Disconnected(ctx); err != nil {
		return admin.Explanation{}, err
	}
	q.disconnected = slices.DeleteFunc(q.disconnected, func(p admin.DisconnectedProxy) bool { return p.Replaced })
	if q.config, err = m.ConfigStatus(ctx); err != nil {
		return admin.Explanation{}, err
	}
	out := admin.Explanation{Breaker: b, Findings: q.findings(), Counts: q.counts}
	if !slices.Contains(m.refused(), service) || svc != applied {
		out.Settings = svc.Settings()
	}
	return out, nil
}

// lookAt asks all proxies at once, for at most explainLook, for the state of the service and for its counts.
func (m *model) lookAt(ctx context.Context, service string) (breaker.Breaker, map[string]failed, error) {
	ctx, cancel := context.WithTimeout(ctx, explainLook)
	defer cancel()
	counted := make(chan map[string]failed, 1)
	go func() { counted <- m.failureCounts(ctx, service) }()
	b, err := m.plane.board.Breaker(ctx, service)
	if err != nil {
		return b, nil, err
	}
	return b, <-counted, nil
}

// failed is what one proxy counted up to one moment, or why that can not be read.
type failed struct {
	counts map[string]uint64
	err    string
}

// failureCounts asks all proxies at once. The result is by proxy.
func (m *model) failureCounts(ctx context.Context, service string) map[string]failed {
	proxies := m.plane.publisher.Ledger().Connected()
	var mu sync.Mutex // guards out
	out := make(map[string]failed, len(proxies))
	var asking sync.WaitGroup
	for _, p := range proxies {
		asking.Go(func() {
			f := failureCountsOf(ctx, p.AdminAddress, service)
			mu.Lock()
			defer mu.Unlock()
			out[p.ID] = f
		})
	}
	asking.Wait()
	return out
}

func failureCountsOf(ctx context.Context, adminAddress, service string) failed {
	if adminAddress == "" {
		return failed{err: "its bootstrap names no admin port"}
	}
	client := envoy.NewAdmin(adminAddress)
	defer client.Close()
	counts, err := client.FailureCounts(ctx, service)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failed{err: fmt.Sprintf("its admin API at %s gave no answer within %s", adminAddress, explainLook)}
	case err != nil:
		return failed{err: err.Error()}
	}
	return failed{counts: counts}
}

// addFailedAttempts adds, to the counts of the proxies that have some, those of the hosts.
func addFailedAttempts(counted map[string]failed, b breaker.Breaker) {
	for _, p := range b.Proxies {
		if f := counted[p.Proxy]; f.counts != nil {
			// A host's count has those too that a limit kept from it.
			f.counts[failedAttempts.Name] = p.Errors - min(p.Errors, f.counts["upstream_rq_active_overflow"])
		}
	}
}

// growth is what was counted up to the second look, and since the first. A counter that has
// begun anew between them has grown by what it shows.
func growth(before, after map[string]failed, b breaker.Breaker) []admin.ProxyCounts {
	stats := append(slices.Clone(envoy.FailureStats), failedAttempts, envoy.Abandoned)
	out := make([]admin.ProxyCounts, 0, len(b.Proxies))
	for _, p := range b.Proxies {
		now := after[p.Proxy]
		c := admin.ProxyCounts{Proxy: p.Proxy, Error: now.err}
		earlier, ok := before[p.Proxy]
		known := ok && earlier.err == ""
		for _, s := range stats {
			total := now.counts[s.Name]
			if total == 0 {
				continue
			}
			n := admin.FailureCount{Stat: s.Name, Flag: s.Flag, Meaning: s.Meaning, Total: total}
			switch was := earlier.counts[s.Name]; {
			case !known:
			case was <= total:
				n.Recent = total - was
			default:
				n.Recent = total
			}
			c.Counts = append(c.Counts, n)
		}
		out = append(out, c)
	}
	return out
}
