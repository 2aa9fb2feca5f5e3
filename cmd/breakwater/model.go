package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// model is what the admin API serves, put together from the parts that know it.
type model struct{ plane *plane }

var _ admin.Model = (*model)(nil)

func (m *model) Breakers(ctx context.Context, q breaker.Query) (iter.Seq[breaker.Breaker], error) {
	return m.plane.board.Breakers(ctx, q), nil
}

func (m *model) Breaker(ctx context.Context, service string) (breaker.Breaker, error) {
	return m.plane.board.Breaker(ctx, service)
}

func (m *model) Watch(ctx context.Context, q breaker.WatchQuery) (<-chan iter.Seq[breaker.Breaker], error) {
	return m.plane.board.Watch(ctx, q), nil
}

func (m *model) Windows(_ context.Context, service string) ([]breaker.ProxyWindow, error) {
	return m.plane.board.Windows(service)
}

func (m *model) Traffic(ctx context.Context, service string) (breaker.Traffic, error) {
	return m.plane.board.Traffic(ctx, service)
}

func (m *model) History(_ context.Context, f breaker.HistoryFilter) (breaker.History, error) {
	return m.plane.board.History(f), nil
}

func (m *model) Reset(ctx context.Context, req breaker.ResetRequest) (breaker.ResetResult, error) {
	return m.plane.board.Reset(ctx, req)
}

func (m *model) Order(ctx context.Context, req breaker.OrderRequest) (breaker.OrderResult, error) {
	return m.plane.board.Order(ctx, req)
}

func (m *model) Orders(context.Context) ([]breaker.StandingOrder, error) {
	return m.plane.board.Orders(), nil
}

func (m *model) Events(_ context.Context, f breaker.EventFilter) ([]breaker.Event, error) {
	return m.plane.board.Events(f), nil
}

func (m *model) FollowEvents(ctx context.Context, f breaker.EventFilter) (<-chan breaker.Event, error) {
	return m.plane.board.FollowEvents(ctx, f), nil
}

func (m *model) Proxies(context.Context) ([]admin.Proxy, error) {
	health := m.plane.board.Health()
	var out []admin.Proxy
	for _, p := range m.plane.publisher.Ledger().Proxies() {
		q := admin.Proxy{
			ID: p.ID, NodeCluster: p.Cluster, Version: p.Version, Address: p.Address, AdminAddress: p.AdminAddress,
			ConnectedSince: p.Since, AdminReachable: health[p.ID].Reachable, AdminError: health[p.ID].Error,
			LastReport: health[p.ID].LastReport, Faults: p.Faults,
		}
		for _, r := range p.Resources {
			s := admin.ProxyResources{TypeURL: r.TypeURL, Acknowledged: r.Version}
			if r.LastNACK != nil {
				s.LastNACK = &admin.NACK{Version: r.LastNACK.Version, Message: m.plane.publisher.Hide(r.LastNACK.Text), Time: r.LastNACK.Time}
			}
			q.Resources = append(q.Resources, s)
		}
		slices.SortFunc(q.Resources, func(a, b admin.ProxyResources) int { return cmp.Compare(a.TypeURL, b.TypeURL) })
		out = append(out, q)
	}
	return out, nil
}

func (m *model) Disconnected(context.Context) ([]admin.DisconnectedProxy, error) {
	members, err := m.plane.server.Roster().Members()
	if errors.Is(err, xds.ErrUnsettled) {
		return nil, nil
	}
	var out []admin.DisconnectedProxy
	for _, p := range members {
		if !p.Disconnected.IsZero() {
			out = append(out, disconnectedProxy(p))
		}
	}
	return out, err
}

