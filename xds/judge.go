package xds

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// Rejection is a configuration that proxies rejected.
type Rejection struct {
	// Service whose policy caused it; empty if it is the gateway's, or not known.
	Service string
	// Type is the short name of the resource's type, TypeURL the full one, Resource its name, Version its hash. The type
	// "translation" has neither: the policy could not be made into resources at all.
	Type, TypeURL, Resource, Version string
	// Proxies that rejected it, in ascending order.
	Proxies []string
	// Text is what Envoy said.
	Text string
	// Partial is true if it is in effect on other proxies.
	Partial bool
	// Since is when it was first rejected.
	Since time.Time
	// Position in the policy that caused it.
	Position policy.Position
	// Excerpt is the lines around Position in the policy that was rejected; nil if it is not in the service's own document.
	Excerpt []policy.SourceLine

	// digest of the policy that was rejected.
	digest string
}

// add adds proxies that rejected it too.
func (r *Rejection) add(proxies []string) {
	r.Proxies = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(r.Proxies), proxies...))))
}

// judge draws the consequences of what proxies have rejected. The caller must hold p.mu.
func (p *Publisher) judge(now time.Time, next *deadline) {
	p.lapse()
	for _, r := range p.ledger.refusals() {
		switch r.TypeURL {
		case typeListener:
			if p.gateway.desired.owns(r.TypeURL, r.Resource, r.Version) {
				p.rejectGateway(r)
			}
		case typeCluster, typeEndpoint:
			p.judgeUnit(r)
		}
	}
	p.judgeTable(now, next)
}

// judgeUnit is judge for a cluster or an endpoint resource. The caller must hold p.mu.
func (p *Publisher) judgeUnit(r Rejection) {
	if p.gateway.desired.owns(r.TypeURL, r.Resource, r.Version) {
		p.rejectGateway(r)
		return
	}
	name := serviceOfEndpoints(r.Resource)
	for _, u := range []*unit{p.effective[name], p.desired[name]} {
		if u != nil && u.has(r.TypeURL, r.Resource, r.Version) {
			p.reject(u, r)
			return
		}
	}
}

// has reports whether a resource is the unit's, in this version.
func (u *unit) has(typeURL, name, version string) bool {
	r := u.cluster
	if typeURL == typeEndpoint {
		r = u.endpoints
	}
	return r != nil && r.name == name && r.version == version
}

// reject draws the consequence of a rejection of a unit by proxies, and reports whether it has one: a candidate goes back to
// current on all, and of what is current these proxies do without. The caller must hold p.mu.
func (p *Publisher) reject(u *unit, r Rejection) bool {
	name := u.policy.Name
	at := u.where(r.TypeURL)
	r.Service, r.Position, r.Excerpt, r.digest = name, at, u.policy.Excerpt(at), u.policy.Digest
	last := p.rejected[name]
	known := last != nil && last.digest == r.digest
	if known {
		last.add(r.Proxies)
	}
	switch {
	case u.samePolicy(p.current[name]), known && r.TypeURL == typeRoute && p.effective[name] == u:
		for _, proxy := range r.Proxies {
			p.withhold(proxy, u, r)
		}
	case known || !u.samePolicy(p.desired[name]):
		return false
	default:
		p.rejected[name] = &r
		p.log.Error("a proxy rejects a policy: current stays in effect on all", "service", name, "type", r.Type, "at", at.String(),
			"proxies", r.Proxies, "error", p.Hide(r.Text))
	}
	return true
}

// instead returns what is in effect in place of a rejected unit; nil for nothing. The caller must hold p.mu.
func (p *Publisher) instead(name string, rejected *unit) *unit {
	last := p.current[name]
	switch {
	case last == nil && p.ledger.inherited(typeCluster, name):
		// A proxy has the service from an earlier life of the control plane, of which nothing is known: it keeps that.
		return rejected
	case last == nil:
		return nil
	}
	p.current[name] = p.regenerated(last)
	return p.current[name]
}

