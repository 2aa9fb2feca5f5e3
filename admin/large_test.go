package admin_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
)

// largest notes the largest message that a client receives.
type largest struct{ bytes int }

func (l *largest) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if m, ok := reply.(proto.Message); ok && err == nil {
		l.bytes = max(l.bytes, proto.Size(m))
	}
	return err
}

// TestNoCallFailsForSize: a client with gRPC's default limits hears all of a large fleet, page by page.
func TestNoCallFailsForSize(t *testing.T) {
	run := start(t, admin.Options{Model: &largeModel{newFakeModel(), largeServices}})
	var seen largest
	c, err := adminclient.New(run.grpcAddr, grpc.WithChainUnaryInterceptor(seen.unary))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, api := t.Context(), c.API()

	check := func(name string, limit, got, want int, err error) {
		t.Helper()
		t.Logf("%s: messages of at most %d bytes", name, seen.bytes)
		if err != nil || got != want || seen.bytes > limit {
			t.Errorf("%s: %d of %d elements in messages of at most %d bytes (want %d), %v", name, got, want, seen.bytes, limit, err)
		}
		seen.bytes = 0
	}
	summaries, err := c.Summaries(ctx)
	check("summaries", maxMessage, len(summaries), largeServices, err)
	page, err := api.ListBreakers(ctx, &adminpb.ListBreakersRequest{})
	check("the first page with proxies", maxMessage, len(page.GetBreakers()), 1, err)
	one, err := c.Breaker(ctx, largeService(7))
	check("one breaker", maxMessage, len(one.GetProxies()), largeProxies, err)
	if one.GetContinued() || one.GetProxies()[largeProxies-1].GetProxy() != largeProxy(largeProxies-1) {
		t.Errorf("the last proxy of one breaker is %s", one.GetProxies()[largeProxies-1].GetProxy())
	}
	proxies, err := c.Proxies(ctx)
	check("proxies", maxMessage, len(proxies.GetProxies())+len(proxies.GetMissed()), 2*largeProxies, err)
	orders, err := c.Orders(ctx)
	check("orders", maxMessage, len(orders), 20*largeServices, err)
	events, err := c.Events(ctx, "", 0)
	check("events", maxMessage, len(events), 1000, err)
	n := 0
	for page, err := range adminclient.Pages(func(token string) (*adminpb.GetTrafficResponse, error) {
		return api.GetTraffic(ctx, &adminpb.GetTrafficRequest{Service: largeService(0), PageToken: token})
	}) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.GetProxies())
	}
	check("traffic", maxMessage, n, largeProxies, nil)
	n = 0
	for page, err := range adminclient.Pages(func(token string) (*adminpb.GetHistoryResponse, error) {
		return api.GetHistory(ctx, &adminpb.GetHistoryRequest{PageToken: token})
	}) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.GetServices())
	}
	check("history", maxMessage, n, 5*largeServices, nil)

	const most = 7 << 19 // of answers that have no pages: less than the 4 MiB that a client takes
	explained, err := api.ExplainBreaker(ctx, &adminpb.ExplainBreakerRequest{Service: largeService(0)})
	check("explain", most, len(explained.GetCounts())+int(explained.GetMoreCounts()), largeProxies, err)
	config, err := api.GetConfigStatus(ctx, &adminpb.GetConfigStatusRequest{})
	check("config", most, len(config.GetRejections())+int(config.GetMoreRejections()), largeServices, err)
	plan, err := api.PlanPolicies(ctx, &adminpb.PlanPoliciesRequest{})
	check("plan", most, len(plan.GetServices())+int(plan.GetMoreServices()), largeServices, err)
	reset, err := api.ResetBreaker(ctx, &adminpb.ResetBreakerRequest{Service: largeService(0)})
	check("reset", most, len(reset.GetProxies()), largeProxies, err)
	if p := reset.GetProxies()[0]; len(p.GetEjectedBefore()) != 10 || !strings.HasPrefix(p.GetNote(), "100 hosts were ejected before; 100 hosts were ejected after; ") {
		t.Errorf("the reset of one proxy: %d hosts, %q", len(p.GetEjectedBefore()), p.GetNote())
	}
	forced, err := api.ForceOpenBreaker(ctx, &adminpb.ForceOpenBreakerRequest{Service: largeService(0), Reason: "a drill"})
	check("force-open", most, len(forced.GetProxies()), largeProxies, err)
}

