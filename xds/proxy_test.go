package xds

import (
	"bytes"
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
)

// fakeProxy speaks ADS as Envoy does. It stands beside the tests in test/e2e, which use the real
// one, for what those can not do: many proxies, answers in a chosen order.
type fakeProxy struct {
	t      *testing.T
	id     string
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	close  func()

	mu sync.Mutex
	// The following are guarded by mu.
	resources map[string]map[string]string // type → name → version
	bodies    map[string][]byte            // of what is in effect, by type and name
	replaced  map[string]int               // how often what is in effect of a name has changed, by type and name
	responses []*discoveryv3.DeltaDiscoveryResponse
	refuse    func(typeURL, name string, body []byte) string
	leave     func()        // called once it has refused a response, after which it does nothing; nil: it goes on
	hold      chan struct{} // until which it does not answer to route tables; nil: it does at once
	ended     bool
}

// dial connects a proxy that has what an earlier one had; nil: nothing. refuse returns a text to
// reject a resource, or "".
func dial(t *testing.T, addr, id string, has map[string]map[string]string, refuse func(typeURL, name string, body []byte) string) *fakeProxy {
	t.Helper()
	return dialWith(t, addr, id, has, nil, refuse)
}

// dialWith is dial for a proxy that has something in effect.
func dialWith(t *testing.T, addr, id string, has map[string]map[string]string, bodies map[string][]byte, refuse func(typeURL, name string, body []byte) string) *fakeProxy {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	p := &fakeProxy{t: t, id: id, stream: stream, resources: map[string]map[string]string{}, bodies: map[string][]byte{}, replaced: map[string]int{}, refuse: refuse}
	for typeURL, versions := range has {
		p.resources[typeURL] = maps.Clone(versions)
	}
	maps.Copy(p.bodies, bodies)
	done := make(chan struct{})
	p.close = sync.OnceFunc(func() {
		cancel()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	t.Cleanup(p.close)
	metadata, err := structpb.NewStruct(map[string]any{envoy.MetadataKey: map[string]any{envoy.MetadataAdminPort: 9901}})
	if err != nil {
		t.Fatal(err)
	}
	for i, sub := range []struct {
		typeURL string
		names   []string
	}{
		{typeCluster, nil},
		{typeListener, nil},
		{typeRoute, []string{envoy.GatewayName}},
		{typeRuntime, []string{envoy.LimitsLayer, envoy.BreakerLayer(id), envoy.OperatorLayer(id)}},
	} {
		req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: sub.typeURL, ResourceNamesSubscribe: sub.names, InitialResourceVersions: has[sub.typeURL]}
		if i == 0 {
			req.Node = &corev3.Node{Id: id, Cluster: "test", Metadata: metadata}
		}
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer close(done)
		p.receive()
	}()
	return p
}

func (p *fakeProxy) receive() {
	for {
		resp, err := p.stream.Recv()
		if err != nil {
			p.mu.Lock()
			p.ended = true
			p.mu.Unlock()
			return
		}
		req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resp.GetTypeUrl(), ResponseNonce: resp.GetNonce()}
		p.mu.Lock()
		p.responses = append(p.responses, resp)
		hold := p.hold
		have := p.resources[resp.GetTypeUrl()]
		if have == nil {
			have = map[string]string{}
			p.resources[resp.GetTypeUrl()] = have
		}
		var refused []string
		seen := map[string]bool{}
		for _, r := range resp.GetResources() {
			if seen[r.GetName()] {
				p.t.Errorf("%s: duplicate name %s found among added/updated resources", p.id, r.GetName())
			}
			seen[r.GetName()] = true
			if p.refuse != nil {
				if text := p.refuse(resp.GetTypeUrl(), r.GetName(), r.GetResource().GetValue()); text != "" {
					refused = append(refused, r.GetName()+": "+text)
					continue
				}
			}
			key := resp.GetTypeUrl() + " " + r.GetName()
			if old, ok := p.bodies[key]; ok && !bytes.Equal(old, r.GetResource().GetValue()) {
				p.replaced[key]++
			}
			p.bodies[key] = r.GetResource().GetValue()
		}
		// Envoy applies the good ones of a response that it rejects, and says of none of them that it has it.
		if len(refused) == 0 {
			for _, r := range resp.GetResources() {
				have[r.GetName()] = r.GetVersion()
			}
		}
		for _, name := range resp.GetRemovedResources() {
			delete(have, name)
			delete(p.bodies, resp.GetTypeUrl()+" "+name)
		}
		leave := p.leave
		p.mu.Unlock()
		if hold != nil && resp.GetTypeUrl() == typeRoute {
			select {
			case <-hold:
			case <-p.stream.Context().Done():
				return
			}
		}
		if len(refused) > 0 {
			req.ErrorDetail = &statuspb.Status{Code: 13, Message: "Error adding/updating: " + strings.Join(refused, ", ")}
		}
		err = p.stream.Send(req)
		if len(refused) > 0 && leave != nil {
			leave()
			return
		}
		if err != nil {
			return
		}
	}
}