// regenerated returns a unit in the service's present generation. The caller must hold p.mu.
func (p *Publisher) regenerated(u *unit) *unit {
	gen := translate.Generation(p.generations[u.policy.Name])
	if sameGeneration(u.generation, gen) {
		return u
	}
	v, err := newUnit(u.policy, gen)
	if err != nil {
		p.log.Error("cannot translate a reset", "service", u.policy.Name, "error", err)
		return u
	}
	v.stored = u.stored
	return v
}

// promote makes current what every connected proxy has accepted, and what none has rejected for answerTimeout. The caller must
// hold p.mu.
func (p *Publisher) promote(now time.Time, next *deadline) {
	g := &p.gateway
	if p.table == nil || p.trial != nil || p.ledger.count() == 0 {
		return
	}
	if p.gatewayIsCurrent() && p.allCurrent() {
		return
	}
	unsettled := p.tablesAccepted()
	due := func(since time.Time, lack, have int, stored bool) bool {
		if end := p.began.Add(p.opts.Settle); stored && now.Before(end) {
			next.at(end)
			return false
		}
		lack = max(lack, len(unsettled))
		if lack == 0 {
			return have > 0
		}
		end := since.Add(answerTimeout)
		if now.Before(end) {
			next.at(end)
			return false
		}
		return have > 0
	}
	for name, u := range p.effective {
		if p.current[name] == u || p.routed[name] != u || p.rejected[name] != nil {
			continue
		}
		without := func(proxy string) bool { return p.withheld[proxy][name] != nil }
		lack, have := p.ledger.lacking(typeCluster, u.cluster.name, u.cluster.version, without)
		if due(p.since[name], lack, have, p.current[name] != nil && p.current[name].stored) {
			p.current[name] = u
		}
	}
	if g.effective != g.current && g.rejected == nil {
		lack, have := p.ledger.lacking(typeListener, g.effective.listener.name, g.effective.listener.version, func(string) bool { return false })
		if due(g.since, lack, have, g.current != nil && g.current.stored) {
			g.current = g.effective
		}
	}
}

func (p *Publisher) gatewayIsCurrent() bool {
	return p.gateway.effective == p.gateway.current || p.gateway.rejected != nil
}

// allCurrent reports whether there is no service whose candidate may become current. The caller must hold p.mu.
func (p *Publisher) allCurrent() bool {
	for name, u := range p.effective {
		if p.current[name] != u {
			return false
		}
	}
	return true
}

// tablesAccepted returns the proxies that have not accepted the route table that they are to have; nil for none. The caller
// must hold p.mu.
func (p *Publisher) tablesAccepted() (unsettled []string) {
	for _, a := range p.ledger.answers(typeRoute, p.table.name) {
		if a.accepted != p.tableOf(a.proxy).version {
			unsettled = append(unsettled, a.proxy)
		}
	}
	return unsettled
}

// Rejections returns what is rejected now, in order of service, type and resource.
func (p *Publisher) Rejections() []Rejection {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.untranslated)
	for _, r := range p.rejected {
		out = append(out, *r)
	}
	if p.gateway.rejected != nil {
		out = append(out, *p.gateway.rejected)
	}
	out = append(out, p.withholdings()...)
	for _, r := range p.ledger.refusals() {
		if p.unjudged(&r) {
			out = append(out, r)
		}
	}
	for i := range out {
		out[i].Text = p.Hide(out[i].Text)
	}
	slices.SortFunc(out, func(a, b Rejection) int {
		if c := strings.Compare(a.Service, b.Service); c != 0 {
			return c
		}
		if c := strings.Compare(a.Type, b.Type); c != 0 {
			return c
		}
		return strings.Compare(a.Resource, b.Resource)
	})
	return out
}

