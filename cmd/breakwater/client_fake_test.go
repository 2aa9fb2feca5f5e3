package main

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// fakeAPI answers the clients' calls. GetVersion stays unimplemented.
type fakeAPI struct {
	adminpb.UnimplementedAdminServiceServer
	hang    bool   // every call waits for its deadline
	unsaved string // why what was done could not be saved; empty if it was

	mu       sync.Mutex // guards the following
	breakers []*adminpb.Breaker
	config   *adminpb.GetConfigStatusResponse
	reset    *adminpb.ResetBreakerResponse
	proxies  []*adminpb.Proxy
	missed   []*adminpb.DisconnectedProxy
	orders   []*adminpb.StandingOrder
	events   []*adminpb.Event
	ordered  []*adminpb.ProxyOrder
	explains *adminpb.ExplainBreakerResponse
	plan     *adminpb.PlanPoliciesResponse
	asked    []proto.Message
}

var noon = timestamppb.New(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))

func newFakeAPI() *fakeAPI {
	return &fakeAPI{
		breakers: []*adminpb.Breaker{
			{Service: "fraud-service", State: "open", Summary: "open on 1 of 2 proxies", Proxies: []*adminpb.ProxyBreaker{
				{
					Proxy: "edge-1", State: "closed", TotalHosts: 2, Requests: 3000, Attempts: 10, Since: noon, RecentAttempts: 37, RecentErrors: 5, Shadow: true, ShadowState: "half_open", Successes: 1,
				},
				{
					Proxy: "edge-2", State: "open", Cause: "2 of 2 hosts ejected", EjectedHosts: 2, TotalHosts: 2, Requests: 35, Errors: 10, Attempts: 35, Failures: 10, Since: noon,
					Until: timestamppb.New(noon.AsTime().Add(30 * time.Second)), Overloaded: true, RecentAttempts: 5, RecentErrors: 5,
					Hosts: []*adminpb.Host{
						{Address: "10.0.0.1:8005", Ejected: true, Requests: 20, Errors: 5},
						{Address: "10.0.0.2:8005", Ejected: true, Unhealthy: true, Requests: 15, Errors: 5},
					},
				},
			}, Overview: &adminpb.Overview{
				Cause: "2 of 2 hosts ejected", Since: noon, Until: timestamppb.New(noon.AsTime().Add(30 * time.Second)), Proxies: 2, ProxiesInState: 1,
				EjectedHosts: 2, TotalHosts: 2, Attempts: 45, Failures: 10, RecentAttempts: 5, RecentErrors: 5, Overloaded: true,
			}},
			{Service: "search-service", State: "unknown", Summary: "no proxy is connected", Overview: &adminpb.Overview{}},
		},
		config: &adminpb.GetConfigStatusResponse{
			Services: 2, Digest: "abc", LastSuccess: noon, LastAttempt: noon,
			Problems: []*adminpb.Problem{
				{Severity: "error", Position: &adminpb.Position{File: "fraud.yaml", Line: 3, Column: 5}, Service: "fraud-service", Path: "retry.max_delay", Message: "is under base_delay"},
				{Severity: "warning", Position: &adminpb.Position{File: "search.yaml"}, Message: "can never trip", Rule: "never-trips"},
			},
			Rejections: []*adminpb.Rejection{{
				Service: "search-service", TypeUrl: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", Resource: "gateway",
				Proxies: []string{"edge-1"}, Message: "bad\nregex \x1b[31m", Partial: true, Position: &adminpb.Position{File: "search.yaml", Line: 1, Column: 1},
				Excerpt: []*adminpb.SourceLine{{Line: 1, Text: "service: search-service"}},
			}},
			StaleServices: []string{"fraud-service"},
			StorageFaults: []*adminpb.StorageFault{
				{Document: "orders", Error: "no space left\non device", Since: noon},
				{Document: "state.db", Error: "state state.db is corrupt", Since: noon, Corrupt: true},
			},
		},
		reset: &adminpb.ResetBreakerResponse{Service: "fraud-service", Ok: true, Pushed: true, Generation: 7, Proxies: []*adminpb.ProxyReset{
			{Proxy: "edge-1", Acknowledged: true, EjectedBefore: []string{"10.0.0.1:8005", "10.0.0.2:8005"}, Note: "0 of 2 hosts ejected", From: "open"},
		}},
		orders: []*adminpb.StandingOrder{
			{Service: "fraud-service", Proxy: "edge-3", Since: noon, Order: &adminpb.Order{State: "forced_open", Actor: "ann", Reason: "a\ndrill", Until: noon}},
			{Service: "search-service", Since: noon, Order: &adminpb.Order{State: "disabled"}, NotSaved: true},
		},
		events: []*adminpb.Event{
			{Id: 7, Time: noon, Kind: "transition", Service: "fraud-service", Proxy: "edge-2", From: "closed", To: "open", Cause: "2 of 2\nhosts ejected", Shadow: true},
			{Id: 8, Time: noon, Kind: "force_open", Service: "search-service", Cause: "drill", Actor: "ann", Until: noon},
			{Id: 9, Time: noon, Kind: "release", Service: "search-service", Actor: "ann"},
			{Id: 10, Time: noon, Kind: "host_ejected", Service: "search-service", Proxy: "edge-1", Host: "10.0.0.1:80"},
		},
		ordered: []*adminpb.ProxyOrder{{Proxy: "edge-1", Acknowledged: true, State: "forced_open", Note: "Envoy sends no request to the service"}},
		proxies: []*adminpb.Proxy{
			{
				Id: "edge-1", NodeCluster: "edge", Version: "envoy/1.40.0", Address: "127.0.0.1:40000", AdminAddress: "127.0.0.1:9901",
				ConnectedSince: noon, AdminReachable: true, LastLoadReport: noon,
				Resources: []*adminpb.ProxyResources{{
					TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", AcknowledgedVersion: "v1",
					LastNack: &adminpb.Nack{Version: "v2", Message: "no such filter", Time: noon},
				}},
			},
			{Id: "edge-2", Address: "127.0.0.1:40001", ConnectedSince: noon, AdminError: "its bootstrap names no admin port", Faults: []string{"runs Envoy 1.38.3; Breakwater needs 1.39 or later", "has another\nfault"}},
		},
		missed: []*adminpb.DisconnectedProxy{
			{Id: "edge-3", NodeCluster: "edge", AdminAddress: "127.0.0.1:9903", Left: noon},
			{Id: "edge-4", Left: noon},
			{Id: "edge-5", NodeCluster: "edge", AdminAddress: "127.0.0.1:9905", Left: noon, Replaced: true},
		},
	}
}

