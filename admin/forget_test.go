package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

const (
	forgetPath       = "/api/v1/proxies/edge-3/forget"
	disconnectedJSON = `{"id":"edge-3","node_cluster":"edge","admin_address":"127.0.0.1:9903","left":"2026-03-04T05:06:07Z","replaced":false}`
)

func TestForgetProxy(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	got, err := run.client.ForgetProxy(t.Context(), &adminpb.ForgetProxyRequest{Id: "edge-3", Actor: "ann", Reason: "scaled down"})
	if err != nil {
		t.Fatal(err)
	}
	want := &adminpb.ForgetProxyResponse{Proxy: &adminpb.DisconnectedProxy{
		Id: "edge-3", NodeCluster: "edge", AdminAddress: "127.0.0.1:9903", Left: timestamppb.New(day),
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if got := do(t, "POST", run.url+forgetPath, `{"reason":"scaled down"}`, nil); got.status != 200 || got.body != `{"proxy":`+disconnectedJSON+`,"not_saved":false,"not_saved_reason":""}` {
		t.Errorf("over HTTP: %d %s", got.status, got.body)
	}
	asked := []forgotten{
		{"edge-3", breaker.Action{Actor: "ann", Reason: "scaled down"}},
		{"edge-3", breaker.Action{Actor: "127.0.0.1", Reason: "scaled down"}},
	}
	model.set(func(f *fakeModel) {
		if !slices.Equal(f.forgets, asked) {
			t.Errorf("the model was told of %v, want %v", f.forgets, asked)
		}
	})
}

// An id may have any character but a slash.
func TestForgetProxyOfAnOddID(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	if got := do(t, "POST", run.url+"/api/v1/proxies/a%20b:c%25d/forget", "{}", nil); got.status != 404 || got.body != `{"code":5,"message":"unknown proxy a b:c%d"}` {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestForgetProxyThatIsRefused(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	for _, tt := range []struct {
		req  *adminpb.ForgetProxyRequest
		code codes.Code
		says string
	}{
		{&adminpb.ForgetProxyRequest{}, codes.InvalidArgument, "id is empty"},
		{&adminpb.ForgetProxyRequest{Id: "edge-3", Actor: strings.Repeat("x", 257)}, codes.InvalidArgument, "actor has 257 bytes"},
		{&adminpb.ForgetProxyRequest{Id: "edge-3", Reason: strings.Repeat("x", 1025)}, codes.InvalidArgument, "reason has 1025 bytes"},
		{&adminpb.ForgetProxyRequest{Id: "edge-1"}, codes.FailedPrecondition, "the proxy is connected: end it first"},
		{&adminpb.ForgetProxyRequest{Id: "nope"}, codes.NotFound, "unknown proxy nope"},
	} {
		_, err := run.client.ForgetProxy(t.Context(), tt.req)
		if status.Code(err) != tt.code || !strings.Contains(status.Convert(err).Message(), tt.says) {
			t.Errorf("%v: error is %v, want %v with %q", tt.req, err, tt.code, tt.says)
		}
	}
	if got := do(t, "POST", run.url+"/api/v1/proxies/edge-1/forget", "{}", nil); got.status != 409 {
		t.Errorf("one that is connected, over HTTP: %d %s", got.status, got.body)
	}
	model.set(func(f *fakeModel) { f.err = fmt.Errorf("%w: a few seconds", admin.ErrUnsettled) })
	if _, err := run.client.ForgetProxy(t.Context(), &adminpb.ForgetProxyRequest{Id: "edge-3"}); status.Code(err) != codes.Unavailable {
		t.Errorf("too early: %v", err)
	}
}
