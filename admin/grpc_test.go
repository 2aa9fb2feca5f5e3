package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

func fraudProto() *adminpb.Breaker {
	return &adminpb.Breaker{Service: "fraud-service", State: "open", Summary: "open on 1 of 2 proxies", Proxies: []*adminpb.ProxyBreaker{
		{
			Proxy: "edge-1", State: "open", Cause: "2 of 2 hosts ejected",
			Since: timestamppb.New(day), Until: timestamppb.New(day.Add(30 * time.Second)),
			Hosts: []*adminpb.Host{
				{Address: "10.0.0.1:8005", Ejected: true, Requests: 30, Errors: 4},
				{Address: "10.0.0.2:8005", Ejected: true, Unhealthy: true, Requests: 10, Errors: 1},
			},
			EjectedHosts: 2, TotalHosts: 2, Requests: 40, Errors: 5, RecentErrors: 3, Overloaded: true,
			Attempts: 39, Failures: 4, RecentAttempts: 12, Successes: 1,
		},
		{
			Proxy: "edge-2", State: "forced_open", Cause: "forced open by ann: drill", Since: timestamppb.New(day), Until: timestamppb.New(day.Add(time.Hour)),
			Requests: 5, Attempts: 5, Shadow: true, ShadowState: "closed",
			Order: &adminpb.Order{State: "forced_open", Actor: "ann", Reason: "drill", Until: timestamppb.New(day.Add(time.Hour))},
		},
	}, Overview: &adminpb.Overview{
		Cause: "2 of 2 hosts ejected", Since: timestamppb.New(day), Until: timestamppb.New(day.Add(30 * time.Second)),
		Proxies: 2, ProxiesInState: 1, EjectedHosts: 2, TotalHosts: 2, Attempts: 44, Failures: 4, Shadow: true, ShadowState: "closed",
		Order:      &adminpb.Order{State: "forced_open", Actor: "ann", Reason: "drill", Until: timestamppb.New(day.Add(time.Hour))},
		Overloaded: true, RecentAttempts: 12, RecentErrors: 3, Successes: 1,
	}}
}

func searchProto() *adminpb.Breaker {
	return &adminpb.Breaker{Service: "search-service", State: "unknown", Summary: "no proxy is connected", Overview: &adminpb.Overview{}}
}

// call makes one RPC's error comparable with the others'.
func call[Req, Resp any](rpc func(context.Context, Req, ...grpc.CallOption) (Resp, error), req Req) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) { return rpc(ctx, req) }
}

