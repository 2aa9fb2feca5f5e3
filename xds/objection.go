package xds

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Proxies can be of two minds about a version: a new Envoy accepts what an older one refuses. The others keep it,
// and the one that objects gets what it had, or what all had agreed on, in its place: with the route table, in
// which all services' routes stand together, it would otherwise be cut off from every other service's edits.

// objectionKey names an objection: one proxy's, to one service's cluster or routes.
type objectionKey struct{ proxy, typeURL, service string }

// objection is one proxy's refusal of a unit. It lives until that unit is in effect no longer, or the
// proxy's connection ends.
type objection struct {
	// rejection is of the resource in which the unit was: its cluster or a route table.
	rejection
	since time.Time // of the proxy
	unit  *unit
	// instead is what the proxy gets; nil: nothing of the service.
	instead *unit
	// keep is true if it is not known what the proxy has, but it has something: then it is sent
	// nothing at all, so that nothing is taken away.
	keep bool
}

// objects reports whether an objection is to what that unit consists of, so that it stands against it too.
func (o *objection) objects(typeURL string, u *unit) bool {
	switch {
	case o == nil || u == nil:
		return false
	case typeURL == typeRoute:
		return o.unit.sameRoutes(u)
	default:
		return o.unit.cluster.version == u.cluster.version
	}
}

// objection returns the proxy's objection to a unit's cluster or routes; nil if it has none. The caller
// must hold p.mu.
func (p *Publisher) objection(proxy, typeURL string, u *unit) *objection {
	if u == nil {
		return nil
	}
	if o := p.objections[objectionKey{proxy, typeURL, u.policy.Name}]; o.objects(typeURL, u) {
		return o
	}
	return nil
}

// object notes that a proxy has refused a unit's cluster or routes. base is the last unit that the proxy is known
// to have accepted; nil if none is. The caller must hold p.mu.
func (p *Publisher) object(a answer, typeURL string, u, base *unit) {
	name := u.policy.Name
	o := &objection{rejection: a.rejected, since: a.since, unit: u}
	for _, c := range []*unit{base, p.accepted[name], p.agreed[name]} {
		if c != nil && !o.objects(typeURL, c) {
			o.instead = c
			break
		}
	}
	switch {
	case o.instead == nil:
		p.leaveOut(a.proxy, o)
	case typeURL == typeCluster:
		o.keep = a.accepted != "" && a.accepted != o.instead.cluster.version
	}
	p.objections[objectionKey{a.proxy, typeURL, name}] = o
	p.objected = true
}

// leaveOut is what is left if there is nothing to give a proxy instead. The caller must hold p.mu.
func (p *Publisher) leaveOut(proxy string, o *objection) {
	keep := p.ledger.inherits(proxy, typeCluster, o.unit.policy.Name)
	p.objected = p.objected || o.instead != nil || o.keep != keep
	o.instead, o.keep = nil, keep
}

// lapse forgets the objections to what is in effect no longer, and those of connections that have ended. The
// caller must hold p.mu.
func (p *Publisher) lapse(answers []answer) {
	if len(p.objections) == 0 {
		return
	}
	since := make(map[string]time.Time, len(answers))
	for _, a := range answers {
		since[a.proxy] = a.since
	}
	for key, o := range p.objections {
		u := p.effective[key.service]
		if key.typeURL == typeRoute {
			u = p.routed[key.service]
		}
		if !o.since.Equal(since[key.proxy]) || !o.objects(key.typeURL, u) {
			delete(p.objections, key)
			p.objected = true
		}
	}
}

// verdict is the ledger's of a unit's cluster, in which an objection counts though the proxy has been given
// another version since. The caller must hold p.mu.
func (p *Publisher) verdict(u *unit) verdict {
	var before map[string]rejection
	for key, o := range p.objections {
		if key.typeURL == typeCluster && key.service == u.policy.Name && o.objects(typeCluster, u) {
			if before == nil {
				before = map[string]rejection{}
			}
			before[key.proxy] = o.rejection
		}
	}
	return p.ledger.verdict(typeCluster, u.cluster.name, u.cluster.version, before)
}

