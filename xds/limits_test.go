package xds

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	loadstatsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

func clientConn(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// deltaEnd sends requests on a stream, and returns with what it ends; nil if it answers.
func deltaEnd(t *testing.T, conn *grpc.ClientConn, requests ...*discoveryv3.DeltaDiscoveryRequest) error {
	t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		if err := stream.Send(r); err != nil {
			break // Recv says why
		}
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if resp.GetTypeUrl() == typeListener {
			_ = stream.CloseSend()
			return nil
		}
	}
}

// last is the request after which a stream is answered that was not ended before.
func last() *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeListener}
}

func TestRequestsAreBounded(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	conn := clientConn(t, serve(t, p))
	metadata := func(bytes int) *structpb.Struct {
		return &structpb.Struct{Fields: map[string]*structpb.Value{"x": structpb.NewStringValue(strings.Repeat("x", bytes))}}
	}
	manyNames := func(n int, prefix string) []string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf("%s%d", prefix, i)
		}
		return names
	}
	versions := func(n int) map[string]string {
		out := map[string]string{}
		for _, name := range manyNames(n, "c") {
			out[name] = "0123456789abcdef"
		}
		return out
	}
	node := &corev3.Node{Id: strings.Repeat("i", 253), Cluster: strings.Repeat("c", 253), Metadata: metadata(maxMetadataBytes / 2)}
	asks := func(r ...*discoveryv3.DeltaDiscoveryRequest) []*discoveryv3.DeltaDiscoveryRequest {
		first := []*discoveryv3.DeltaDiscoveryRequest{{Node: node, TypeUrl: typeCluster}}
		return append(append(first, r...), last())
	}
	by := func(n *corev3.Node) []*discoveryv3.DeltaDiscoveryRequest {
		return []*discoveryv3.DeltaDiscoveryRequest{{Node: n, TypeUrl: typeCluster}, last()}
	}
	var manyTypes []*discoveryv3.DeltaDiscoveryRequest
	for i := range maxTypes {
		manyTypes = append(manyTypes, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: fmt.Sprintf("type.googleapis.com/%d", i)})
	}
	for name, tt := range map[string]struct {
		requests []*discoveryv3.DeltaDiscoveryRequest
		want     codes.Code
		says     string
	}{
		"the longest names": {asks(), codes.OK, ""},
		"the resources of 5,000 services": {asks(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: typeEndpoint, ResourceNamesSubscribe: manyNames(10_000, "service-"), InitialResourceVersions: versions(10_000),
		}), codes.OK, ""},
		"other types": {asks(manyTypes[:8]...), codes.OK, ""},

		"no id":              {by(&corev3.Node{}), codes.InvalidArgument, "has no id"},
		"a long id":          {by(&corev3.Node{Id: strings.Repeat("i", 254)}), codes.InvalidArgument, "node id: must have at most 253 bytes, not 254"},
		"an id with a line":  {by(&corev3.Node{Id: "a\nb"}), codes.InvalidArgument, `node id "a\nb": must have printable characters only`},
		"an id of no letter": {by(&corev3.Node{Id: "\u00a0"}), codes.InvalidArgument, "printable characters"},
		"a long cluster":     {by(&corev3.Node{Id: "p", Cluster: strings.Repeat("c", 254)}), codes.InvalidArgument, "node cluster: must have at most 253 bytes"},
		"much metadata":      {by(&corev3.Node{Id: "p", Metadata: metadata(maxMetadataBytes)}), codes.InvalidArgument, "metadata has"},
		"much metadata later": {asks(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: typeCluster, Node: &corev3.Node{Id: "p", Metadata: metadata(maxMetadataBytes)},
		}), codes.InvalidArgument, "metadata has"},
		"a large node": {by(&corev3.Node{Id: "p", UserAgentName: strings.Repeat("x", maxNodeBytes)}), codes.InvalidArgument, "node has"},
		"many names":   {asks(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, ResourceNamesSubscribe: manyNames(maxNames+1, "")}), codes.ResourceExhausted, "20001 resources of type endpoint"},
		"many names in several requests": {asks(
			&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, ResourceNamesSubscribe: manyNames(maxNames, "a")},
			&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, ResourceNamesSubscribe: manyNames(1, "b")},
		), codes.ResourceExhausted, "20001 resources of type endpoint"},
		"a long name":    {asks(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, ResourceNamesSubscribe: []string{strings.Repeat("n", maxResourceName+1)}}), codes.InvalidArgument, "513 bytes"},
		"many versions":  {asks(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, InitialResourceVersions: versions(maxNames + 1)}), codes.ResourceExhausted, "20001 resources"},
		"a long version": {asks(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint, InitialResourceVersions: map[string]string{"a": strings.Repeat("v", 1000)}}), codes.InvalidArgument, `version of "a" has 1000 bytes`},
		"many types":     {asks(manyTypes...), codes.ResourceExhausted, "17 types"},
		"a long type":    {asks(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: strings.Repeat("t", 1000)}), codes.InvalidArgument, "1000 bytes"},
		"a large request": {asks(&discoveryv3.DeltaDiscoveryRequest{
			TypeUrl: typeCluster, ErrorDetail: &statuspb.Status{Message: strings.Repeat("x", maxRequestBytes)},
		}), codes.ResourceExhausted, "larger than max"},
	} {
		t.Run(name, func(t *testing.T) {
			err := deltaEnd(t, conn, tt.requests...)
			if status.Code(err) != tt.want || !strings.Contains(status.Convert(err).Message(), tt.says) {
				t.Errorf("the stream ends with %v, want %v: %s", err, tt.want, tt.says)
			}
		})
	}
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	if n := len(p.cache.types); n > len(typeNames) {
		t.Errorf("the cache has %d types, want those that are served", n)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	s, addr := serveWith(t, p, ServerOptions{})
	conn := clientConn(t, addr)
	set := func(all, fromHere int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opened, s.open["127.0.0.1"] = all, fromHere
	}
	set(maxStreams, 1)
	request := []*discoveryv3.DeltaDiscoveryRequest{{Node: &corev3.Node{Id: "p"}, TypeUrl: typeCluster}, last()}
	if err := deltaEnd(t, conn, request...); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beyond the streams of all: %v", err)
	}
	set(maxPeerStreams, maxPeerStreams)
	if err := deltaEnd(t, conn, request...); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "from 127.0.0.1") {
		t.Errorf("beyond the streams of one address: %v", err)
	}
	stream, err := loadstatsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("load reports beyond them: %v", err)
	}
	set(0, 0)
	if err := deltaEnd(t, conn, request...); err != nil {
		t.Errorf("there is room again: %v", err)
	}
	eventually(t, "the end of the stream is counted", func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.opened != 0 || len(s.open) != 0 {
			return fmt.Sprintf("%d streams are open: %v", s.opened, s.open)
		}
		return ""
	})
}

