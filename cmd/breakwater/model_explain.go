package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
)

// explainWindow is the time between the two looks of which the difference is what happens
// now.
const explainWindow = time.Second

// Explain asks every proxy twice, a second apart, for the counts of the service alone.
func (m *model) Explain(ctx context.Context, service string) (admin.Explanation, error) {
	first, err := m.plane.board.Breaker(ctx, service)
	if err != nil {
		return admin.Explanation{}, err
	}
	before := m.failureCounts(ctx, first)
	timer := time.NewTimer(explainWindow)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return admin.Explanation{}, ctx.Err()
	case <-timer.C:
	}
	b, err := m.plane.board.Breaker(ctx, service)
	if err != nil {
		return admin.Explanation{}, err
	}
	after := m.failureCounts(ctx, b)
	set := m.plane.publisher.Set()
	svc := set.Lookup(service)
	if svc == nil {
		return admin.Explanation{}, breaker.UnknownService(service, set)
	}
	q := inquiry{breaker: b, policy: svc, counts: growth(before, after, b), own: map[string]bool{}, now: time.Now()}
	for _, o := range m.plane.board.Orders() {
		if o.Service == service && o.Proxy != "" {
			q.own[o.Proxy] = true
		}
	}
	health := m.plane.board.Health()
	for _, p := range b.Proxies {
		if health[p.Proxy].LastReport.IsZero() {
			q.blind = append(q.blind, p.Proxy)
		}
	}
	status, err := m.ConfigStatus(ctx)
	if err != nil {
		return admin.Explanation{}, err
	}
	for _, r := range status.Rejections {
		if r.Service == service {
			q.rejections = append(q.rejections, r)
		}
	}
	return admin.Explanation{Breaker: b, Findings: q.findings(), Counts: q.counts, Settings: svc.Settings()}, nil
}

// failed is what one proxy counted up to one moment, or why that can not be read.
type failed struct {
	counts map[string]uint64
	err    string
}

// failureCounts asks all proxies of a breaker at once. The result is by proxy.
func (m *model) failureCounts(ctx context.Context, b breaker.Breaker) map[string]failed {
	addresses := map[string]string{}
	for _, p := range m.plane.publisher.Ledger().Proxies() {
		addresses[p.ID] = p.AdminAddress
	}
	var mu sync.Mutex // guards out
	out := make(map[string]failed, len(b.Proxies))
	var asking sync.WaitGroup
	for _, p := range b.Proxies {
		asking.Go(func() {
			f := failureCountsOf(ctx, addresses[p.Proxy], b.Service)
			if f.err == "" {
				// A host's count has those too that a limit kept from it.
				f.counts[failedAttempts.Name] = p.Errors - min(p.Errors, f.counts["upstream_rq_active_overflow"])
			}
			mu.Lock()
			defer mu.Unlock()
			out[p.Proxy] = f
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
	if err != nil {
		return failed{err: err.Error()}
	}
	return failed{counts: counts}
}

// growth is what was counted up to the second look, and since the first. A counter that has
// begun anew between them has grown by what it shows.
func growth(before, after map[string]failed, b breaker.Breaker) []admin.ProxyCounts {
	stats := append(slices.Clone(envoy.FailureStats), failedAttempts)
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
