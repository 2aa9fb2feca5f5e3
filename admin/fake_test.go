package admin_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

var day = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// fakeModel is a Model whose every answer the test sets. Its zero value is not usable.
type fakeModel struct {
	unsaved string // why what was done could not be saved; empty if it was

	changes chan []breaker.Breaker // what Watch sends after the snapshot
	happens chan breaker.Event     // what FollowEvents sends after those that are kept
	block   chan struct{}          // if not nil, Breakers waits for it to close or for ctx
	blocked atomic.Int32           // calls that wait so

	mu       sync.Mutex // guards the following
	breakers []breaker.Breaker
	result   breaker.ResetResult
	err      error // if not nil, the answer of every call
	panics   bool
	resets   []breaker.ResetRequest
	orders   []breaker.OrderRequest
	plans    []admin.PlanRequest
	atPlan   func() // if not nil, called by each Plan
	// untilGone, if not nil, has a plan go on until its client goes, and is closed then.
	untilGone chan struct{}
	forgets   []forgotten
	levels    map[string]hclog.Level
	watchers  int
	every     time.Duration         // of the last Watch
	filter    breaker.HistoryFilter // of the last History
}

func newFakeModel() *fakeModel {
	return &fakeModel{
		changes:  make(chan []breaker.Breaker),
		happens:  make(chan breaker.Event),
		breakers: []breaker.Breaker{fraud(), search()},
		result: breaker.ResetResult{Pushed: true, Generation: 7, Proxies: []breaker.ProxyReset{
			{Proxy: "edge-1", Acknowledged: true, From: breaker.Open, Before: []string{"10.0.0.1:8005"}, Note: "0 of 2 hosts ejected"},
		}},
		levels: map[string]hclog.Level{"": hclog.Info, "xds": hclog.Debug},
	}
}

func fraud() breaker.Breaker {
	return breaker.NewBreaker("fraud-service", []breaker.ProxyBreaker{
		{
			Proxy: "edge-1", State: breaker.Open, Cause: "2 of 2 hosts ejected", Since: day, Until: day.Add(30 * time.Second),
			Hosts: []breaker.Host{
				{Address: "10.0.0.1:8005", Ejected: true, Requests: 30, Errors: 4},
				{Address: "10.0.0.2:8005", Ejected: true, Unhealthy: true, Requests: 10, Errors: 1},
			},
			EjectedHosts: 2, TotalHosts: 2, Requests: 40, Errors: 5, RecentErrors: 3, Overloaded: true,
			Attempts: 39, Failures: 4, RecentAttempts: 12, Successes: 1,
		},
		{
			Proxy: "edge-2", State: breaker.ForcedOpen, Cause: "forced open by ann: drill", Since: day, Until: day.Add(time.Hour), Requests: 5,
			Attempts: 5, Shadow: true, ShadowState: breaker.Closed,
			Order: &breaker.Order{Action: breaker.Action{Actor: "ann", Reason: "drill"}, Until: day.Add(time.Hour)},
		},
	})
}

func search() breaker.Breaker {
	return breaker.NewBreaker("search-service", nil)
}

