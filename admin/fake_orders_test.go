package admin_test

import (
	"context"
	"fmt"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

func (f *fakeModel) Order(_ context.Context, req breaker.OrderRequest) (breaker.OrderResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, req)
	b, err := f.find(req.Service)
	switch {
	case err != nil:
		return breaker.OrderResult{}, err
	case req.Proxy == "nope":
		return breaker.OrderResult{}, fmt.Errorf("%w %q", breaker.ErrUnknownProxy, req.Proxy)
	case req.TTL < 0:
		return breaker.OrderResult{}, fmt.Errorf("%w: the time to live is %v", breaker.ErrInvalidOrder, req.TTL)
	}
	r := breaker.OrderResult{Service: b.Service, State: req.State, NotSaved: f.unsaved, Proxies: []breaker.ProxyOrder{
		{Proxy: "edge-1", Acknowledged: true, State: breaker.Closed, Note: "Envoy sends no request to the service"},
	}}
	if req.TTL > 0 {
		r.Until = day.Add(req.TTL)
	}
	return r, nil
}

func (f *fakeModel) lastOrder() breaker.OrderRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.orders) == 0 {
		return breaker.OrderRequest{}
	}
	return f.orders[len(f.orders)-1]
}

func (f *fakeModel) Orders(context.Context) ([]breaker.StandingOrder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []breaker.StandingOrder{{
		Service: "fraud-service", Proxy: "edge-2", State: breaker.ForcedOpen, Since: day, NotSaved: true,
		Order: breaker.Order{Action: breaker.Action{Actor: "ann", Reason: "drill"}, Until: day.Add(time.Hour)},
	}}, f.err
}

func keptEvents() []breaker.Event {
	return []breaker.Event{
		{
			ID: 7, At: day, Kind: breaker.Transitioned, Service: "fraud-service", Proxy: "edge-1", From: breaker.Closed, To: breaker.Open,
			Cause: "5 of 37 attempts failed", Shadow: true,
		},
		{ID: 9, At: day.Add(time.Second), Kind: breaker.WasForcedOpen, Service: "search-service", Cause: "drill", Actor: "ann", Host: "h", Until: day.Add(time.Hour)},
	}
}

func (f *fakeModel) Events(_ context.Context, filter breaker.EventFilter) ([]breaker.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	var out []breaker.Event
	for _, e := range keptEvents() {
		if filter.Service == "" || filter.Service == e.Service {
			out = append(out, e)
		}
	}
	if filter.Limit > 0 && len(out) > filter.Limit {
		out = out[len(out)-filter.Limit:]
	}
	return out, nil
}

func (f *fakeModel) FollowEvents(ctx context.Context, filter breaker.EventFilter) (<-chan breaker.Event, error) {
	kept, err := f.Events(ctx, filter)
	if err != nil {
		return nil, err
	}
	f.set(func(f *fakeModel) { f.watchers++ })
	out := make(chan breaker.Event)
	go func() {
		defer f.set(func(f *fakeModel) { f.watchers-- })
		defer close(out)
		for {
			for _, e := range kept {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
			select {
			case e := <-f.happens:
				kept = []breaker.Event{e}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (f *fakeModel) Explain(_ context.Context, service string) (admin.Explanation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(service)
	if err != nil {
		return admin.Explanation{}, err
	}
	return admin.Explanation{
		Breaker:  b,
		Findings: []admin.Finding{{Proxies: []string{"edge-1"}, What: "its breaker is open", Advice: "wait"}},
		Counts: []admin.ProxyCounts{
			{Proxy: "edge-1", Counts: []admin.FailureCount{
				{Stat: "upstream_rq_maintenance_mode", Flag: "UO", Meaning: "kept from it by its breaker", Total: 7, Recent: 2},
			}},
			{Proxy: "edge-2", Error: "connection refused"},
		},
		Settings: []policy.Setting{{Path: "breaker.timeout", Value: "30s", Origin: policy.Origin{
			Layer: policy.LayerProfile, Variable: "reads", Position: policy.Position{File: "defaults.yaml", Line: 3, Column: 5}, Clamped: true,
		}}},
	}, nil
}
