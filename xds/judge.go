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

	// digest of the policy that was refused.
	digest string
}

// judge draws the consequences of the proxies' answers: which units are accepted now, and which every
// proxy has rejected. The caller must hold p.mu.
func (p *Publisher) judge(now time.Time, next *deadline) {
	for name, u := range p.effective {
		if p.accepted[name] == u || p.desired[name] != u {
			continue
		}
		v := p.ledger.verdict(typeCluster, name, u.cluster.version)
		if p.condemned(v, now, next) {
			p.reject(u, u.cluster, typeCluster, v)
		}
	}
	p.judgeTable(now, next)
}

// condemned reports whether every proxy that answered has rejected, and no more answers
// are to be awaited.
func (p *Publisher) condemned(v verdict, now time.Time, next *deadline) bool {
	if v.rejected == 0 || v.accepted > 0 {
		return false
	}
	if end := v.first.Add(verdictTimeout); v.pending > 0 && now.Before(end) {
		next.at(end)
		return false
	}
	return true
}

// judgeTable is judge for the route table, in which all services' routes stand together. The caller
// must hold p.mu.
func (p *Publisher) judgeTable(now time.Time, next *deadline) {
	if p.table == nil {
		return
	}
	v := p.ledger.verdict(typeRoute, p.table.name, p.table.version)
	if v.accepted > 0 {
		for name, u := range p.routed {
			if p.effective[name] == u && p.accepted[name] != u && p.ledger.verdict(typeCluster, name, u.cluster.version).accepted > 0 {
				p.accepted[name] = u
			}
		}
		return
	}
	if !p.condemned(v, now, next) {
		return
	}
	for _, u := range p.suspects(v.text) {
		p.reject(u, p.table, typeRoute, v)
	}
}

// suspects are the units that a rejected route table can be due to: those that were not accepted
// before, or of them only those whose own expressions the proxies' text quotes.
// The caller must hold p.mu.
func (p *Publisher) suspects(text string) []*unit {
	var changed, quoted []*unit
	for name, u := range p.routed {
		if last := p.accepted[name]; p.desired[name] != u || last != nil && last.sameRoutes(u) {
			continue
		}
		_, named := u.quoted(text)
		if p.rejected[name] != nil {
			if named {
				return nil // it is in the table for want of another version: nobody else is to blame
			}
			continue
		}
		changed = append(changed, u)
		if named {
			quoted = append(quoted, u)
		}
	}
	if len(quoted) > 0 {
		return quoted
	}
	return changed
}

// reject notes that every proxy refuses a unit for the sake of one of its resources. The caller must hold
// p.mu.
func (p *Publisher) reject(u *unit, r *resource, typeURL string, v verdict) {
	name := u.policy.Name
	if p.rejected[name] != nil {
		return
	}
	at, _ := u.quoted(v.text)
	p.rejected[name] = &Rejection{
		Service: name, Type: typeName(typeURL), TypeURL: typeURL, Resource: r.name, Version: r.version,
		Proxies: v.by, Text: v.text, Since: v.first, Position: at,
		digest: u.policy.Digest,
	}
	p.log.Error("every proxy rejects a policy: its last accepted version stays in effect",
		"service", name, "type", typeName(typeURL), "at", at.String(), "proxies", v.by, "error", v.text)
}

// instead returns what is in effect instead of a rejected unit; nil for nothing. The
// caller must hold p.mu.
func (p *Publisher) instead(name string, rejected *unit) *unit {
	switch last := p.accepted[name]; {
	case last != nil:
		return p.regenerated(last)
	case p.ledger.inherited(typeCluster, name):
		// There is nothing to go back to, but a proxy has the service from an earlier
		// time: what it refused is not sent to it again, and nothing is taken away.
		return rejected
	default:
		return nil
	}
}

// regenerated returns an accepted unit in the service's present generation.
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
	p.accepted[u.policy.Name] = v
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
	for _, r := range p.ledger.refusals() {
		if q, ok := p.partial(r); ok {
			out = append(out, q)
		}
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
		if u == nil || u.cluster.version != r.Version || p.rejected[r.Resource] != nil {
			return r, false
		}
		r.Service = r.Resource
		r.Position, _ = u.quoted(r.Text)
		return r, true
	case typeRoute:
		if p.table == nil || p.table.version != r.Version {
			return r, false
		}
		for name, u := range p.routed {
			if at, ok := u.quoted(r.Text); ok {
				r.Service, r.Position = name, at
			}
		}
		return r, p.rejected[r.Service] == nil
	case typeListener:
		return r, p.gateway.listener != nil && p.gateway.listener.version == r.Version && p.gateway.rejected == nil
	}
	return r, true
}

// serviceOfEndpoints is the service of an endpoint resource's name, "<service>#<hash>".
func serviceOfEndpoints(name string) string {
	service, _, _ := strings.Cut(name, "#")
	return service
}
