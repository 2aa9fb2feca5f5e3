package xds

import (
	"fmt"
	"slices"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// TestRefusedGatewayClusterIsShown: the clusters of gateway.yaml, which belong to no service, are not refused in silence.
func TestRefusedGatewayClusterIsShown(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	gw := *gateway
	gw.ExposeAdmin = "127.0.0.1:9901"
	gw.Position = policy.Position{File: "gateway.yaml", Line: 1, Column: 1}
	s := set(service("a"))
	s.Gateway = &gw
	p.Apply(s)
	own := p.gateway.clusters
	if len(own) == 0 {
		t.Fatal("the gateway has no clusters")
	}
	name := own[0].name
	dial(t, addr, "older", nil, func(typeURL, cluster string, _ []byte) string {
		if typeURL == typeCluster && cluster == name {
			return "not that one"
		}
		return ""
	})
	shown := func(partial bool) func() string {
		return func() string {
			r := p.Rejections()
			if len(r) != 1 || r[0].Resource != name || r[0].Partial != partial || r[0].Position != gw.Position || !slices.Equal(r[0].Proxies, []string{"older"}) {
				return fmt.Sprintf("%+v", r)
			}
			return ""
		}
	}
	eventually(t, "it is shown", shown(false))
	connect(t, addr, "newer")
	eventually(t, "it is shown as partial", shown(true))
}