func (m *model) Forget(_ context.Context, proxy string, by breaker.Action) (forgotten admin.DisconnectedProxy, unsaved string, err error) {
	p, err := m.plane.server.Roster().Forget(proxy)
	if errors.Is(err, xds.ErrNotSaved) {
		unsaved, err = err.Error(), nil
	}
	switch {
	case err == nil:
		m.plane.board.Forgot(proxy, by)
	case errors.Is(err, xds.ErrConnected):
		err = fmt.Errorf("%w: cannot forget %s before it disconnects: end that Envoy first", admin.ErrProxyConnected, proxy)
	case errors.Is(err, xds.ErrNotDisconnected):
		err = fmt.Errorf("%w %s: it is neither connected nor disconnected%s", breaker.ErrUnknownProxy, proxy, m.similarProxy(proxy))
	case errors.Is(err, xds.ErrUnsettled):
		err = fmt.Errorf("%w: %w", admin.ErrUnsettled, err)
	}
	return disconnectedProxy(p), unsaved, err
}

// similarProxy asks whether another proxy was meant; empty if none has a similar id.
func (m *model) similarProxy(id string) string {
	members, err := m.plane.server.Roster().Members()
	if err != nil {
		return ""
	}
	known := make([]string, len(members))
	for i, p := range members {
		known[i] = p.ID
	}
	if near := policy.Nearest(id, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

func disconnectedProxy(p xds.Member) admin.DisconnectedProxy {
	return admin.DisconnectedProxy{ID: p.ID, NodeCluster: p.Cluster, AdminAddress: p.AdminAddress, Since: p.Disconnected, Replaced: p.ReplacedBy != ""}
}

func (m *model) Targets(context.Context) ([]admin.Target, error) {
	members, err := m.plane.server.Roster().Members()
	if errors.Is(err, xds.ErrUnsettled) {
		err = fmt.Errorf("%w: %w", admin.ErrUnsettled, err)
	}
	taken := map[string]bool{}
	for _, p := range members {
		taken[p.AdminAddress] = taken[p.AdminAddress] || p.Disconnected.IsZero()
	}
	var out []admin.Target
	for _, p := range members {
		// At an address that a connected proxy has, that one would be scraped under the name of the disconnected one.
		if p.Disconnected.IsZero() || p.ReplacedBy == "" && !taken[p.AdminAddress] {
			out = append(out, admin.Target{Proxy: p.ID, AdminAddress: p.AdminAddress})
		}
	}
	return out, err
}

func (m *model) ConfigStatus(context.Context) (admin.ConfigStatus, error) {
	s := m.plane.reloader.Status()
	out := admin.ConfigStatus{
		OK: s.OK, Digest: s.Digest, LastSuccess: s.LastSuccess, LastAttempt: s.LastAttempt,
		Services: s.Services, Problems: withExcerpts(s.Problems, s.Excerpts), MoreProblems: s.MoreProblems, StaleServices: s.Stale,
	}
	for _, r := range m.plane.publisher.Rejections() {
		if !r.Partial {
			// A version that every proxy rejected was never good: the current one is in effect.
			out.StaleServices = slices.DeleteFunc(out.StaleServices, func(name string) bool { return name == r.Service })
		}
		out.Rejections = append(out.Rejections, admin.Rejection{
			Service: r.Service, TypeURL: r.TypeURL, Resource: r.Resource, Proxies: r.Proxies,
			Message: r.Text, Partial: r.Partial, Position: r.Position, Excerpt: r.Excerpt,
		})
	}
	out.OK = out.OK && len(out.Rejections) == 0
	for _, f := range m.plane.store.Faults() {
		out.StorageFaults = append(out.StorageFaults, admin.StorageFault{Document: f.Document, Error: f.Err.Error(), Since: f.Since, Corrupt: f.Corrupt})
	}
	return out, nil
}

// withExcerpts puts each problem together with the lines around it.
func withExcerpts(problems []policy.Problem, excerpts [][]policy.SourceLine) []admin.Problem {
	out := make([]admin.Problem, len(problems))
	for i, p := range problems {
		out[i] = admin.Problem{Problem: p, Excerpt: excerpts[i]}
	}
	return out
}

func (m *model) LogLevels(context.Context) ([]admin.LogLevel, error) {
	return m.plane.log.levels(), nil
}

func (m *model) SetLogLevel(_ context.Context, level hclog.Level, subsystem string) error {
	return m.plane.log.set(level, subsystem)
}
