package admin_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// The fleet of a largeModel. Every service is at most of largeHosts hosts in every proxy.
const (
	largeServices, largeProxies, largeHosts = 1000, 1000, 100
	// maxMessage is what an answer of the API has at most, with some room for what surrounds a page.
	maxMessage = 1<<20 + 64<<10
)

// largeModel has a large fleet in which much is wrong. Each breaker is made as it is asked for.
type largeModel struct {
	*fakeModel
	services int
}

func largeService(i int) string { return fmt.Sprintf("some-service-%04d", i) }
func largeProxy(i int) string   { return fmt.Sprintf("gateway-%04d.eu-central.prod.example", i) }

func largeBreaker(service string) breaker.Breaker {
	hosts := make([]breaker.Host, largeHosts)
	for i := range hosts {
		hosts[i] = breaker.Host{Address: fmt.Sprintf("10.20.30.%d:8005", i), Ejected: true, Requests: 411_522, Errors: 1440}
	}
	proxies := make([]breaker.ProxyBreaker, largeProxies)
	for i := range proxies {
		proxies[i] = breaker.ProxyBreaker{
			Proxy: largeProxy(i), State: breaker.Open, Cause: "5 of the last 100 attempts failed", Since: day, Hosts: hosts, TotalHosts: largeHosts,
			Attempts: 1_234_567, Failures: 4321,
		}
	}
	return breaker.NewBreaker(service, proxies)
}

func (m *largeModel) Breakers(_ context.Context, q breaker.Query) (iter.Seq[breaker.Breaker], error) {
	return func(yield func(breaker.Breaker) bool) {
		summary := largeBreaker("")
		for i := range m.services {
			b := summary
			if b.Service = largeService(i); b.Service < q.From {
				continue
			}
			if !q.Proxies {
				b.Proxies = nil
			}
			if !yield(b) {
				return
			}
		}
	}, nil
}

func (m *largeModel) Watch(ctx context.Context, q breaker.WatchQuery) (<-chan iter.Seq[breaker.Breaker], error) {
	all, err := m.Breakers(ctx, breaker.Query{Proxies: q.Proxies})
	out := make(chan iter.Seq[breaker.Breaker], 1)
	out <- all
	context.AfterFunc(ctx, func() { close(out) })
	return out, err
}

func (*largeModel) Breaker(_ context.Context, service string) (breaker.Breaker, error) {
	return largeBreaker(service), nil
}

func (*largeModel) Windows(context.Context, string) ([]breaker.ProxyWindow, error) {
	out := make([]breaker.ProxyWindow, largeProxies)
	for i := range out {
		out[i] = breaker.ProxyWindow{Proxy: largeProxy(i), Window: breaker.Window{Batches: slices.Repeat([]breaker.WindowBatch{{Attempts: 2, Failures: 1}}, 1000)}}
	}
	return out, nil
}

func (*largeModel) Traffic(_ context.Context, service string) (breaker.Traffic, error) {
	out := breaker.Traffic{Service: service, Time: day}
	for i := range largeProxies {
		out.Proxies = append(out.Proxies, breaker.ProxyTraffic{Proxy: largeProxy(i), Traffic: envoy.Traffic{
			Requests: map[string]uint64{"success": 1 << 40}, Latency: slices.Repeat([]envoy.LatencyBucket{{Upper: 15_625_000, Count: 1 << 40}}, 40),
		}})
	}
	return out, nil
}

func (m *largeModel) History(context.Context, breaker.HistoryFilter) (breaker.History, error) {
	out := breaker.History{Since: day, Start: day, End: day, Proxies: make([]uint32, 90)}
	counts := slices.Repeat([]uint32{1 << 20}, 90)
	for i := range m.services * 5 {
		out.Services = append(out.Services, breaker.ServiceHistory{Service: fmt.Sprintf("service-%06d", i), Attempts: counts, Failures: counts, Refused: counts})
	}
	return out, nil
}

func (*largeModel) Proxies(context.Context) ([]admin.Proxy, error) {
	out := make([]admin.Proxy, largeProxies)
	for i := range out {
		out[i] = admin.Proxy{ID: largeProxy(i), Resources: slices.Repeat([]admin.ProxyResources{{
			TypeURL: "type.googleapis.com/envoy.config.cluster.v3.Cluster", LastNACK: &admin.NACK{Message: strings.Repeat("no such filter ", 100)},
		}}, 4)}
	}
	return out, nil
}

