package xds

import (
	"maps"
	"slices"
	"time"
)

// Proxies can be of two minds about a version: a new Envoy accepts what an older one refuses. The others keep it,
// and the one that objects gets what it had, or what all had agreed on, in its place: with the route table, in
// which all services' routes stand together, it would otherwise be cut off from every other service's edits.

// objectionKey names an objection: one proxy's, to one service's cluster or routes. Without a proxy it is anyone's.
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
	case o.unit.samePolicy(u): // a reset changes no more than the generation
		return true
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
// to have accepted; nil if none is. known is true if what it has is known, so that nil means that it has nothing.
// The caller must hold p.mu.
func (p *Publisher) object(a answer, typeURL string, u, base *unit, known bool) {
	name := u.policy.Name
	o := &objection{rejection: a.rejected, since: a.since, unit: u}
	candidates := []*unit{base, p.accepted[name], p.agreed[name]}
	if former := p.former[objectionKey{typeURL: typeURL, service: name}]; former.objects(typeURL, u) {
		candidates = append(candidates, former.instead)
	}
	for _, c := range candidates {
		if c != nil && !o.objects(typeURL, c) {
			o.instead = p.regenerated(c)
			break
		}
	}
	switch {
	case o.instead == nil:
		p.leaveOut(a.proxy, o, known)
	case typeURL == typeCluster:
		o.keep = a.accepted != "" && a.accepted != o.instead.cluster.version
	}
	p.objections[objectionKey{a.proxy, typeURL, name}] = o
	p.objected = true
}

// leaveOut is what is left if there is nothing to give a proxy instead. known is that of object. The caller must hold p.mu.
func (p *Publisher) leaveOut(proxy string, o *objection, known bool) {
	keep := !known && p.ledger.proxyInherits(proxy, typeCluster, o.unit.policy.Name)
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
		stands := o.objects(key.typeURL, p.inEffect(key))
		if stands && o.since.Equal(since[key.proxy]) {
			continue
		}
		if stands && o.instead != nil {
			p.former[objectionKey{typeURL: key.typeURL, service: key.service}] = o
		}
		delete(p.objections, key)
		p.objected = true
	}
}

// inEffect returns the unit to which an objection of that key can be; nil if there is none. A service's routes may be held
// back, and then those of before are in effect. The caller must hold p.mu.
func (p *Publisher) inEffect(key objectionKey) *unit {
	if key.typeURL == typeRoute {
		return p.routed[key.service]
	}
	return p.effective[key.service]
}

// forgetFormer forgets the former objections to what is in effect no longer. The caller must hold p.mu.
func (p *Publisher) forgetFormer() {
	maps.DeleteFunc(p.former, func(key objectionKey, o *objection) bool { return !o.objects(key.typeURL, p.inEffect(key)) })
}

// regenerateInstead gives what proxies have in place of a service's unit its present generation too, and returns what
// each of them is to confirm, by proxy; nil: nothing. The caller must hold p.mu.
func (p *Publisher) regenerateInstead(service string) map[string]*unit {
	instead := map[string]*unit{}
	fresh := map[*unit]*unit{}
	for key, o := range p.objections {
		if key.service != service {
			continue
		}
		if old := o.instead; old != nil {
			if fresh[old] == nil {
				fresh[old] = p.regenerated(old)
			}
			o.instead = fresh[old]
			p.objected = true
		}
		if key.typeURL != typeCluster || !o.objects(typeCluster, p.effective[service]) {
			continue
		}
		instead[key.proxy] = nil
		if !o.keep {
			instead[key.proxy] = o.instead
		}
	}
	return instead
}

// verdict is the ledger's of a unit's cluster, in which an objection counts though the proxy has been given
// another version since. The caller must hold p.mu.
func (p *Publisher) verdict(u *unit) verdict {
	return p.ledger.verdict(typeCluster, u.cluster.name, u.cluster.version, func(proxy string) (rejection, bool) {
		if o := p.objection(proxy, typeCluster, u); o != nil {
			return o.rejection, true
		}
		return rejection{}, false
	})
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
	refusing := map[objectionKey]int{} // proxies, of any
	for k, o := range p.objections {
		if p.rejected[k.service] != nil {
			continue
		}
		refusing[objectionKey{typeURL: k.typeURL, service: k.service}]++
		group := key{k.typeURL, k.service, o.text}
		r := by[group]
		if r == nil {
			r = &Rejection{
				Service: k.service, Type: typeName(k.typeURL), TypeURL: k.typeURL, Version: o.version,
				Resource: k.service, Text: o.text, Since: o.at,
			}
			if k.typeURL == typeRoute {
				r.Resource = p.table.name
			}
			r.Position, _ = o.unit.quoted(o.text)
			r.Excerpt = o.unit.policy.Excerpt(r.Position)
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
		r.Partial = p.ledger.count() > refusing[objectionKey{typeURL: r.TypeURL, service: r.Service}]
		out = append(out, *r)
	}
	return out
}
