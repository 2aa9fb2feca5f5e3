package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/breakwater/breakwater/test/envoytest"
)

// external is an ext_proc server that lets every request and every response pass: the least that a breaker in such a server
// would cost.
type external struct {
	extprocv3.UnimplementedExternalProcessorServer
}

func (external) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp := &extprocv3.ProcessingResponse{}
		switch req.GetRequest().(type) {
		case *extprocv3.ProcessingRequest_RequestHeaders:
			resp.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}
		case *extprocv3.ProcessingRequest_ResponseHeaders:
			resp.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{}}
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// newExternal starts an ext_proc server and returns its port.
func newExternal(b *testing.B) uint32 {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	extprocv3.RegisterExternalProcessorServer(server, external{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	b.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return uint32(l.Addr().(*net.TCPAddr).Port)
}

func socket(port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func mustAny(b *testing.B, m proto.Message) *anypb.Any {
	b.Helper()
	a, err := anypb.New(m)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// withExtProc adds the gateway's own listener once more on another port, with an ext_proc filter in front of it.
func (s *stack) withExtProc(b *testing.B, port, server uint32) func(*bootstrapv3.Bootstrap) {
	b.Helper()
	const name = "ext_proc"
	var rendered struct {
		Listeners []json.RawMessage `json:"listeners"`
	}
	if err := json.Unmarshal([]byte(s.run("render", s.dir, "-o", "json")), &rendered); err != nil {
		b.Fatal(err)
	}
	l := &listenerv3.Listener{}
	if err := protojson.Unmarshal(rendered.Listeners[0], l); err != nil {
		b.Fatal(err)
	}
	l.Name, l.Address = name, socket(port)
	filter := l.GetFilterChains()[0].GetFilters()[0]
	hcm := &hcmv3.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(hcm); err != nil {
		b.Fatal(err)
	}
	hcm.HttpFilters = slices.Insert(hcm.HttpFilters, 0, &hcmv3.HttpFilter{
		Name: name,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(b, &extprocfilterv3.ExternalProcessor{
			GrpcService: &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: name},
			}},
			ProcessingMode: &extprocfilterv3.ProcessingMode{
				RequestHeaderMode: extprocfilterv3.ProcessingMode_SEND, ResponseHeaderMode: extprocfilterv3.ProcessingMode_SEND,
				RequestTrailerMode: extprocfilterv3.ProcessingMode_SKIP, ResponseTrailerMode: extprocfilterv3.ProcessingMode_SKIP,
			},
		})},
	})
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(b, hcm)}
	cluster := &clusterv3.Cluster{
		Name: name,
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: socket(server)},
			}}},
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": mustAny(b, &httpv3.HttpProtocolOptions{
				UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
				}},
			}),
		},
	}
	return func(boot *bootstrapv3.Bootstrap) {
		boot.StaticResources.Listeners = append(boot.StaticResources.Listeners, l)
		boot.StaticResources.Clusters = append(boot.StaticResources.Clusters, cluster)
	}
}

// withoutLayer2 is the same Envoy, but one that reports no load.
func withoutLayer2(b *bootstrapv3.Bootstrap) { b.ClusterManager.LoadStatsConfig = nil }

// burst sends requests for some time over kept connections, each its next when the last is answered, and returns how many
// were answered a second, and the median of the time that each took.
func burst(b *testing.B, client *http.Client, url string, during time.Duration) (rate float64, median time.Duration) {
	b.Helper()
	const senders = 8
	ctx, cancel := context.WithTimeout(b.Context(), during)
	defer cancel()
	took := make([][]time.Duration, senders)
	var failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for i := range senders {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				resp, err := client.Get(url)
				if err != nil {
					failed.Add(1)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d requests to %s failed", n, url)
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return float64(len(all)) / elapsed.Seconds(), all[len(all)/2]
}

// medianOf is the median of figures.
func medianOf(figures []float64) float64 {
	slices.Sort(figures)
	return figures[len(figures)/2]
}

// BenchmarkOverhead compares three Envoys with the same policies, by turns: one that reports its load and has a breaker that is
// open in its runtime, as layer 2 has it; one that reports none; and one with an ext_proc filter before the same
// routes, which is how else a control plane would count responses. The ratios are those of the turns' medians.
func BenchmarkOverhead(b *testing.B) {
	u := envoytest.NewUpstream(b)
	other := newScript(b)
	docs := []string{at("svc", u.Addr()), layer2("other", other, time.Hour)}
	port := envoytest.FreePort(b)

	with, bare := newPlane(b, quiet(docs...), jsonLog...), newPlane(b, quiet(docs...), jsonLog...)
	with.envoy = with.startEnvoy("with")
	with.untilReporting()
	with.trip("other", other)
	bare.envoy = bare.startEnvoy("bare", withoutLayer2, bare.withExtProc(b, uint32(port), newExternal(b)))

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	urls := map[string]string{
		"layer2": "http://" + with.gateway + "/svc", "bare": "http://" + bare.gateway + "/svc",
		"ext_proc": "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) + "/svc",
	}
	const turns, turn = 15, 200 * time.Millisecond
	for _, url := range urls {
		burst(b, client, url, turn) // connections and routes are there from now on
	}
	rates, latencies := map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		for i := range turns {
			order := []string{"bare", "layer2", "ext_proc"}
			if i%2 == 1 {
				slices.Reverse(order)
			}
			for _, name := range order {
				rate, median := burst(b, client, urls[name], turn)
				rates[name] = append(rates[name], rate)
				latencies[name] = append(latencies[name], float64(median)/float64(time.Microsecond))
			}
		}
	}
	rate, latency := medianOf(rates["bare"]), medianOf(latencies["bare"])
	b.ReportMetric(rate, "bare-requests/s")
	for _, name := range []string{"layer2", "ext_proc"} {
		b.ReportMetric(medianOf(rates[name])/rate, name+"-throughput-ratio")
		b.ReportMetric(medianOf(latencies[name])/latency, name+"-latency-ratio")
	}
}