// TestLongIDsTakeNoMemory: nothing is left of clients with ids of a megabyte that come and go.
func TestLongIDsTakeNoMemory(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	s, addr := serveWith(t, p, ServerOptions{})
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 40 {
		conn := clientConn(t, addr)
		id := fmt.Sprintf("%d%s", i, strings.Repeat("x", 1<<20))
		err := deltaEnd(t, conn, &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: id, Cluster: id}, TypeUrl: typeCluster}, last())
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("a stream of configuration ends with %v", status.Code(err))
		}
		stream, err := loadstatsv3.NewLoadReportingServiceClient(conn).StreamLoadStats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&loadstatsv3.LoadStatsRequest{Node: &corev3.Node{Id: id}}) // Recv says why it fails
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a stream of load reports ends with %v", status.Code(err))
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "the streams have ended", func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.opened != 0 {
			return fmt.Sprintf("%d are open", s.opened)
		}
		return ""
	})
	if after := heap(); after > before+16<<20 {
		t.Errorf("%d MiB are left in use, before it were %d", after>>20, before>>20)
	}
	runtime.KeepAlive(s)
}

func TestShorten(t *testing.T) {
	if got := shorten("short"); got != "short" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("ä", headText) + strings.Repeat("ö", tailText) + " the reason"
	got := shorten(long)
	if len(got) > headText+tailText+len(" … ") || !strings.HasPrefix(got, "ää") || !strings.HasSuffix(got, "öö the reason") || !strings.Contains(got, "ä … ö") {
		t.Errorf("%d bytes: %.20q … %q", len(got), got, got[len(got)-20:])
	}
}
