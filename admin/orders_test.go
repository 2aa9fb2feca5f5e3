package admin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// TestOrdersArePassedOn: each call is the model's order of one state, by who asks.
func TestOrdersArePassedOn(t *testing.T) {
	model := newFakeModel()
	c := start(t, admin.Options{Model: model}).client
	proxies := []*adminpb.ProxyOrder{{Proxy: "edge-1", Acknowledged: true, State: "closed", Note: "Envoy sends no request to the service"}}
	minute := durationpb.New(time.Minute)
	for _, tt := range []struct {
		name  string
		do    func(context.Context) (any, error)
		asked breaker.OrderRequest
		want  any
	}{
		{
			name: "force open", do: call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Proxy: "edge-1", Ttl: minute, Actor: "ann", Reason: "drill"}),
			asked: breaker.OrderRequest{Service: "fraud-service", Proxy: "edge-1", State: breaker.ForcedOpen, TTL: time.Minute, Action: breaker.Action{Actor: "ann", Reason: "drill"}},
			want:  &adminpb.ForceOpenBreakerResponse{Service: "fraud-service", Ok: true, Until: timestamppb.New(day.Add(time.Minute)), Proxies: proxies},
		},
		{
			name: "disable", do: call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service", Ttl: minute, Actor: "ann", Reason: "drill"}),
			asked: breaker.OrderRequest{Service: "fraud-service", State: breaker.Disabled, TTL: time.Minute, Action: breaker.Action{Actor: "ann", Reason: "drill"}},
			want:  &adminpb.DisableBreakerResponse{Service: "fraud-service", Ok: true, Until: timestamppb.New(day.Add(time.Minute)), Proxies: proxies},
		},
		{
			name: "release", do: call(c.ReleaseBreaker, &adminpb.ReleaseBreakerRequest{Service: "fraud-service", Proxy: "edge-1", Actor: "ann", Reason: "done"}),
			asked: breaker.OrderRequest{Service: "fraud-service", Proxy: "edge-1", State: breaker.Closed, Action: breaker.Action{Actor: "ann", Reason: "done"}},
			want:  &adminpb.ReleaseBreakerResponse{Service: "fraud-service", Ok: true, Proxies: proxies},
		},
		{
			name: "without a name, for ever", do: call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "search-service", Reason: "drill", ForEver: true}),
			asked: breaker.OrderRequest{Service: "search-service", State: breaker.ForcedOpen, Action: breaker.Action{Actor: "127.0.0.1", Reason: "drill"}},
			want:  &adminpb.ForceOpenBreakerResponse{Service: "search-service", Ok: true, Proxies: proxies},
		},
		{
			name: "without an end", do: call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "search-service", Actor: "ann", Reason: "drill"}),
			asked: breaker.OrderRequest{Service: "search-service", State: breaker.Disabled, TTL: 15 * time.Minute, Action: breaker.Action{Actor: "ann", Reason: "drill"}},
			want:  &adminpb.DisableBreakerResponse{Service: "search-service", Ok: true, Until: timestamppb.New(day.Add(15 * time.Minute)), Proxies: proxies},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.do(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if asked := model.lastOrder(); asked != tt.asked {
				t.Errorf("the model got %+v, want %+v", asked, tt.asked)
			}
			if diff := cmp.Diff(tt.want, got, protocmp.Transform()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	model := newFakeModel()
	c := start(t, admin.Options{Model: model}).client
	long := strings.Repeat("x", 1025)
	for _, tt := range []struct {
		name string
		do   func(context.Context) (any, error)
		code codes.Code
		says string
	}{
		{"no service", call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{}), codes.InvalidArgument, "service is empty"},
		{"explain no service", call(c.ExplainBreaker, &adminpb.ExplainBreakerRequest{}), codes.InvalidArgument, "service is empty"},
		{"long reason", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service", Reason: long}), codes.InvalidArgument, "reason has 1025 bytes"},
		{"long actor", call(c.ReleaseBreaker, &adminpb.ReleaseBreakerRequest{Service: "fraud-service", Actor: long}), codes.InvalidArgument, "actor has 1025 bytes"},
		{"no duration", call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Reason: "drill", Ttl: &durationpb.Duration{Seconds: 1, Nanos: -1}}), codes.InvalidArgument, "ttl is no duration"},
		{"no duration to disable", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service", Reason: "drill", Ttl: &durationpb.Duration{Seconds: 1, Nanos: -1}}), codes.InvalidArgument, "ttl is no duration"},
		{"invalid", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service", Reason: "drill", Ttl: durationpb.New(-time.Second)}), codes.InvalidArgument, "ttl is -1s and must be positive"},
		{"no time", call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Reason: "drill", Ttl: durationpb.New(0)}), codes.InvalidArgument, "for_ever is for an override without an end"},
		{"an end and none", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service", Reason: "drill", Ttl: durationpb.New(time.Minute), ForEver: true}), codes.InvalidArgument, "ttl and for_ever exclude each other"},
		{"no reason", call(c.ForceOpenBreaker, &adminpb.ForceOpenBreakerRequest{Service: "fraud-service", Reason: " "}), codes.InvalidArgument, "reason is empty: an override needs one"},
		{"no reason to disable", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "fraud-service"}), codes.InvalidArgument, "reason is empty: an override needs one"},
		{"unknown service", call(c.DisableBreaker, &adminpb.DisableBreakerRequest{Service: "nope", Reason: "drill"}), codes.NotFound, `unknown service "nope"`},
		{"unknown proxy", call(c.ReleaseBreaker, &adminpb.ReleaseBreakerRequest{Service: "fraud-service", Proxy: "nope"}), codes.NotFound, `unknown proxy "nope"`},
	} {
		_, err := tt.do(t.Context())
		if status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.says) {
			t.Errorf("%s: error is %v, want %v with %q", tt.name, err, tt.code, tt.says)
		}
	}
}
