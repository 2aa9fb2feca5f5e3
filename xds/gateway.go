package xds

import (
	"slices"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// gatewayState is what is published for the gateway itself: its listener, and the clusters that
// no service owns. It is guarded by the Publisher's mutex.
type gatewayState struct {
	policy *policy.Gateway
	// listener is the published one, desired what the policy asks for, accepted what a proxy
	// has accepted last.
	listener, desired, accepted *resource
	clusters                    []*resource
	// rejected is set while every proxy refuses the desired listener.
	rejected *Rejection
	// routesChanged and clustersChanged are true if the route table has to be composed,
	// and the clusters published again for the gateway's sake.
	routesChanged, clustersChanged bool
}

// want takes a new gateway policy. On an error the former stays.
func (g *gatewayState) want(gw *policy.Gateway) error {
	if g.policy == gw {
		return nil
	}
	listeners, err := translate.Listeners(gw)
	if err != nil {
		return err
	}
	l, err := newResource(typeListener, listeners[0].GetName(), listeners[0])
	if err != nil {
		return err
	}
	own, err := translate.GatewayClusters(gw)
	if err != nil {
		return err
	}
	var clusters []*resource
	for _, c := range own {
		r, err := newResource(typeCluster, c.GetName(), c)
		if err != nil {
			return err
		}
		clusters = append(clusters, r)
	}
	g.routesChanged = g.policy == nil || g.policy.ExposeAdmin != gw.ExposeAdmin || g.policy.AdminSecret != gw.AdminSecret
	g.policy, g.clusters, g.clustersChanged = gw, clusters, true
	if g.desired == nil || g.desired.version != l.version {
		g.desired, g.rejected = l, nil
	}
	return nil
}

// owns reports whether a cluster is the gateway's, in the version that is published.
func (g *gatewayState) owns(cluster, version string) bool {
	return slices.ContainsFunc(g.clusters, func(r *resource) bool { return r.name == cluster && r.version == version })
}

// where is the gateway's policy, as far as can be told, and the lines around that.
func (g *gatewayState) where() (policy.Position, []policy.SourceLine) {
	return g.policy.Position, g.policy.Excerpt(g.policy.Position)
}

// publish judges the published listener and publishes the one that is to be in effect. The
// caller must hold p.mu.
func (g *gatewayState) publish(p *Publisher, now time.Time, next *deadline) {
	if g.desired == nil {
		return
	}
	if g.rejected == nil {
		g.listener = g.desired
	}
	p.cache.update(typeListener, []*resource{g.listener}, nil)
	v := p.ledger.verdict(typeListener, g.listener.name, g.listener.version, nil)
	switch {
	case v.accepted > 0:
		g.accepted = g.listener
	case g.rejected == nil && p.condemned(v, v.first, now, next):
		at, excerpt := g.where()
		g.rejected = &Rejection{
			Type: typeName(typeListener), TypeURL: typeListener, Resource: g.listener.name, Version: g.listener.version,
			Proxies: v.by, Text: v.text, Since: v.first, Position: at, Excerpt: excerpt,
		}
		p.log.Error("every proxy rejects the gateway's listener: its last accepted version stays in effect",
			"at", at.String(), "proxies", v.by, "error", p.Hide(v.text))
		if g.accepted != nil {
			g.listener = g.accepted
			p.cache.update(typeListener, []*resource{g.listener}, nil)
		}
	}
}
