package xds

import (
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// Rejection is a configuration that proxies refused.
type Rejection struct {
	// Service whose policy caused it; empty if it is the gateway's, or not known.
	Service string
	// Type is the short name of the resource's type, TypeURL the full one, Resource its name, Version its hash. The type
	// "translation" has neither: the policy could not be made into resources at all.
	Type, TypeURL, Resource, Version string
	// Proxies that refused it, in ascending order.
	Proxies []string
	// Text is what Envoy said.
	Text string
	// Partial is true if other proxies accepted it and keep it.
	Partial bool
	// Since is when it was first refused.
	Since time.Time
	// Position in the policy that caused it, as near as the text allows to tell.
	Position policy.Position
	// Excerpt is the lines around Position in the policy that was refused; nil if it is not in the service's own document.
	Excerpt []policy.SourceLine

	// digest of the policy that was refused.
	digest string
}

// judge draws the consequences of the proxies' answers: which units are accepted now, which every proxy has
// rejected, and who objects to what others keep. The caller must hold p.mu.
func (p *Publisher) judge(now time.Time, next *deadline) {
	refusals := p.ledger.refusals()
	contested := map[string]bool{} // services whose cluster somebody refuses, in this version or another
	for key := range p.objections {
		contested[key.service] = true
	}
	for _, r := range refusals {
		contested[r.Resource] = contested[r.Resource] || r.TypeURL == typeCluster
	}
	for name, u := range p.effective {
		if !contested[name] || p.desired[name] != u {
			continue
		}
		if v := p.verdict(u); !p.proven(u) && p.condemned(v, p.since[name], now, next) {
			p.reject(u, typeCluster, u.cluster.name, v)
		}
	}
	for _, r := range refusals {
		u := p.effective[r.Resource]
		if r.TypeURL != typeCluster || u == nil || u.cluster.version != r.Version || p.verdict(u).accepted == 0 && !p.proven(u) {
			continue
		}
		for _, a := range p.ledger.answers(typeCluster, r.Resource) {
			if a.rejected.version == r.Version && p.objection(a.proxy, typeCluster, u) == nil {
				p.object(a, typeCluster, u, nil, false)
			}
		}
	}
	p.judgeTable(now, next)
}

// condemned reports whether every proxy that answered has rejected, and no more answers
// are to be awaited. published is when the proxies were first to have what the verdict is on: a refusal may be of long before,
// of the same policy in another version of the resource.
func (p *Publisher) condemned(v verdict, published, now time.Time, next *deadline) bool {
	if v.rejected == 0 || v.accepted > 0 {
		return false
	}
	last := v.first
	for _, t := range []time.Time{published, v.asked} {
		if t.After(last) {
			last = t
		}
	}
	if end := last.Add(verdictTimeout); v.pending > 0 && now.Before(end) {
		next.at(end)
		return false
	}
	return true
}

// judgeTable is judge for the route tables, in which all services' routes stand together. The caller
// must hold p.mu.
func (p *Publisher) judgeTable(now time.Time, next *deadline) {
	if p.table == nil {
		return
	}
	answers := p.ledger.answers(typeRoute, p.table.name)
	p.lapse(answers)
	for _, a := range answers {
		if t := p.tableOf(a.proxy); a.rejected.version == t.version {
			p.blame(a, t)
		}
	}
	p.forgetTables(answers)

	objectors := map[string]map[string]rejection{} // by service and proxy
	for key, o := range p.objections {
		if key.typeURL != typeRoute {
			continue
		}
		if objectors[key.service] == nil {
			objectors[key.service] = map[string]rejection{}
		}
		objectors[key.service][key.proxy] = o.rejection
	}
	all := p.tableVerdict(answers, nil)
	for name, u := range p.routed {
		if p.effective[name] != u {
			continue
		}
		v := all
		if by := objectors[name]; by != nil {
			v = p.tableVerdict(answers, by)
		}
		switch {
		case v.accepted > 0 && (p.accepted[name] != u || p.agreed[name] != u):
			if p.accepted[name] != u && p.ledger.acceptedByAny(typeCluster, u.cluster.name, u.cluster.version) {
				p.accepted[name] = u
			}
			if p.agreed[name] != u && v.unanimous() && p.ledger.acceptedByAll(typeCluster, u.cluster.name, u.cluster.version) {
				p.agreed[name] = u
			}
		case p.desired[name] == u && p.rejected[name] == nil && objectors[name] != nil && !p.proven(u) && p.condemned(v, p.table.since, now, next):
			p.reject(u, typeRoute, p.table.name, v)
		}
	}
}

// proven reports whether proxies had accepted the unit and there is no other to go back to. Then it stays though all
// that are connected now may refuse it: the others come back. The caller must hold p.mu.
func (p *Publisher) proven(u *unit) bool {
	agreed := p.agreed[u.policy.Name]
	return u.samePolicy(p.accepted[u.policy.Name]) && (agreed == nil || u.samePolicy(agreed))
}

// tableVerdict is what the proxies made each of its own route table. objectors are the proxies, with their reasons,
// whose table is another one because they reject what is asked about; nil: none. The caller must hold p.mu.
func (p *Publisher) tableVerdict(answers []answer, objectors map[string]rejection) verdict {
	var v verdict
	for _, a := range answers {
		r, objects := objectors[a.proxy]
		switch t := p.tableOf(a.proxy); {
		case objects:
			v.reject(a.proxy, r)
		case a.accepted == t.version:
			v.accepted++
		case a.rejected.version == t.version:
			v.reject(a.proxy, a.rejected)
		default:
			v.await(a.since)
		}
	}
	return v
}

// blame notes to which units a proxy objects that has refused its route table: to those that were not in the one
// it has or, if that is not known, in what was accepted before; of them only to those whose own expressions its
// text quotes, if there are any. The caller must hold p.mu.
func (p *Publisher) blame(a answer, refused *table) {
	base := p.tables[a.accepted]
	var changed, quoted []*unit
	for name, u := range refused.units {
		last := p.accepted[name]
		if base != nil {
			last = base.units[name]
		}
		_, named := u.quoted(a.rejected.text)
		if p.rejected[name] != nil {
			if named {
				return // it is in the table for want of another version: nobody else is to blame
			}
			continue
		}
		// What a new proxy refuses may be what all others have.
		if last != nil && last.sameRoutes(u) && (base != nil || !named) {
			continue
		}
		changed = append(changed, u)
		if named {
			quoted = append(quoted, u)
		}
	}
	if len(quoted) > 0 {
		changed = quoted
	}
	for _, u := range changed {
		name := u.policy.Name
		if o := p.objection(a.proxy, typeRoute, p.routed[name]); o != nil {
			p.leaveOut(a.proxy, o, base != nil) // it refuses what it was given instead
			continue
		}
		var last *unit
		if base != nil {
			last = base.units[name]
		}
		p.object(a, typeRoute, u, last, base != nil)
	}
}

// reject notes that every proxy refuses a unit for the sake of its cluster or its routes, which are in the resource
// of that name. The caller must hold p.mu.
func (p *Publisher) reject(u *unit, typeURL, resource string, v verdict) {
	name := u.policy.Name
	if p.rejected[name] != nil {
		return
	}
	at, _ := u.quoted(v.text)
	p.rejected[name] = &Rejection{
		Service: name, Type: typeName(typeURL), TypeURL: typeURL, Resource: resource, Version: v.version,
		Proxies: v.by, Text: v.text, Since: v.first, Position: at, Excerpt: u.policy.Excerpt(at),
		digest: u.policy.Digest,
	}
	p.log.Error("every proxy rejects a policy: its last accepted version stays in effect",
		"service", name, "type", typeName(typeURL), "at", at.String(), "proxies", v.by, "error", p.Hide(v.text))
}

// instead returns what is in effect instead of a rejected unit; nil for nothing. The
// caller must hold p.mu.
func (p *Publisher) instead(name string, rejected *unit) *unit {
	last := p.accepted[name]
	if last == nil || last.samePolicy(rejected) {
		// Those that accepted it have left.
		last = p.agreed[name]
	}
	switch {
	case last != nil && !last.samePolicy(rejected):
		p.accepted[name] = p.regenerated(last)
		return p.accepted[name]
	case p.ledger.inherited(typeCluster, name):
		// There is nothing to go back to, but a proxy has the service from an earlier
		// time: what it refused is not sent to it again, and nothing is taken away.
		return rejected
	default:
		return nil
	}
}

// regenerated returns an accepted unit in the service's present generation. The caller must hold p.mu.
func (p *Publisher) regenerated(u *unit) *unit {
	gen := translate.Generation(p.generations[u.policy.Name])
	if sameGeneration(u.generation, gen) {
		return u
	}
	v, err := newUnit(u.policy, gen)
	if err != nil {
		p.log.Error("a reset cannot be translated", "service", u.policy.Name, "error", err)
		return u
	}
	return v
}

// Rejections returns what is refused now, in order of service, type and resource.
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
	out = append(out, p.disputes()...)
	for _, r := range p.ledger.refusals() {
		if q, ok := p.partial(r); ok {
			out = append(out, q)
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

// partial completes a refusal of a version that is still published: some proxy refused it, and
// others keep it or have not answered yet. The caller must hold p.mu.
func (p *Publisher) partial(r Rejection) (Rejection, bool) {
	r.Partial = true
	switch r.TypeURL {
	case typeCluster:
		u := p.effective[r.Resource]
		if p.gateway.owns(r.Resource, r.Version) {
			r.Partial = len(r.Proxies) < p.ledger.count()
			r.Position, r.Excerpt = p.gateway.where()
			return r, true
		}
		if u == nil || u.cluster.version != r.Version || p.rejected[r.Resource] != nil || p.verdict(u).accepted > 0 || p.proven(u) {
			return r, false // what others accepted is told by the objections
		}
		r.Service = r.Resource
		r.Position, _ = u.quoted(r.Text)
		r.Excerpt = u.policy.Excerpt(r.Position)
		return r, true
	case typeRoute:
		// A table of which the service to blame is not known, and that somebody is still to have.
		return r, slices.ContainsFunc(r.Proxies, func(id string) bool {
			return p.table != nil && p.tableOf(id).version == r.Version && !p.blames(id)
		})
	case typeListener:
		if p.gateway.policy != nil {
			r.Position, r.Excerpt = p.gateway.where()
		}
		return r, p.gateway.listener != nil && p.gateway.listener.version == r.Version && p.gateway.rejected == nil
	}
	return r, true
}

// serviceOfEndpoints is the service of an endpoint resource's name, "<service>#<hash>".
func serviceOfEndpoints(name string) string {
	service, _, _ := strings.Cut(name, "#")
	return service
}
