package xds

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	loadstatsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// serveWith is serve with options.
func serveWith(t *testing.T, p *Publisher, opts ServerOptions) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := NewServer(p, opts)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return s, l.Addr().String()
}

func TestLoadReports(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	reports := make(chan LoadReport, 1)
	_, addr := serveWith(t, p, ServerOptions{Loads: func(r LoadReport) { reports <- r }})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := loadstatsv3.NewLoadReportingServiceClient(conn)

	nameless, err := client.StreamLoadStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := nameless.Send(&loadstatsv3.LoadStatsRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := nameless.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a node without an id: %v", err)
	}

	stream, err := client.StreamLoadStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&loadstatsv3.LoadStatsRequest{Node: &corev3.Node{Id: "p1"}}); err != nil {
		t.Fatal(err)
	}
	asked, err := stream.Recv()
	if err != nil || !asked.GetSendAllClusters() || !asked.GetReportEndpointGranularity() || asked.GetLoadReportingInterval().AsDuration() != 100*time.Millisecond {
		t.Fatalf("%v, %v", asked, err)
	}
	report := &loadstatsv3.LoadStatsRequest{ClusterStats: []*endpointv3.ClusterStats{{
		ClusterName: "a", TotalDroppedRequests: 2,
		UpstreamLocalityStats: []*endpointv3.UpstreamLocalityStats{{
			UpstreamEndpointStats: []*endpointv3.UpstreamEndpointStats{{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8001},
				}}},
				TotalSuccessfulRequests: 3, TotalErrorRequests: 4, TotalRequestsInProgress: 5, TotalIssuedRequests: 6,
			}},
		}},
	}}}
	if err := stream.Send(report); err != nil {
		t.Fatal(err)
	}
	want := LoadReport{Proxy: "p1", Services: []ServiceLoad{{
		Service: "a", Dropped: 2,
		Hosts: []HostLoad{{Address: "127.0.0.1:8001", Successes: 3, Errors: 4, InProgress: 5, Issued: 6}},
	}}}
	if diff := cmp.Diff(want, <-reports); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// With many services the interval grows, and the proxy is told with its next report.
	var many []*policy.Service
	for i := range 1000 {
		many = append(many, service("s"+string(rune('a'+i%26))+time.Duration(i).String()))
	}
	p.applied.Store(set(many...))
	if err := stream.Send(report); err != nil {
		t.Fatal(err)
	}
	if got := <-reports; len(got.Services) != 0 {
		t.Errorf("it is told of services that are not served: %+v", got)
	}
	asked, err = stream.Recv()
	if err != nil || asked.GetLoadReportingInterval().AsDuration() != 200*time.Millisecond {
		t.Errorf("with 1,000 services: %v, %v", asked, err)
	}
	// With the stream's end nothing is left of it.
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
}

func TestReportInterval(t *testing.T) {
	for services, want := range map[int]time.Duration{
		0: 100 * time.Millisecond, 500: 100 * time.Millisecond, 1000: 200 * time.Millisecond, 5000: time.Second,
	} {
		if got := ReportInterval(services); got != want {
			t.Errorf("%d services: %s, want %s", services, got, want)
		}
	}
}

func TestProxyLayers(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	layer := func(key string, ttl time.Duration) Layer {
		return Layer{TTL: ttl, Keys: &structpb.Struct{Fields: map[string]*structpb.Value{key: structpb.NewNumberValue(1)}}}
	}
	s, addr := serveWith(t, p, ServerOptions{Layers: func(p Proxy) ProxyLayers {
		return ProxyLayers{Breaker: layer("of."+p.ID, time.Minute), Operator: layer("operator", 0)}
	}})
	if _, ok := s.SetBreakerLayer("p1", Layer{}); ok {
		t.Error("a proxy that is not connected was told")
	}
	proxy := connect(t, addr, "p1")
	name := envoy.BreakerLayer("p1")
	eventually(t, "it has its layers", func() string { return names(proxy, typeRuntime, envoy.LimitsLayer, name, envoy.OperatorLayer("p1")) })
	if got := proxy.ttl(name); got != time.Minute {
		t.Errorf("the TTL of the breaker's layer is %s", got)
	}
	if got := proxy.ttl(envoy.OperatorLayer("p1")); got != 0 {
		t.Errorf("the TTL of the operator's layer is %s", got)
	}
	change, ok := s.SetBreakerLayer("p1", layer("other", time.Second))
	if !ok || !p.AwaitOn(t.Context(), "p1", change) {
		t.Fatal("the proxy was not told")
	}
	if got := proxy.ttl(name); got != time.Second {
		t.Errorf("the TTL of the new layer is %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p.AwaitOn(ctx, "p1", Change{typeURL: typeRuntime, target: target{name: name, version: "another", sequence: 1 << 60}}) {
		t.Error("a version that was never sent was accepted")
	}
	proxy.close()
	eventually(t, "its layers are gone", func() string {
		if got := p.cache.names(typeRuntime); len(got) != 1 {
			return "there are " + cmp.Diff([]string{envoy.LimitsLayer}, got)
		}
		return ""
	})
}
