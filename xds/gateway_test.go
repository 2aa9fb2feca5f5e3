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
	own := p.gateway.clusters()
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

// TestFirstGatewayThatCannotBeTranslated is an error that is shown, and mended by the next that can be.
func TestFirstGatewayThatCannotBeTranslated(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	proxy := dial(t, serve(t, p), "p1", nil, nil)
	bad := *gateway
	bad.Host = "not an address"
	bad.Position = policy.Position{File: "gateway.yaml", Line: 1, Column: 1}
	s := set(service("a"))
	s.Gateway = &bad
	p.Apply(s)
	r := p.Rejections()
	if len(r) != 1 || r[0].Type != untranslatedType || r[0].Position != bad.Position || r[0].Text == "" {
		t.Errorf("rejections: %+v", r)
	}
	eventually(t, "what needs no gateway is there", func() string { return names(proxy, typeCluster, "a") })
	if _, err := p.Plan(t.Context(), s); err == nil {
		t.Error("a plan with it is no error")
	}
	good := set(service("a"))
	if plan, err := p.Plan(t.Context(), good); err != nil || plan.Gateway.Listener != Added || !plan.Gateway.Routes {
		t.Errorf("the plan of one that can be is %+v, %v", plan, err)
	}
	p.Apply(good)
	eventually(t, "its routes are there", func() string { return proxy.routes([]string{"/a"}, nil) })
	if r := p.Rejections(); len(r) != 0 {
		t.Errorf("rejections: %+v", r)
	}
}
