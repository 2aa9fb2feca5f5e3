package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	"google.golang.org/protobuf/types/known/durationpb"

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
			MessageTimeout: durationpb.New(5 * time.Second), // a busy machine is not what is measured
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

// burst sends requests for some time over kept connections, each its next when the last is answered, and returns how long
// each took.
func burst(b *testing.B, client *http.Client, url string, during time.Duration) []time.Duration {
	b.Helper()
	const senders = 8
	ctx, cancel := context.WithTimeout(b.Context(), during)
	defer cancel()
	took := make([][]time.Duration, senders)
	var failed atomic.Int64
	concurrently(senders, func(i int) {
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
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d requests to %s failed", n, url)
	}
	return slices.Concat(took...)
}

// cpu is how long the worker threads of an Envoy have run: those that requests go through. The main thread makes the load
// reports.
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	workers := 0
	for _, t := range threads {
		name, err := os.ReadFile(filepath.Join(t, "comm"))
		if err != nil || !strings.HasPrefix(string(name), "wrk:worker") {
			continue // a thread may have ended
		}
		text, err := os.ReadFile(filepath.Join(t, "schedstat"))
		first, _, _ := strings.Cut(string(text), " ")
		ran, parseErr := strconv.ParseInt(first, 10, 64)
		if err := errors.Join(err, parseErr); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ran)
		workers++
	}
	if workers == 0 {
		b.Fatalf("process %d has no workers among %v", pid, threads)
	}
	return sum
}

// contender is one of the Envoys of BenchmarkOverhead.
type contender struct {
	name, url string
	pid       int
	// rates are requests a second, latencies the medians in nanoseconds, by turn; cpu and requests are of all turns.
	rates, latencies []float64
	cpu              time.Duration
	requests         int
}

// turn sends it requests for some time.
func (c *contender) turn(b *testing.B, client *http.Client, during time.Duration) {
	b.Helper()
	before, start := cpu(b, c.pid), time.Now()
	took := burst(b, client, c.url, during)
	c.rates = append(c.rates, float64(len(took))/time.Since(start).Seconds())
	c.cpu += cpu(b, c.pid) - before
	c.requests += len(took)
	slices.Sort(took)
	c.latencies = append(c.latencies, float64(took[len(took)/2]))
}

// perRequest is the time that Envoy's workers run for a request, in microseconds.
func (c *contender) perRequest() float64 {
	return float64(c.cpu) / float64(time.Microsecond) / float64(c.requests)
}

// against is the median of the ratios of turns that were next to each other.
func against(these, those []float64) float64 {
	ratios := make([]float64, len(these))
	for i := range these {
		ratios[i] = these[i] / those[i]
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

// BenchmarkOverhead compares Envoys with the same policies, by turns: one that reports its load and has a breaker that is
// open in its runtime, as layer 2 has it; one that reports none, which the ratios are to; another such, whose ratio is
// the noise; and that one's routes behind an ext_proc filter, which is how else a control plane would count
// responses. The time that Envoy's workers run for a request is the figure that a busy machine disturbs least.
func BenchmarkOverhead(b *testing.B) {
	u := envoytest.NewUpstream(b)
	other := newScript(b)
	docs := []string{at("svc", u.Addr()), layer2("other", other, time.Hour)}
	port := envoytest.FreePort(b)

	plane := func() *stack { return newPlane(b, quiet(docs...), jsonLog...) }
	with, without, control := plane(), plane(), plane()
	with.envoy = with.startEnvoy("with")
	with.untilReporting()
	with.trip("other", other)
	without.envoy = without.startEnvoy("without", withoutLayer2)
	control.envoy = control.startEnvoy("control", withoutLayer2, control.withExtProc(b, uint32(port), newExternal(b)))

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	base := &contender{name: "without", url: "http://" + without.gateway + "/svc", pid: without.envoy.Pid()}
	others := []*contender{
		{name: "layer2", url: "http://" + with.gateway + "/svc", pid: with.envoy.Pid()},
		{name: "control", url: "http://" + control.gateway + "/svc", pid: control.envoy.Pid()},
		{name: "ext_proc", url: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) + "/svc", pid: control.envoy.Pid()},
	}
	const turns, during = 40, 100 * time.Millisecond
	order := append([]*contender{base}, others...)
	for _, c := range order {
		burst(b, client, c.url, during) // connections and routes are there from now on
	}
	for b.Loop() {
		for range turns {
			for _, c := range order {
				c.turn(b, client, during)
			}
			slices.Reverse(order)
		}
	}
	b.ReportMetric(base.perRequest(), "µs-cpu/request")
	for _, c := range others {
		b.ReportMetric(against(c.rates, base.rates), c.name+"-throughput-ratio")
		b.ReportMetric(against(c.latencies, base.latencies), c.name+"-latency-ratio")
		b.ReportMetric(c.perRequest()/base.perRequest(), c.name+"-cpu-ratio")
	}
}