// unjudged reports whether a rejection of what is published has no consequence but that it is shown: of a runtime layer, of the
// gateway's current version, or of a route table in which nothing is to blame. The caller must hold p.mu.
func (p *Publisher) unjudged(r *Rejection) bool {
	r.Partial = len(r.Proxies) < p.ledger.count()
	g := p.gateway.effective
	switch r.TypeURL {
	case typeRuntime:
		return true
	case typeRoute:
		return slices.ContainsFunc(r.Proxies, func(id string) bool { return p.tried[id] == r.Version })
	}
	if !g.owns(r.TypeURL, r.Resource, r.Version) || p.gateway.rejected != nil {
		return false
	}
	r.Position, r.Excerpt = g.policy.Position, g.policy.Excerpt(g.policy.Position)
	return true
}

// withholding is a service that one proxy does without, because it rejects what is current.
type withholding struct {
	Rejection
	unit *unit
	// since is that of the proxy's connection.
	since time.Time
}

// withhold has a proxy do without a service. The caller must hold p.mu.
func (p *Publisher) withhold(proxy string, u *unit, r Rejection) {
	name := u.policy.Name
	if p.withheld[proxy][name] != nil {
		return
	}
	if p.withheld[proxy] == nil {
		p.withheld[proxy] = map[string]*withholding{}
	}
	p.withheld[proxy][name] = &withholding{Rejection: r, unit: u, since: p.ledger.since(proxy)}
	p.variantsChanged = true
	p.log.Error("a proxy rejects what all others have of a service: it is withheld from that proxy", "service", name, "proxy", proxy,
		"type", r.Type, "at", r.Position.String(), "error", p.Hide(r.Text))
}

// lapse ends what is withheld of what is in effect no longer, and from proxies whose connection has ended. The caller must
// hold p.mu.
func (p *Publisher) lapse() {
	for proxy, services := range p.withheld {
		since := p.ledger.since(proxy)
		for name, w := range services {
			if !w.since.Equal(since) || !w.unit.samePolicy(p.effective[name]) || !w.unit.samePolicy(p.desired[name]) {
				delete(services, name)
				p.variantsChanged = true
			}
		}
		if len(services) == 0 {
			delete(p.withheld, proxy)
		}
	}
}

// frozen returns the clusters and endpoint resources of what is withheld, by proxy and name: what the proxies have of them
// stays, and is not used. The caller must hold p.mu.
func (p *Publisher) frozen() (clusters, endpoints map[string]map[string]*resource) {
	clusters, endpoints = map[string]map[string]*resource{}, map[string]map[string]*resource{}
	for proxy, services := range p.withheld {
		clusters[proxy], endpoints[proxy] = map[string]*resource{}, map[string]*resource{}
		for name := range services {
			u := p.effective[name]
			if u == nil {
				continue
			}
			clusters[proxy][u.cluster.name] = nil
			if u.endpoints != nil {
				endpoints[proxy][u.endpoints.name] = nil
			}
		}
	}
	return clusters, endpoints
}

// withholdings returns what is withheld, what several proxies reject in the same words once. The caller must hold p.mu.
func (p *Publisher) withholdings() []Rejection {
	type key struct{ typeURL, service, text string }
	by := map[key]*Rejection{}
	from := map[string]int{} // proxies, by service
	for _, proxy := range slices.Sorted(maps.Keys(p.withheld)) {
		for name, w := range p.withheld[proxy] {
			from[name]++
			k := key{w.TypeURL, name, w.Text}
			if by[k] == nil {
				r := w.Rejection
				r.Proxies = nil
				by[k] = &r
			}
			by[k].Proxies = append(by[k].Proxies, proxy)
		}
	}
	out := make([]Rejection, 0, len(by))
	for _, r := range by {
		r.Partial = from[r.Service] < p.ledger.count()
		out = append(out, *r)
	}
	return out
}

// serviceOfEndpoints is the service of an endpoint resource's name, "<service>#<hash>".
func serviceOfEndpoints(name string) string {
	service, _, _ := strings.Cut(name, "#")
	return service
}