// clusterVariants returns what proxies get in place of clusters to which they object, by proxy and name, and the
// endpoints of those. The caller must hold p.mu.
func (p *Publisher) clusterVariants() (variants map[string]map[string]*resource, endpoints []*resource) {
	variants = map[string]map[string]*resource{}
	for key, o := range p.objections {
		if key.typeURL != typeCluster || o.instead == nil || o.keep || !o.objects(typeCluster, p.effective[key.service]) {
			continue
		}
		if variants[key.proxy] == nil {
			variants[key.proxy] = map[string]*resource{}
		}
		variants[key.proxy][key.service] = o.instead.cluster
		if e := o.instead.endpoints; e != nil {
			endpoints = append(endpoints, e)
		}
	}
	return variants, endpoints
}

// blames reports whether a proxy has an objection to some service's routes. The caller must hold p.mu.
func (p *Publisher) blames(proxy string) bool {
	for key := range p.objections {
		if key.proxy == proxy && key.typeURL == typeRoute {
			return true
		}
	}
	return false
}

// disputes returns the objections to what other proxies keep, or may yet accept. The caller must hold p.mu.
func (p *Publisher) disputes() []Rejection {
	type key struct{ typeURL, service, text string }
	by := map[key]*Rejection{}
	for k, o := range p.objections {
		if p.rejected[k.service] != nil {
			continue
		}
		group := key{k.typeURL, k.service, o.text}
		r := by[group]
		if r == nil {
			r = &Rejection{
				Service: k.service, Type: typeName(k.typeURL), TypeURL: k.typeURL, Version: o.version,
				Resource: k.service, Text: o.text, Partial: true, Since: o.at,
			}
			if k.typeURL == typeRoute {
				r.Resource = p.table.name
			}
			r.Position, _ = o.unit.quoted(o.text)
			by[group] = r
		}
		r.Proxies = append(r.Proxies, k.proxy)
		if o.at.Before(r.Since) {
			r.Since = o.at
		}
	}
	out := make([]Rejection, 0, len(by))
	for _, r := range by {
		slices.Sort(r.Proxies)
		out = append(out, *r)
	}
	return out
}

// table is one composition of the route table.
type table struct {
	*resource
	// units are the services' versions that it consists of.
	units map[string]*unit
}

// tableOf returns the route table that a proxy is to have. The caller must hold p.mu.
func (p *Publisher) tableOf(proxy string) *table {
	if t := p.variants[proxy]; t != nil {
		return t
	}
	return p.table
}

// publishVariants composes and publishes the route tables of the proxies that object to something in the one for
// all. Proxies that object to the same have the same. The caller must hold p.mu.
func (p *Publisher) publishVariants() {
	units := map[string]map[string]*unit{} // by proxy
	kept := map[string]bool{}
	for key, o := range p.objections {
		if key.typeURL != typeRoute {
			continue
		}
		if units[key.proxy] == nil {
			units[key.proxy] = maps.Clone(p.routed)
		}
		switch {
		case o.keep:
			kept[key.proxy] = true
		case o.instead == nil:
			delete(units[key.proxy], key.service)
		default:
			units[key.proxy][key.service] = o.instead
		}
	}
	composed := map[string]*table{}
	p.variants = map[string]*table{}
	resources := map[string]map[string]*resource{}
	for proxy, mine := range units {
		if kept[proxy] {
			continue
		}
		key := routesKey(mine)
		if composed[key] == nil {
			r, err := p.composeTable(mine)
			if err != nil {
				p.log.Error("a proxy's route table cannot be published", "proxy", proxy, "error", err)
				continue
			}
			composed[key] = &table{resource: r, units: mine}
		}
		t := composed[key]
		p.variants[proxy] = t
		resources[proxy] = map[string]*resource{t.name: t.resource}
		p.tables[t.version] = t
	}
	p.cache.vary(typeRoute, resources)
}

// routesKey tells compositions of the route table apart.
func routesKey(units map[string]*unit) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(units)) {
		b.WriteString(name + " " + units[name].translated.RoutesVersion + "\n")
	}
	return b.String()
}

// forgetTables forgets the compositions that no proxy has or is to have. The caller must hold p.mu.
func (p *Publisher) forgetTables(answers []answer) {
	needed := map[string]bool{p.table.version: true}
	for _, t := range p.variants {
		needed[t.version] = true
	}
	for _, a := range answers {
		needed[a.accepted] = true
	}
	maps.DeleteFunc(p.tables, func(version string, _ *table) bool { return !needed[version] })
}