func (f *fakeModel) Breakers(ctx context.Context, q breaker.Query) (iter.Seq[breaker.Breaker], error) {
	if f.block != nil {
		f.blocked.Add(1)
		select {
		case <-f.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("a fault of the model")
	}
	from := slices.IndexFunc(f.breakers, func(b breaker.Breaker) bool { return b.Service >= q.From })
	if from < 0 {
		from = len(f.breakers)
	}
	return listed(f.breakers[from:], q.Proxies), f.err
}

// listed yields breakers, without their proxies unless these are asked for.
func listed(breakers []breaker.Breaker, proxies bool) iter.Seq[breaker.Breaker] {
	return func(yield func(breaker.Breaker) bool) {
		for _, b := range breakers {
			if !proxies {
				b.Proxies = nil
			}
			if !yield(b) {
				return
			}
		}
	}
}

func (f *fakeModel) Breaker(_ context.Context, service string) (breaker.Breaker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.find(service)
}

// find needs f.mu held.
func (f *fakeModel) find(service string) (breaker.Breaker, error) {
	if f.err != nil {
		return breaker.Breaker{}, f.err
	}
	i := slices.IndexFunc(f.breakers, func(b breaker.Breaker) bool { return b.Service == service })
	if i < 0 {
		return breaker.Breaker{}, fmt.Errorf("%w %q", breaker.ErrUnknownService, service)
	}
	return f.breakers[i], nil
}

func (f *fakeModel) Windows(_ context.Context, service string) ([]breaker.ProxyWindow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(service)
	if err != nil || len(b.Proxies) == 0 {
		return nil, err
	}
	return []breaker.ProxyWindow{
		{Proxy: "edge-1", Window: breaker.Window{
			Settings: breaker.Settings{
				WindowSize: 100, FailureThreshold: policy.Count{N: 5, Set: true}, MinRequests: 20,
				SlowRate: policy.Ratio{Share: 0.5, Set: true}, SlowMinRequests: 10,
			},
			Batches: []breaker.WindowBatch{{Attempts: 9}, {Attempts: 3, Failures: 2}}, Measured: 12, Slow: 1,
		}},
		{Proxy: "edge-2", Window: breaker.Window{
			Settings: breaker.Settings{WindowSize: 50, FailureRate: policy.Ratio{Share: 0.25, Set: true}, MinRequests: 20, SlowMinRequests: 10},
		}},
	}, nil
}

func (f *fakeModel) Traffic(_ context.Context, service string) (breaker.Traffic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := f.find(service)
	if err != nil {
		return breaker.Traffic{}, err
	}
	return breaker.Traffic{Service: b.Service, Time: day, Proxies: []breaker.ProxyTraffic{
		{Proxy: "edge-1", Traffic: envoy.Traffic{
			Requests: map[string]uint64{"success": 40, "error": 2, "circuit_open": 0, "overloaded": 1, "fallback": 7}, Retries: 3,
			Latency: []envoy.LatencyBucket{{Upper: 15625 * time.Microsecond, Count: 30}, {Count: 50}},
		}},
		{Proxy: "edge-2", Error: "connection refused"},
	}}, nil
}

// History has a gap, and two services; what is asked for is kept.
func (f *fakeModel) History(_ context.Context, filter breaker.HistoryFilter) (breaker.History, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filter = filter
	return breaker.History{
		Since: day, Start: day, End: day.Add(25 * time.Second), Step: 10 * time.Second, Proxies: []uint32{2, 0, 1},
		Services: []breaker.ServiceHistory{
			{Service: "fraud-service", Attempts: []uint32{40, 0, 2}, Failures: []uint32{4, 0, 0}, Refused: []uint32{0, 0, 7}},
			{Service: "search-service", Attempts: []uint32{1, 0, 0}},
		},
	}, f.err
}

func (f *fakeModel) Watch(ctx context.Context, q breaker.WatchQuery) (<-chan iter.Seq[breaker.Breaker], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	f.watchers++
	f.every = q.Every
	snapshot := f.breakers
	out := make(chan iter.Seq[breaker.Breaker])
	go func() {
		defer func() {
			close(out)
			f.mu.Lock()
			f.watchers--
			f.mu.Unlock()
		}()
		next := snapshot
		for {
			select {
			case out <- listed(next, q.Proxies):
			case <-ctx.Done():
				return
			}
			select {
			case next = <-f.changes:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (f *fakeModel) watching() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watchers
}

func (f *fakeModel) Reset(_ context.Context, req breaker.ResetRequest) (breaker.ResetResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resets = append(f.resets, req)
	b, err := f.find(req.Service)
	if err != nil {
		return breaker.ResetResult{}, err
	}
	switch req.Host {
	case "10.9.9.9:1":
		return breaker.ResetResult{}, fmt.Errorf("%w %q", breaker.ErrUnknownHost, req.Host)
	case "10.0.0.2:8005":
		return breaker.ResetResult{}, breaker.ErrHostNotResettable
	}
	r := f.result
	r.Service, r.Host = b.Service, req.Host
	return r, nil
}

func (f *fakeModel) Targets(context.Context) ([]admin.Target, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []admin.Target{{Proxy: "edge-1", AdminAddress: "127.0.0.1:9901"}, {Proxy: "edge-2"}}, f.err
}

func (f *fakeModel) Proxies(context.Context) ([]admin.Proxy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []admin.Proxy{
		{
			ID: "edge-1", NodeCluster: "edge", Version: "envoy/1.40.0", Address: "127.0.0.1:40000", AdminAddress: "127.0.0.1:9901",
			ConnectedSince: day, AdminReachable: true, LastReport: day.Add(time.Second),
			Resources: []admin.ProxyResources{{
				TypeURL: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Acknowledged: "v1",
				LastNACK: &admin.NACK{Version: "v2", Message: "no such filter", Time: day},
			}},
		},
		{ID: "edge-2", Address: "127.0.0.1:40001", ConnectedSince: day, AdminError: "its bootstrap names no admin port", Faults: []string{"runs Envoy 1.38.3; Breakwater needs 1.39 or later"}},
	}, f.err
}

func (f *fakeModel) ConfigStatus(context.Context) (admin.ConfigStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return admin.ConfigStatus{
		Digest: "abc", LastSuccess: day, LastAttempt: day.Add(time.Minute), Services: 2,
		Problems: []admin.Problem{{
			Problem: policy.Problem{
				Severity: policy.SeverityError, Position: policy.Position{File: "fraud.yaml", Line: 3, Column: 5},
				Service: "fraud-service", Path: "retry.max_delay", Message: "is under base_delay",
			},
			Excerpt: []policy.SourceLine{{Line: 2, Text: "retry:"}, {Line: 3, Text: "    max_delay: ${DELAY}"}},
		}},
		Rejections: []admin.Rejection{{
			Service: "search-service", TypeURL: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", Resource: "gateway",
			Proxies: []string{"edge-1"}, Message: "bad regex", Partial: true, Position: policy.Position{File: "search.yaml", Line: 1, Column: 1},
			Excerpt: []policy.SourceLine{{Line: 1, Text: "service: search-service"}},
		}},
		StaleServices: []string{"fraud-service"}, MoreProblems: 7,
		StorageFaults: []admin.StorageFault{{Document: "orders", Error: "no space left on device", Since: day, Corrupt: true}},
	}, f.err
}

func (f *fakeModel) LogLevels(context.Context) ([]admin.LogLevel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []admin.LogLevel{{Level: f.levels[""]}, {Subsystem: "xds", Level: f.levels["xds"]}}, f.err
}

func (f *fakeModel) SetLogLevel(_ context.Context, level hclog.Level, subsystem string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.levels[subsystem]; !ok {
		return fmt.Errorf("%w %q", admin.ErrUnknownSubsystem, subsystem)
	}
	f.levels[subsystem] = level
	return f.err
}

// set changes the fake under its lock.
func (f *fakeModel) set(change func(f *fakeModel)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeModel) lastReset() breaker.ResetRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.resets) == 0 {
		return breaker.ResetRequest{}
	}
	return f.resets[len(f.resets)-1]
}
