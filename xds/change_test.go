package xds

import (
	"context"
	"net"
	"strconv"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/pkg/server/stream/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
)

// steps is a stream that asks for its breaker layer, answered step by step, without a connection.
type steps struct {
	t      *testing.T
	server *Server
	id     int64
	sub    streamv3.Subscription
	out    chan cachev3.DeltaResponse
	nonce  int
	cancel func()
}

// open opens a stream of p1, which has accepted nothing.
func open(t *testing.T, s *Server, id int64) *steps {
	t.Helper()
	p := &steps{t: t, server: s, id: id, out: make(chan cachev3.DeltaResponse, 2)}
	p.sub = streamv3.NewDeltaSubscription([]string{envoy.BreakerLayer("p1")}, nil, nil, false)
	ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(id)}})
	if err := s.callbacks().DeltaStreamOpenFunc(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	p.request("", "")
	return p
}

func (p *steps) request(nonce, text string) {
	p.t.Helper()
	req := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "p1"}, TypeUrl: typeRuntime, ResponseNonce: nonce}
	if text != "" {
		req.ErrorDetail = &statuspb.Status{Message: text}
	}
	if err := p.server.callbacks().StreamDeltaRequestFunc(p.id, req); err != nil {
		p.t.Fatal(err)
	}
	if p.cancel != nil {
		p.cancel()
	}
	var err error
	if p.cancel, err = p.server.cache.CreateDeltaWatch(req, p.sub, p.out); err != nil {
		p.t.Fatal(err)
	}
}

// receive takes the response that is on its way, and returns its nonce.
func (p *steps) receive() string {
	p.t.Helper()
	if len(p.out) != 1 {
		p.t.Fatalf("%d responses are on their way, want 1", len(p.out))
	}
	r := <-p.out
	resp, err := r.GetDeltaDiscoveryResponse()
	if err != nil {
		p.t.Fatal(err)
	}
	p.nonce++
	resp.Nonce = strconv.Itoa(p.nonce)
	p.server.callbacks().StreamDeltaResponseFunc(p.id, r.GetDeltaRequest(), resp)
	p.sub.SetReturnedResources(r.GetNextVersionMap())
	return resp.GetNonce()
}

func (p *steps) close() {
	p.cancel()
	p.server.callbacks().DeltaStreamClosedFunc(p.id, nil)
}

// tell publishes a breaker layer of p1.
func tell(t *testing.T, s *Server, content string) Change {
	t.Helper()
	c, ok := s.SetBreakerLayer("p1", Layer{Keys: &structpb.Struct{Fields: map[string]*structpb.Value{"key": structpb.NewStringValue(content)}}})
	if !ok {
		t.Fatal("the proxy is not connected")
	}
	return c
}

// wantAccepted fails unless p1 has accepted a change, or not, by now.
func wantAccepted(t *testing.T, s *Server, what string, c Change, want bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.publisher.AwaitOn(ctx, "p1", c); got != want {
		t.Errorf("%s: accepted is %t, want %t", what, got, want)
	}
	if got := s.publisher.Await(ctx, c)["p1"]; got != want {
		t.Errorf("%s, of all: accepted is %t, want %t", what, got, want)
	}
}

// opened is a server with one stream of p1 that has accepted all so far.
func opened(t *testing.T) (*Server, *steps) {
	t.Helper()
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"))
	s := NewServer(p, ServerOptions{})
	stream := open(t, s, 1)
	stream.request(stream.receive(), "")
	return s, stream
}

func TestAckOfALaterPublicationCoversTheEarlier(t *testing.T) {
	s, p := opened(t)
	first := tell(t, s, "1")
	nonce := p.receive()
	second, third := tell(t, s, "2"), tell(t, s, "3")
	wantAccepted(t, s, "unanswered", first, false)
	p.request(nonce, "")
	wantAccepted(t, s, "the first after its ACK", first, true)
	wantAccepted(t, s, "the second, which was never sent", second, false)
	p.request(p.receive(), "")
	wantAccepted(t, s, "the second after the ACK of the third", second, true)
	wantAccepted(t, s, "the third", third, true)
	tell(t, s, "4")
	wantAccepted(t, s, "the third while a fourth is on its way", third, true)
}

func TestAckCoversWhatWasTakenBack(t *testing.T) {
	s, p := opened(t)
	tell(t, s, "1")
	nonce := p.receive()
	other := tell(t, s, "2")
	tell(t, s, "1")
	wantAccepted(t, s, "while the first is unanswered", other, false)
	p.request(nonce, "")
	wantAccepted(t, s, "once nothing is left to send", other, true)
}

// TestChangeBackToWhatAProxyHas: a proxy that has a version is yet to get another one, if that was sent to it meanwhile.
func TestChangeBackToWhatAProxyHas(t *testing.T) {
	s, p := opened(t)
	tell(t, s, "1")
	p.request(p.receive(), "")
	tell(t, s, "2")
	back := tell(t, s, "1")
	wantAccepted(t, s, "while another is about to be sent", back, false)
	nonce := p.receive()
	wantAccepted(t, s, "while another is on its way", back, false)
	p.request(nonce, "")
	nonce = p.receive()
	wantAccepted(t, s, "while it is on its way itself", back, false)
	p.request(nonce, "")
	wantAccepted(t, s, "at its ACK", back, true)
}

func TestNackAcceptsNothing(t *testing.T) {
	s, p := opened(t)
	first := tell(t, s, "1")
	nonce := p.receive()
	second := tell(t, s, "2")
	p.request(nonce, "no")
	wantAccepted(t, s, "refused", first, false)
	nonce = p.receive()
	p.request(nonce, "no")
	wantAccepted(t, s, "refused, as the one before", second, false)
	third := tell(t, s, "3")
	p.request(p.receive(), "")
	for _, c := range []Change{first, second, third} {
		wantAccepted(t, s, "after the ACK of a later one", c, true)
	}
	fourth := tell(t, s, "4")
	p.request(p.receive(), "no")
	wantAccepted(t, s, "after the NACK of a later one", third, true)
	wantAccepted(t, s, "refused", fourth, false)
	again := tell(t, s, "3")
	wantAccepted(t, s, "back at what it has", again, true)
	wantAccepted(t, s, "refused, and nothing is sent again", tell(t, s, "4"), false)
}

func TestChangeOverAReconnect(t *testing.T) {
	s, p := opened(t)
	change := tell(t, s, "1")
	p.receive()
	p.close()
	wantAccepted(t, s, "not connected", change, false)
	p = open(t, s, 2)
	nonce := p.receive()
	wantAccepted(t, s, "connected, and nothing answered", change, false)
	p.request(nonce, "")
	wantAccepted(t, s, "it has what was published since", change, true)
}

func TestEveryStreamOfAProxyIsToAccept(t *testing.T) {
	s, p := opened(t)
	q := open(t, s, 2)
	q.request(q.receive(), "")
	change := tell(t, s, "1")
	p.request(p.receive(), "")
	wantAccepted(t, s, "on one of two", change, false)
	nonce := q.receive()
	q.request(nonce, "no")
	wantAccepted(t, s, "refused on one of two", change, false)
	change = tell(t, s, "2")
	p.request(p.receive(), "")
	nonce = q.receive()
	wantAccepted(t, s, "on one of two again", change, false)
	q.request(nonce, "")
	wantAccepted(t, s, "on both", change, true)
	change = tell(t, s, "3")
	p.request(p.receive(), "")
	wantAccepted(t, s, "unanswered on one of two", change, false)
	q.close()
	wantAccepted(t, s, "on the one that is left", change, true)
}
