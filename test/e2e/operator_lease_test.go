package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/breakwater/breakwater/admin/adminpb"
)

// TestOverridesBesideRenewedLeases: while other breakers open and close and their leases are renewed, an Envoy accepts each
// override, though what it is sent is superseded before it has answered.
func TestOverridesBesideRenewedLeases(t *testing.T) {
	t.Parallel()
	const busy, actions = 12, 150
	failing, other := newScript(t), newScript(t)
	failing.set(bad)
	docs := []string{at("svc", other)}
	for i := range busy {
		docs = append(docs, layer2(fmt.Sprintf("busy-%d", i), failing, 100*time.Millisecond))
	}
	s := newStack(t, quiet(docs...), "--lease", "1s")
	s.untilReporting()
	for i := range busy {
		s.workers(1, fmt.Sprintf("/busy-%d", i), 5*time.Millisecond)
	}
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	api := adminpb.NewAdminServiceClient(conn)
	for i := range actions {
		var proxies []*adminpb.ProxyOrder
		if i%2 == 0 {
			resp, err := api.DisableBreaker(t.Context(), &adminpb.DisableBreakerRequest{Service: "svc", Actor: "test", Reason: "drill"})
			if err != nil {
				t.Fatal(err)
			}
			proxies = resp.GetProxies()
		} else {
			resp, err := api.ReleaseBreaker(t.Context(), &adminpb.ReleaseBreakerRequest{Service: "svc", Actor: "test", Reason: "drill"})
			if err != nil {
				t.Fatal(err)
			}
			proxies = resp.GetProxies()
		}
		if len(proxies) != 1 || slices.ContainsFunc(proxies, func(p *adminpb.ProxyOrder) bool { return !p.GetAcknowledged() }) {
			t.Fatalf("action %d of %d: %v", i+1, actions, proxies)
		}
	}
}