// record notes the request and waits if the fake is to hang.
func (f *fakeAPI) record(ctx context.Context, req proto.Message) error {
	if f.hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, req)
	return nil
}

func (f *fakeAPI) lastAsked() proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

func (f *fakeAPI) ListBreakers(ctx context.Context, req *adminpb.ListBreakersRequest) (*adminpb.ListBreakersResponse, error) {
	return &adminpb.ListBreakersResponse{Breakers: f.breakers}, f.record(ctx, req)
}

func (f *fakeAPI) GetBreaker(ctx context.Context, req *adminpb.GetBreakerRequest) (*adminpb.GetBreakerResponse, error) {
	for _, b := range f.breakers {
		if b.Service == req.Service {
			return &adminpb.GetBreakerResponse{Breaker: b}, f.record(ctx, req)
		}
	}
	return nil, status.Errorf(codes.NotFound, "unknown service %q", req.Service)
}

func (f *fakeAPI) GetConfigStatus(ctx context.Context, req *adminpb.GetConfigStatusRequest) (*adminpb.GetConfigStatusResponse, error) {
	return f.config, f.record(ctx, req)
}

func (f *fakeAPI) ResetBreaker(ctx context.Context, req *adminpb.ResetBreakerRequest) (*adminpb.ResetBreakerResponse, error) {
	if req.Service == "nope" {
		return nil, status.Error(codes.NotFound, `unknown service "nope"`)
	}
	f.reset.NotSaved, f.reset.NotSavedReason = f.unsaved != "", f.unsaved
	return f.reset, f.record(ctx, req)
}

func (f *fakeAPI) ListProxies(ctx context.Context, req *adminpb.ListProxiesRequest) (*adminpb.ListProxiesResponse, error) {
	return &adminpb.ListProxiesResponse{Proxies: f.proxies, Missed: f.missed}, f.record(ctx, req)
}

func (f *fakeAPI) ForgetProxy(ctx context.Context, req *adminpb.ForgetProxyRequest) (*adminpb.ForgetProxyResponse, error) {
	for _, p := range f.missed {
		if p.Id == req.Id {
			return &adminpb.ForgetProxyResponse{Proxy: p}, f.record(ctx, req)
		}
	}
	return nil, status.Errorf(codes.NotFound, "unknown proxy %s", req.Id)
}

func (f *fakeAPI) GetLogLevel(ctx context.Context, req *adminpb.GetLogLevelRequest) (*adminpb.GetLogLevelResponse, error) {
	return &adminpb.GetLogLevelResponse{Levels: []*adminpb.LogLevel{{Level: "info"}, {Subsystem: "xds", Level: "debug"}}}, f.record(ctx, req)
}

func (f *fakeAPI) SetLogLevel(ctx context.Context, req *adminpb.SetLogLevelRequest) (*adminpb.SetLogLevelResponse, error) {
	return &adminpb.SetLogLevelResponse{Levels: []*adminpb.LogLevel{{Level: req.Level}}}, f.record(ctx, req)
}

// serveFake serves api, nil for a server without AdminService, and returns its address.
func serveFake(t *testing.T, api adminpb.AdminServiceServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(admin.MaxPlan))
	if api != nil {
		adminpb.RegisterAdminServiceServer(server, api)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("the fake server: %v", err)
		}
	})
	return l.Addr().String()
}

// runClient runs one client command and returns what it printed.
func runClient(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}