// body is what is in effect of a resource.
func (p *fakeProxy) body(typeURL, name string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bodies[typeURL+" "+name]
}

// has returns a copy of the versions that the proxy has of a type.
func (p *fakeProxy) has(typeURL string) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.resources[typeURL])
}

// routes says whether the proxy's route table differs from one with all of want and none of without in it; "" if
// it does not.
func (p *fakeProxy) routes(want, without []string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	table := p.bodies[typeRoute+" "+envoy.GatewayName]
	for _, w := range want {
		if !bytes.Contains(table, []byte(w)) {
			return p.id + " has no " + w
		}
	}
	for _, w := range without {
		if bytes.Contains(table, []byte(w)) {
			return p.id + " has " + w
		}
	}
	return ""
}

// slow says whether a cluster with a connect timeout of 1 s is in effect; "" if none is.
func (p *fakeProxy) slow() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, body := range p.bodies {
		if strings.HasPrefix(key, typeCluster) && bytes.Contains(body, []byte{0x22, 0x02, 0x08, 0x01}) {
			return p.id + " has a slow " + key
		}
	}
	return ""
}

// replacements returns how often what is in effect of a resource has changed.
func (p *fakeProxy) replacements(typeURL, name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replaced[typeURL+" "+name]
}

func (p *fakeProxy) all() map[string]map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]map[string]string{}
	for typeURL, versions := range p.resources {
		out[typeURL] = maps.Clone(versions)
	}
	return out
}

// sent returns how often a resource was sent to the proxy.
func (p *fakeProxy) sent(typeURL, name string) int {
	return p.times(typeURL, name, func(resp *discoveryv3.DeltaDiscoveryResponse) []string {
		var names []string
		for _, r := range resp.GetResources() {
			names = append(names, r.GetName())
		}
		return names
	})
}

// removed returns how often the proxy was told that a resource is gone.
func (p *fakeProxy) removed(typeURL, name string) int {
	return p.times(typeURL, name, (*discoveryv3.DeltaDiscoveryResponse).GetRemovedResources)
}

// times returns in how many responses of a type the name is among those picked.
func (p *fakeProxy) times(typeURL, name string, pick func(*discoveryv3.DeltaDiscoveryResponse) []string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, resp := range p.responses {
		if resp.GetTypeUrl() == typeURL && slices.Contains(pick(resp), name) {
			n++
		}
	}
	return n
}

// order returns the types of the responses in the order of their arrival, from the nth on.
func (p *fakeProxy) order(from int) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, resp := range p.responses[from:] {
		out = append(out, typeName(resp.GetTypeUrl()))
	}
	return out
}

func (p *fakeProxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.responses)
}

// serve runs a publisher and its server until the test ends, and returns the server's address.
func serve(t *testing.T, p *Publisher) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := NewServer(p, ServerOptions{}).Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return l.Addr().String()
}

// eventually waits until look returns "", and fails with the last state after 30 s.
func eventually(t *testing.T, what string, look func() string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		state := look()
		if state == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s: %s", what, state)
		}
		<-tick.C
	}
}

// ttl is the TTL of a runtime layer as it was sent last; 0 for none.
func (p *fakeProxy) ttl(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ttl time.Duration
	for _, resp := range p.responses {
		for _, r := range resp.GetResources() {
			if r.GetName() == name {
				ttl = r.GetTtl().AsDuration()
			}
		}
	}
	return ttl
}
