package xds

import (
	"slices"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// gatewayUnit is one version of the gateway itself: its policy, its listener, and the clusters that no service owns.
type gatewayUnit struct {
	policy   *policy.Gateway
	listener *resource
	clusters []*resource
	// stored is that of unit.
	stored bool
}

func newGatewayUnit(gw *policy.Gateway) (*gatewayUnit, error) {
	listeners, err := translate.Listeners(gw)
	if err != nil {
		return nil, err
	}
	u := &gatewayUnit{policy: gw}
	if u.listener, err = newResource(typeListener, listeners[0].GetName(), listeners[0]); err != nil {
		return nil, err
	}
	own, err := translate.GatewayClusters(gw)
	if err != nil {
		return nil, err
	}
	for _, c := range own {
		r, err := newResource(typeCluster, c.GetName(), c)
		if err != nil {
			return nil, err
		}
		u.clusters = append(u.clusters, r)
	}
	return u, nil
}

// same reports whether Envoy gets the same for both.
func (u *gatewayUnit) same(other *gatewayUnit) bool {
	return u == other || u != nil && other != nil && u.listener.version == other.listener.version && u.sameRoutes(other) &&
		slices.EqualFunc(u.clusters, other.clusters, func(a, b *resource) bool { return a.name == b.name && a.version == b.version })
}

// sameRoutes reports whether the gateway's part of the route table is the same.
func (u *gatewayUnit) sameRoutes(other *gatewayUnit) bool {
	if u == nil || other == nil {
		return u == other
	}
	return u.policy.ExposeAdmin == other.policy.ExposeAdmin && u.policy.AdminSecret == other.policy.AdminSecret
}

// owns reports whether a resource is the gateway's, in this version.
func (u *gatewayUnit) owns(typeURL, name, version string) bool {
	is := func(r *resource) bool { return r.name == name && r.version == version }
	switch {
	case u == nil:
		return false
	case typeURL == typeListener:
		return is(u.listener)
	default:
		return typeURL == typeCluster && slices.ContainsFunc(u.clusters, is)
	}
}

// gatewayState is what is published for the gateway itself. Its fields are those of the Publisher of the same names. It is
// guarded by the Publisher's mutex.
type gatewayState struct {
	desired, current, effective *gatewayUnit
	rejected                    *Rejection
	since                       time.Time
	// routesChanged and clustersChanged are true if the route table has to be composed,
	// and the clusters published again for the gateway's sake.
	routesChanged, clustersChanged bool
}

// want takes a new gateway policy. On an error the former stays.
func (g *gatewayState) want(gw *policy.Gateway) error {
	if g.desired != nil && g.desired.policy == gw {
		return nil
	}
	u, err := newGatewayUnit(gw)
	if err != nil {
		return err
	}
	if c := g.current; c != nil && c.policy.AdminSecret != gw.AdminSecret {
		// The secret is of this process, and of no version.
		last := *c.policy
		last.AdminSecret = gw.AdminSecret
		g.current = &gatewayUnit{policy: &last, listener: c.listener, clusters: c.clusters, stored: c.stored}
	}
	if !u.same(g.desired) {
		g.rejected = nil
	}
	if u.same(g.current) {
		g.current = u
	}
	g.desired = u
	return nil
}

// choose decides which version of the gateway is in effect.
func (g *gatewayState) choose(now time.Time) {
	u := g.desired
	if g.rejected != nil && g.current != nil {
		u = g.current
	}
	if u == g.effective {
		return
	}
	g.routesChanged = g.routesChanged || !u.sameRoutes(g.effective)
	g.clustersChanged = true
	g.effective, g.since = u, now
}

// policy is the gateway's policy in effect; nil before the first.
func (g *gatewayState) policy() *policy.Gateway {
	if g.effective == nil {
		return nil
	}
	return g.effective.policy
}

func (g *gatewayState) clusters() []*resource {
	if g.effective == nil {
		return nil
	}
	return g.effective.clusters
}

func (g *gatewayState) listeners() []*resource {
	if g.effective == nil {
		return nil
	}
	return []*resource{g.effective.listener}
}

// rejectGateway notes that a proxy has rejected the gateway's candidate, and reports whether it is one. What a proxy rejects of
// current is only shown: no proxy can do without. The caller must hold p.mu.
func (p *Publisher) rejectGateway(r Rejection) bool {
	g := &p.gateway
	if g.rejected != nil {
		g.rejected.add(r.Proxies)
		return false
	}
	if g.desired == nil || g.desired.same(g.current) || g.effective != g.desired {
		return false
	}
	at := g.desired.policy.Position
	r.Position, r.Excerpt = at, g.desired.policy.Excerpt(at)
	g.rejected = &r
	p.log.Error("a proxy rejects the gateway's configuration: current stays in effect on all",
		"type", r.Type, "at", at.String(), "proxies", r.Proxies, "error", p.Hide(r.Text))
	return true
}
