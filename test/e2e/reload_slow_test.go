package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
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
	// So is whether one accepts what another has refused, for 2 s.
	for i, r := range refusables() {
		s.write("picky.yaml", r.bad(a))
		s.untilRefused(r)
		s.write("other.yaml", other(o, 7+i))
		s.live("/other", o, 7+i)
		s.live("/picky", a, 5)
	}
	load.mustBeClean(50)
}

// TestSomeEnvoysRefuse: what one Envoy takes and another does not is shown as partial. The one keeps it, and the
// other goes on with what it had.
func TestSomeEnvoysRefuse(t *testing.T) {
	t.Parallel()
	a, o := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStrict(t, map[string]string{"other.yaml": other(o, 5), "picky.yaml": goodPicky(a, 5)})
	s.live("/picky", a, 5)
	newer := s.startEnvoy("newer")
	regex := refusables()[0]
	s.write("picky.yaml", regex.bad(a))
	s.until("the partial rejection is shown", func() error {
		got := s.config().Rejections
		if len(got) != 1 || !got[0].Partial || got[0].Service != "picky" || !slices.Equal(got[0].Proxies, []string{"e2e"}) ||
			!strings.HasPrefix(got[0].Position.String(), fmt.Sprintf("picky.yaml:%d:", regex.line)) {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if out := s.run("status"); !strings.Contains(out, "while others accepted it") {
		t.Errorf("status says:\n%s", out)
	}
	s.until("the newer Envoy has it", func() error {
		dump, err := s.fetch("http://" + newer.AdminAddr + "/config_dump")
		if err == nil && !strings.Contains(dump, "pL{200}") {
			err = errors.New("it has not")
		}
		return err
	})
	// The gateway's port is both's, so what the other has is asked of itself.
	s.mustHaveGoodPicky(s.envoy)
	s.write("picky.yaml", goodPicky(a, 6))
	s.untilNotRefused()
	s.live("/picky", a, 6)
}