// TestLargeListAndWatch: a breaker that has no room in a message is continued in the next, and nothing is left out.
func TestLargeListAndWatch(t *testing.T) {
	const services = 2
	run := start(t, admin.Options{Model: &largeModel{newFakeModel(), services}})
	c, err := adminclient.New(run.grpcAddr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	whole := func(name string, breakers []*adminpb.Breaker) {
		t.Helper()
		if len(breakers) != services {
			t.Fatalf("%s: %d breakers", name, len(breakers))
		}
		for i, b := range breakers {
			if b.GetService() != largeService(i) || len(b.GetProxies()) != largeProxies || b.GetContinued() {
				t.Errorf("%s: %s has %d proxies", name, b.GetService(), len(b.GetProxies()))
			}
			for j, p := range b.GetProxies() {
				if p.GetProxy() != largeProxy(j) || len(p.GetHosts()) != largeHosts {
					t.Fatalf("%s: proxy %d of %s is %s with %d hosts", name, j, b.GetService(), p.GetProxy(), len(p.GetHosts()))
				}
			}
		}
	}
	all, err := c.Breakers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	whole("list", all)

	stream, err := c.API().WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var a adminclient.Assembler
	var snapshot *adminpb.WatchBreakersResponse
	for messages := 0; snapshot == nil; messages++ {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(m); size > maxMessage || m.GetSnapshot() != (messages == 0) {
			t.Errorf("message %d has %d bytes, and its snapshot is %t", messages, size, m.GetSnapshot())
		}
		snapshot = a.Add(m)
	}
	whole("watch", snapshot.GetBreakers())

	// HTTP has more room.
	var got adminpb.ListBreakersResponse
	if err := protojson.Unmarshal([]byte(get(t, run.url+"/api/v1/breakers").body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.GetBreakers()) != services || got.GetNextPageToken() != "" {
		t.Errorf("HTTP: %d breakers, and the next page is %q", len(got.GetBreakers()), got.GetNextPageToken())
	}
}

// TestPages: pages have the size that is asked for, go on where the last ended, and refuse what is no page.
func TestPages(t *testing.T) {
	run := start(t, admin.Options{Model: newFakeModel()})
	ctx := t.Context()
	first, err := run.client.ListBreakers(ctx, &adminpb.ListBreakersRequest{PageSize: 1, Summary: true})
	if err != nil || len(first.GetBreakers()) != 1 || first.GetBreakers()[0].GetProxies() != nil || first.GetNextPageToken() == "" {
		t.Fatalf("the first page is %v, %v", first, err)
	}
	second, err := run.client.ListBreakers(ctx, &adminpb.ListBreakersRequest{PageSize: 1, PageToken: first.GetNextPageToken(), Summary: true})
	if err != nil || len(second.GetBreakers()) != 1 || second.GetBreakers()[0].GetService() != "search-service" || second.GetNextPageToken() != "" {
		t.Errorf("the second page is %v, %v", second, err)
	}
	part, err := run.client.GetBreaker(ctx, &adminpb.GetBreakerRequest{Service: "fraud-service", PageSize: 1})
	if err != nil || len(part.GetBreaker().GetProxies()) != 1 || len(part.GetWindows()) != 1 || part.GetNextPageToken() == "" {
		t.Fatalf("the first proxy is %v, %v", part, err)
	}
	part, err = run.client.GetBreaker(ctx, &adminpb.GetBreakerRequest{Service: "fraud-service", PageToken: part.GetNextPageToken()})
	if err != nil || part.GetBreaker().GetProxies()[0].GetProxy() != "edge-2" || part.GetWindows()[0].GetProxy() != "edge-2" || part.GetNextPageToken() != "" {
		t.Errorf("the second proxy is %v, %v", part, err)
	}
	seen := ""
	for page, err := range adminclient.Pages(func(token string) (*adminpb.ListProxiesResponse, error) {
		return run.client.ListProxies(ctx, &adminpb.ListProxiesRequest{PageSize: 1, PageToken: token})
	}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range page.GetProxies() {
			seen += p.GetId() + " "
		}
		for _, p := range page.GetMissed() {
			seen += "missed " + p.GetId() + " "
		}
		seen += "| "
	}
	if seen != "edge-1 | edge-2 | missed edge-3 | " {
		t.Errorf("pages of proxies: %s", seen)
	}
	for _, req := range []*adminpb.ListOrdersRequest{{PageSize: -1}, {PageToken: "?"}} {
		if _, err := run.client.ListOrders(ctx, req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", req, err)
		}
	}
}