func TestRPCs(t *testing.T) {
	model := newFakeModel()
	c := start(t, admin.Options{Model: model, Version: "v1.2.3"}).client
	levels := []*adminpb.LogLevel{{Level: "info"}, {Subsystem: "xds", Level: "debug"}}
	for _, tt := range []struct {
		name string
		do   func(context.Context) (any, error)
		want any
		code codes.Code
		says string
	}{
		{
			name: "list", do: call(c.ListBreakers, &adminpb.ListBreakersRequest{}),
			want: &adminpb.ListBreakersResponse{Breakers: []*adminpb.Breaker{fraudProto(), searchProto()}},
		},
		{
			name: "get", do: call(c.GetBreaker, &adminpb.GetBreakerRequest{Service: "search-service"}),
			want: &adminpb.GetBreakerResponse{Breaker: searchProto()},
		},
		{name: "get unknown", do: call(c.GetBreaker, &adminpb.GetBreakerRequest{Service: "nope"}), code: codes.NotFound, says: `unknown service "nope"`},
		{name: "get nothing", do: call(c.GetBreaker, &adminpb.GetBreakerRequest{}), code: codes.InvalidArgument, says: "service is empty"},
		{
			name: "reset", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Host: "10.0.0.1:8005"}),
			want: &adminpb.ResetBreakerResponse{Service: "fraud-service", Host: "10.0.0.1:8005", Ok: true, Pushed: true, Generation: 7, Proxies: []*adminpb.ProxyReset{
				{Proxy: "edge-1", Acknowledged: true, EjectedBefore: []string{"10.0.0.1:8005"}, Note: "0 of 2 hosts ejected", From: "open"},
			}},
		},
		{name: "reset unknown", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "nope"}), code: codes.NotFound, says: `unknown service "nope"`},
		{name: "reset nothing", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{}), code: codes.InvalidArgument, says: "service is empty"},
		{name: "reset unknown host", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Host: "10.9.9.9:1"}), code: codes.NotFound, says: `unknown host "10.9.9.9:1"`},
		{name: "reset one of named hosts", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Host: "10.0.0.2:8005"}), code: codes.FailedPrecondition, says: "IP addresses"},
		{name: "reset no host", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Host: "fraud"}), code: codes.InvalidArgument, says: "ip:port"},
		{name: "reset long reason", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Reason: strings.Repeat("x", 1025)}), code: codes.InvalidArgument, says: "reason has 1025 bytes"},
		{name: "reset long actor", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "fraud-service", Actor: strings.Repeat("x", 257)}), code: codes.InvalidArgument, says: "actor has 257 bytes"},
		{name: "request too large", do: call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Reason: strings.Repeat("x", 70_000)}), code: codes.ResourceExhausted},
		{name: "proxies", do: call(c.ListProxies, &adminpb.ListProxiesRequest{}), want: &adminpb.ListProxiesResponse{Proxies: []*adminpb.Proxy{
			{
				Id: "edge-1", NodeCluster: "edge", Version: "envoy/1.40.0", Address: "127.0.0.1:40000", AdminAddress: "127.0.0.1:9901",
				ConnectedSince: timestamppb.New(day), AdminReachable: true, LastLoadReport: timestamppb.New(day.Add(time.Second)),
				Resources: []*adminpb.ProxyResources{{
					TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", AcknowledgedVersion: "v1",
					LastNack: &adminpb.Nack{Version: "v2", Message: "no such filter", Time: timestamppb.New(day)},
				}},
			},
			{Id: "edge-2", Address: "127.0.0.1:40001", ConnectedSince: timestamppb.New(day), AdminError: "its bootstrap names no admin port", Faults: []string{"runs Envoy 1.38.3; Breakwater needs 1.39 or later"}},
		}, Missed: []*adminpb.DisconnectedProxy{{Id: "edge-3", NodeCluster: "edge", AdminAddress: "127.0.0.1:9903", Left: timestamppb.New(day)}}}},
		{name: "config", do: call(c.GetConfigStatus, &adminpb.GetConfigStatusRequest{}), want: &adminpb.GetConfigStatusResponse{
			Digest: "abc", LastSuccess: timestamppb.New(day), LastAttempt: timestamppb.New(day.Add(time.Minute)), Services: 2,
			Problems: []*adminpb.Problem{{
				Severity: "error", Position: &adminpb.Position{File: "fraud.yaml", Line: 3, Column: 5},
				Service: "fraud-service", Path: "retry.max_delay", Message: "is under base_delay",
				Excerpt: []*adminpb.SourceLine{{Line: 2, Text: "retry:"}, {Line: 3, Text: "    max_delay: ${DELAY}"}},
			}},
			Rejections: []*adminpb.Rejection{{
				Service: "search-service", TypeUrl: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", Resource: "gateway",
				Proxies: []string{"edge-1"}, Message: "bad regex", Partial: true, Position: &adminpb.Position{File: "search.yaml", Line: 1, Column: 1},
				Excerpt: []*adminpb.SourceLine{{Line: 1, Text: "service: search-service"}},
			}},
			StaleServices: []string{"fraud-service"}, MoreProblems: 7,
			StorageFaults: []*adminpb.StorageFault{{Document: "orders", Error: "no space left on device", Since: timestamppb.New(day), Corrupt: true}},
		}},
		{name: "history from no time", do: call(c.GetHistory, &adminpb.GetHistoryRequest{From: &timestamppb.Timestamp{Nanos: -1}}), code: codes.InvalidArgument, says: "from:"},
		{
			name: "history", do: call(c.GetHistory, &adminpb.GetHistoryRequest{}),
			want: &adminpb.GetHistoryResponse{
				Since: timestamppb.New(day), Start: timestamppb.New(day), End: timestamppb.New(day.Add(25 * time.Second)),
				Step: durationpb.New(10 * time.Second), Proxies: []uint32{2, 0, 1},
				Services: []*adminpb.ServiceHistory{
					{Service: "fraud-service", Attempts: []uint32{40, 0, 2}, Failures: []uint32{4, 0, 0}, Refused: []uint32{0, 0, 7}},
					{Service: "search-service", Attempts: []uint32{1, 0, 0}},
				},
			},
		},
		{name: "levels", do: call(c.GetLogLevel, &adminpb.GetLogLevelRequest{}), want: &adminpb.GetLogLevelResponse{Levels: levels}},
		{
			name: "set level", do: call(c.SetLogLevel, &adminpb.SetLogLevelRequest{Level: "trace", Subsystem: "xds"}),
			want: &adminpb.SetLogLevelResponse{Levels: []*adminpb.LogLevel{{Level: "info"}, {Subsystem: "xds", Level: "trace"}}},
		},
		{name: "set unknown level", do: call(c.SetLogLevel, &adminpb.SetLogLevelRequest{Level: "loud"}), code: codes.InvalidArgument, says: `"loud" is none of trace, debug`},
		{name: "set unknown subsystem", do: call(c.SetLogLevel, &adminpb.SetLogLevelRequest{Level: "info", Subsystem: "nope"}), code: codes.NotFound, says: `unknown subsystem "nope"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.do(t.Context())
			if status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.says) {
				t.Fatalf("error is %v, want %v with %q", err, tt.code, tt.says)
			}
			if err == nil {
				if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			}
		})
	}
	got, err := c.GetVersion(t.Context(), &adminpb.GetVersionRequest{})
	if err != nil || got.Version != "v1.2.3" || time.Since(got.Started.AsTime()) > time.Minute {
		t.Errorf("version is %v, %v", got, err)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	want := breaker.ResetRequest{Service: "fraud-service", Host: "10.0.0.1:8005", Action: breaker.Action{Actor: "ann", Reason: "fixed"}}
	if _, err := run.client.ResetBreaker(t.Context(), &adminpb.ResetBreakerRequest{Service: want.Service, Host: want.Host, Actor: want.Actor, Reason: want.Reason}); err != nil {
		t.Fatal(err)
	}
	if got := model.lastReset(); got != want {
		t.Errorf("the model got %+v, want %+v", got, want)
	}
	if _, err := run.client.ResetBreaker(t.Context(), &adminpb.ResetBreakerRequest{Service: want.Service}); err != nil {
		t.Fatal(err)
	}
	if got := model.lastReset().Actor; got != "127.0.0.1" {
		t.Errorf("a caller without a name is %q", got)
	}
}

func TestModelErrorsGetACode(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	for _, tt := range []struct {
		err  error
		code codes.Code
		http int
	}{
		{errors.New("disk on fire"), codes.Internal, 500},
		{breaker.ErrNoProxy, codes.FailedPrecondition, 409},
		{errors.New("not \xff UTF-8"), codes.Internal, 500},
		{context.DeadlineExceeded, codes.DeadlineExceeded, 504},
		{context.Canceled, codes.Canceled, 499},
	} {
		model.set(func(f *fakeModel) { f.err = tt.err })
		c := run.client
		for name, do := range map[string]func(context.Context) (any, error){
			"list":      call(c.ListBreakers, &adminpb.ListBreakersRequest{}),
			"get":       call(c.GetBreaker, &adminpb.GetBreakerRequest{Service: "x"}),
			"reset":     call(c.ResetBreaker, &adminpb.ResetBreakerRequest{Service: "x"}),
			"force":     call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "x", Reason: "drill"}),
			"disable":   call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "x", Reason: "drill"}),
			"release":   call(c.ReleaseBreaker, &adminpb.ReleaseBreakerRequest{Service: "x"}),
			"orders":    call(c.ListOrders, &adminpb.ListOrdersRequest{}),
			"events":    call(c.ListEvents, &adminpb.ListEventsRequest{}),
			"explain":   call(c.ExplainBreaker, &adminpb.ExplainBreakerRequest{Service: "x"}),
			"proxies":   call(c.ListProxies, &adminpb.ListProxiesRequest{}),
			"config":    call(c.GetConfigStatus, &adminpb.GetConfigStatusRequest{}),
			"levels":    call(c.GetLogLevel, &adminpb.GetLogLevelRequest{}),
			"set level": call(c.SetLogLevel, &adminpb.SetLogLevelRequest{Level: "info"}),
		} {
			if _, err := do(t.Context()); status.Code(err) != tt.code {
				t.Errorf("%s: %q came as %v, want %v", name, tt.err, err, tt.code)
			}
		}
		watch, err := c.WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{})
		if err == nil {
			_, err = watch.Recv()
		}
		if status.Code(err) != tt.code {
			t.Errorf("watch: %q came as %v, want %v", tt.err, err, tt.code)
		}
		for _, since := range []uint64{0, 1} {
			events, err := c.WatchEvents(t.Context(), &adminpb.WatchEventsRequest{Since: since})
			if err == nil {
				_, err = events.Recv()
			}
			if status.Code(err) != tt.code {
				t.Errorf("events since %d: %q came as %v, want %v", since, tt.err, err, tt.code)
			}
		}
		for _, path := range []string{"/api/v1/breakers", "/api/v1/breakers:watch", "/api/v1/events:watch", "/api/v1/circuit-breakers"} {
			if got := get(t, run.url+path); got.status != tt.http {
				t.Errorf("%s: %q came as %+v, want %d", path, tt.err, got, tt.http)
			}
		}
	}
}

func TestPanicsAreConfinedAndCounted(t *testing.T) {
	model := newFakeModel()
	reg := prometheus.NewRegistry()
	run := start(t, admin.Options{Model: model, Registerer: reg, Gatherer: reg})
	model.set(func(f *fakeModel) { f.panics = true })
	_, err := run.client.ListBreakers(t.Context(), &adminpb.ListBreakersRequest{})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "fault") {
		t.Errorf("gRPC answered %v, want Internal without the panic's text", err)
	}
	if got := get(t, run.url+"/api/v1/breakers"); got.status != http.StatusInternalServerError || got.body != `{"code":13,"message":"internal error"}` {
		t.Errorf("HTTP answered %+v", got)
	}
	model.set(func(f *fakeModel) { f.panics = false })
	if _, err := run.client.ListBreakers(t.Context(), &adminpb.ListBreakersRequest{}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
	metrics := get(t, run.url+"/metrics").body
	for _, want := range []string{
		`grpc_server_handled_total{grpc_code="Internal",grpc_method="ListBreakers",grpc_service="breakwater.admin.v1.AdminService",grpc_type="unary"} 1`,
		`grpc_server_handled_total{grpc_code="OK",grpc_method="ListBreakers",grpc_service="breakwater.admin.v1.AdminService",grpc_type="unary"} 1`,
		`breakwater_http_requests_total{code="500",method="get"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestReflectionAndHealth(t *testing.T) {
	run := start(t, admin.Options{Model: newFakeModel()})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(run.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "breakwater.admin.v1.AdminService") || !strings.Contains(got, "grpc.health.v1.Health") {
		t.Errorf("reflection lists %s", got)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "breakwater.admin.v1.AdminService"} {
		got, err := grpc_health_v1.NewHealthClient(run.conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: name})
		if err != nil || got.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q is %v, %v", name, got, err)
		}
	}
}
