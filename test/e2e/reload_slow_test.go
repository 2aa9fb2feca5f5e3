package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// untilStatus waits until a path is answered with that status.
func (s *stack) untilStatus(path string, status int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s answers %d", path, status), func() error {
		if r := s.get(path); r.status != status {
			return fmt.Errorf("%d: %s", r.status, r.body)
		}
		return nil
	})
}

// TestUnresolvableNameHoldsNobodyBack: a new service that Envoy can not find stands in nobody's way.
func TestUnresolvableNameHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	o := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"other.yaml": other(o, 5)})
	s.live("/other", o, 5)
	load := s.newLoad("/other")
	s.write("lost.yaml", "service: lost\nupstream: http://no-such-host.invalid:80\nroutes: [{prefix: /lost}]\n")
	s.write("other.yaml", other(o, 6))
	s.live("/other", o, 6)
	s.untilStatus("/lost", http.StatusServiceUnavailable)
	s.write("fresh.yaml", fmt.Sprintf("service: fresh\nupstream: %s\nroutes: [{prefix: /fresh}]\n", o.Addr()))
	s.untilStatus("/fresh", http.StatusOK)
	s.remove("lost.yaml")
	s.untilStatus("/lost", http.StatusNotFound)
	s.untilClear()
	load.mustBeClean(50)
}

// freeze connects a proxy that subscribes as Envoy does, and never answers. It speaks xDS itself: a real Envoy on this
// host that is stopped would take connections from the gateway's port.
func (s *stack) freeze() {
	s.t.Helper()
	conn, err := grpc.NewClient(s.xds, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	s.t.Cleanup(func() {
		cancel()
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	})
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, req := range []*discoveryv3.DeltaDiscoveryRequest{
		{TypeUrl: resourcev3.ClusterType, Node: &corev3.Node{Id: "frozen"}},
		{TypeUrl: resourcev3.ListenerType},
		{TypeUrl: resourcev3.RouteType, ResourceNamesSubscribe: []string{envoy.GatewayName}},
	} {
		if err := stream.Send(req); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestFrozenProxyHoldsNobodyBack: a proxy that is connected and does not answer delays what the others are told by
// seconds at most.
func TestFrozenProxyHoldsNobodyBack(t *testing.T) {
	t.Parallel()
	a, o := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStrict(t, map[string]string{"other.yaml": other(o, 5), "picky.yaml": goodPicky(a, 5)})
	s.live("/other", o, 5)
	s.freeze()
	s.untilConnected(2)
	s.untilState("other", "unknown", map[string]string{"e2e": "closed", "frozen": "unknown"})
	load := s.newLoad("/other", "/picky")
	s.write("other.yaml", other(o, 6))
	s.live("/other", o, 6)
	// Its cluster is in no hurry: whether all proxies have it is awaited for 5 s.
	s.write("fresh.yaml", fmt.Sprintf("service: fresh\nupstream: %s\nroutes: [{prefix: /fresh}]\n", o.Addr()))
	s.untilStatus("/fresh", http.StatusOK)
	// What one rejects goes back, whatever the frozen one will say.
	for i, r := range refusables() {
		s.write("picky.yaml", r.bad(a))
		s.untilRefused(r)
		s.write("other.yaml", other(o, 7+i))
		s.live("/other", o, 7+i)
		s.live("/picky", a, 5)
	}
	load.mustBeClean(50)
}
