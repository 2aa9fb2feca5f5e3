package xds

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
)

// TestStreamsThatComeAtOnceJoinOnce: what the board says when a proxy joins is what the proxy has, though two of its
// streams come at once.
func TestStreamsThatComeAtOnceJoinOnce(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	var joins atomic.Int32
	second := make(chan struct{})
	s := NewServer(p, ServerOptions{Layers: func(Proxy) ProxyLayers {
		n := joins.Add(1)
		if n > 1 {
			close(second)
		} else {
			select { // the other may come now
			case <-second:
			case <-time.After(100 * time.Millisecond):
			}
		}
		return ProxyLayers{Operator: Layer{Keys: &structpb.Struct{Fields: map[string]*structpb.Value{"join": structpb.NewNumberValue(float64(n))}}}}
	}})
	ended := make(chan error, 2)
	for id := range int64(2) {
		go func() {
			ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(id)}})
			err := s.callbacks().DeltaStreamOpenFunc(ctx, id, "")
			if err == nil {
				err = s.callbacks().StreamDeltaRequestFunc(id, &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "p1"}, TypeUrl: typeRuntime})
			}
			ended <- err
		}()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	if n := joins.Load(); n != 1 {
		t.Errorf("the proxy has joined %d times: it may have what one of them said, while the board goes by the other", n)
	}
	if streams := streamsOf(p, "p1", 2); streams != "" {
		t.Error(streams)
	}
}

// TestLateStreamKeepsALayerNoLonger: a stream that comes later does not make an override outlast its TTL, should Breakwater
// end then.
func TestLateStreamKeepsALayerNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPublisher(PublisherOptions{})
		apply(t, p, service("a"))
		s := NewServer(p, ServerOptions{})
		stream := open(t, s, 1)
		stream.request(stream.receive(), "")
		name := envoy.OperatorLayer("p1")
		if _, ok := s.SetOperatorLayer("p1", Layer{TTL: 15 * time.Minute, Keys: &structpb.Struct{Fields: map[string]*structpb.Value{"key": structpb.NewBoolValue(true)}}}); !ok {
			t.Fatal("it is not connected")
		}
		late := func(after, want time.Duration) {
			t.Helper()
			<-time.After(after)
			out := make(chan cachev3.DeltaResponse, 1)
			cancel, err := s.cache.CreateDeltaWatch(&discoveryv3.DeltaDiscoveryRequest{Node: streamKey(2).node("p1"), TypeUrl: typeRuntime},
				streamv3.NewDeltaSubscription([]string{name}, nil, nil, false), out)
			if err != nil {
				t.Fatal(err)
			}
			defer cancel()
			resp, err := (<-out).GetDeltaDiscoveryResponse()
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.GetResources()[0].GetTtl().AsDuration(); got != want {
				t.Errorf("after %s more it is sent for %s, want %s", after, got, want)
			}
		}
		late(0, 15*time.Minute)
		late(14*time.Minute, time.Minute)
		late(2*time.Minute, leastTTL)
		stream.close()
	})
}