func (*largeModel) Disconnected(context.Context) ([]admin.DisconnectedProxy, error) {
	out := make([]admin.DisconnectedProxy, largeProxies)
	for i := range out {
		out[i] = admin.DisconnectedProxy{ID: largeProxy(i)}
	}
	return out, nil
}

func (m *largeModel) Orders(context.Context) ([]breaker.StandingOrder, error) {
	var out []breaker.StandingOrder
	for i := range m.services * 20 {
		out = append(out, breaker.StandingOrder{
			Service: largeService(i / 20), Proxy: largeProxy(i % 20), State: breaker.ForcedOpen, Order: breaker.Order{Action: breaker.Action{Reason: strings.Repeat("why ", 200)}},
		})
	}
	return out, nil
}

func (*largeModel) Events(context.Context, breaker.EventFilter) ([]breaker.Event, error) {
	var out []breaker.Event
	for i := range uint64(1000) {
		out = append(out, breaker.Event{ID: i + 1, At: day, Kind: breaker.Transitioned, Service: largeService(0), Cause: strings.Repeat("why ", 2000)})
	}
	return out, nil
}

func (*largeModel) Explain(_ context.Context, service string) (admin.Explanation, error) {
	out := admin.Explanation{Breaker: largeBreaker(service), Findings: []admin.Finding{{What: "all is open"}}}
	for i := range largeProxies {
		out.Findings[0].Proxies = append(out.Findings[0].Proxies, largeProxy(i))
		out.Counts = append(out.Counts, admin.ProxyCounts{Proxy: largeProxy(i), Counts: slices.Repeat([]admin.FailureCount{{Stat: "upstream_rq_maintenance_mode", Meaning: strings.Repeat("x", 100)}}, 20)})
	}
	return out, nil
}

func (m *largeModel) ConfigStatus(context.Context) (admin.ConfigStatus, error) {
	var out admin.ConfigStatus
	for i := range m.services {
		r := admin.Rejection{Service: largeService(i), Message: strings.Repeat("bad regex ", 400)}
		for j := range largeProxies {
			r.Proxies = append(r.Proxies, largeProxy(j))
		}
		out.Rejections = append(out.Rejections, r)
		out.StaleServices = append(out.StaleServices, largeService(i))
	}
	return out, nil
}

func (m *largeModel) Plan(context.Context, admin.PlanRequest) (admin.Plan, error) {
	var out admin.Plan
	for i := range m.services {
		s := admin.ServicePlan{Service: largeService(i), Action: "changed", Effects: []admin.Effect{{Text: "replaces its cluster"}}}
		for j := range largeProxies {
			s.Effects[0].Proxies = append(s.Effects[0].Proxies, largeProxy(j))
		}
		s.Settings = slices.Repeat([]policy.Change{{Path: "retry.max_retries", From: "3", To: "1"}}, 10)
		out.Services = append(out.Services, s)
		out.Resources = append(out.Resources, admin.ResourcePlan{TypeURL: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Name: largeService(i), Diff: strings.Repeat("+a\n", 1000)})
	}
	return out, nil
}

func (*largeModel) Reset(_ context.Context, req breaker.ResetRequest) (breaker.ResetResult, error) {
	out := breaker.ResetResult{Service: req.Service}
	for i := range largeProxies {
		p := breaker.ProxyReset{Proxy: largeProxy(i), Note: "100 of 100 hosts ejected", Error: strings.Repeat("rejected ", 500)}
		for j := range largeHosts {
			p.Before = append(p.Before, fmt.Sprintf("10.20.30.%d:8005", j))
		}
		p.After = p.Before
		out.Proxies = append(out.Proxies, p)
	}
	return out, nil
}

func (*largeModel) Order(_ context.Context, req breaker.OrderRequest) (breaker.OrderResult, error) {
	out := breaker.OrderResult{Service: req.Service}
	for i := range largeProxies {
		out.Proxies = append(out.Proxies, breaker.ProxyOrder{Proxy: largeProxy(i), Error: strings.Repeat("rejected ", 500)})
	}
	return out, nil
}
