package xds

import (
	"cmp"
	"context"
	"maps"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds/translate"
)

// Action says what becomes of a service or a resource.
type Action string

// The actions. The zero value is that nothing does.
const (
	Added   Action = "added"
	Removed Action = "removed"
	Changed Action = "changed"
)

// Plan is what a set would change of what is published for all proxies. The runtime layers
// are left out of its resources.
type Plan struct {
	// Services that change, in ascending order of name.
	Services []ServiceChange
	Gateway  GatewayChange
	// After are the policies that would be in effect, in ascending order of name: those that proxies have refused are not.
	After []*policy.Service
	// Resources that change, in ascending order of type URL and name.
	Resources []ResourceChange
	// Untranslated are the policies that can not be made into resources: what is in effect
	// for them stays.
	Untranslated []Rejection
}

// ServiceChange is what changes of what is published for one service. Each part is zero if
// Envoy gets nothing of it.
type ServiceChange struct {
	Service string
	Action  Action
	// Before and After are the policies in effect; nil for a service that comes or goes.
	Before, After *policy.Service
	// Cluster that is Changed is replaced by each Envoy, with all that it knows of its hosts.
	Cluster Action
	// Endpoints that are Changed, while Cluster is not, are hosts that come and go. Of a
	// cluster that is replaced they are published under another name.
	Endpoints Action
	// Routes of the service in the one route table.
	Routes Action
	// Limits is true if the service's limits change, which go by a runtime layer.
	Limits bool
}

// GatewayChange is what changes of what no service owns. The zero value is nothing.
type GatewayChange struct {
	// Before and After are the gateway's policies; the same if nothing changes.
	Before, After *policy.Gateway
	// Listener that is Changed is replaced by each Envoy, or updated InPlace if only what
	// is done with its connections changes.
	Listener Action
	InPlace  bool
	// Clusters is true if a cluster that no service owns changes.
	Clusters bool
	// Routes is true if the gateway's own routes change.
	Routes bool
}

// ResourceChange is one resource that changes.
type ResourceChange struct {
	TypeURL, Name string
	Action        Action
	// Diff is a unified diff of the resource as YAML.
	Diff string
}

// Plan says what Apply of the set would change. It changes nothing. What Envoy would refuse it does not foresee. It stops
// soon once ctx ends, with its error.
func (p *Publisher) Plan(ctx context.Context, set *policy.Set) (*Plan, error) {
	s := p.snapshot()
	var plan Plan
	after := make(map[string]*unit, len(set.Services))
	for _, svc := range set.Services {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		u, err := s.unitOf(svc)
		if err != nil {
			plan.Untranslated = append(plan.Untranslated, Rejection{
				Service: svc.Name, Type: untranslatedType, Text: err.Error(), Position: svc.Position,
			})
			u = s.effective[svc.Name]
		}
		if u != nil {
			after[svc.Name] = u
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		plan.After = append(plan.After, after[name].policy)
	}
	pairs := pairs{}
	for _, name := range slices.Sorted(maps.Keys(union(s.effective, after))) {
		if c, changed := pairs.service(name, s.effective[name], after[name]); changed {
			plan.Services = append(plan.Services, c)
		}
	}
	if err := pairs.gateway(&plan, s, set.Gateway); err != nil {
		if s.gateway.policy() == nil {
			return nil, err // there is none to stay
		}
		plan.Untranslated = append(plan.Untranslated, Rejection{
			Type: untranslatedType, Text: err.Error(), Position: set.Gateway.Position,
		})
		plan.Gateway = GatewayChange{Before: s.gateway.policy(), After: s.gateway.policy()}
	}
	routes := func(c ServiceChange) bool { return c.Routes != "" }
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if plan.Gateway.Routes || slices.ContainsFunc(plan.Services, routes) {
		if err := pairs.routes(s.effective, after, plan.Gateway); err != nil {
			return nil, err
		}
	}
	var err error
	if plan.Resources, err = pairs.changes(ctx); err != nil {
		return nil, err
	}
	return &plan, nil
}

// published is what is published at one moment.
type published struct {
	effective, desired, current map[string]*unit
	rejected                    map[string]string // the digest of the policy, by service
	generations                 map[string]store.Generation
	gateway                     gatewayState
}

func (p *Publisher) snapshot() *published {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &published{
		effective: maps.Clone(p.effective), desired: maps.Clone(p.desired), current: maps.Clone(p.current),
		rejected: make(map[string]string, len(p.rejected)), generations: p.generations, gateway: p.gateway,
	}
	for name, r := range p.rejected {
		s.rejected[name] = r.digest
	}
	return s
}

// unitOf is the unit that would be in effect for a policy; nil for none.
func (s *published) unitOf(svc *policy.Service) (*unit, error) {
	if digest, ok := s.rejected[svc.Name]; ok && digest == svc.Digest {
		return s.effective[svc.Name], nil
	}
	gen := translate.Generation(s.generations[svc.Name])
	for _, u := range []*unit{s.effective[svc.Name], s.desired[svc.Name], s.current[svc.Name]} {
		if u != nil && u.policy.Digest == svc.Digest && sameGeneration(u.generation, gen) {
			return u, nil
		}
	}
	return newUnit(svc, gen)
}

func union(a, b map[string]*unit) map[string]*unit {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// pairs are the resources that differ, before and after, by type and name.
type pairs map[key]pair

type key struct{ typeURL, name string }

type pair struct{ before, after *resource }

// add notes two versions of a resource, each of which may be nil, and says what becomes of it. Two
// of different names are one that goes and one that comes.
func (p pairs) add(typeURL string, before, after *resource) Action {
	switch {
	case before == nil && after == nil:
		return ""
	case before == nil:
		p.set(typeURL, nil, after)
		return Added
	case after == nil:
		p.set(typeURL, before, nil)
		return Removed
	case before.name != after.name:
		p.set(typeURL, before, nil)
		p.set(typeURL, nil, after)
		return Changed
	case before.version != after.version:
		p[key{typeURL, after.name}] = pair{before, after}
		return Changed
	}
	return ""
}

func (p pairs) set(typeURL string, before, after *resource) {
	r := cmp.Or(before, after)
	p[key{typeURL, r.name}] = pair{before, after}
}

// service compares two versions of a service, of which one may be nil.
func (p pairs) service(name string, before, after *unit) (ServiceChange, bool) {
	c := ServiceChange{Service: name, Action: Changed}
	if before == after {
		return c, false
	}
	var was, is unit
	switch {
	case before == nil:
		c.Action, is, c.After, c.Routes = Added, *after, after.policy, Added
	case after == nil:
		c.Action, was, c.Before, c.Routes = Removed, *before, before.policy, Removed
	default:
		was, is, c.Before, c.After = *before, *after, before.policy, after.policy
		c.Limits = was.translated.Limits != is.translated.Limits
		if !before.sameRoutes(after) {
			c.Routes = Changed
		}
	}
	c.Cluster = p.add(typeCluster, was.cluster, is.cluster)
	c.Endpoints = p.add(typeEndpoint, was.endpoints, is.endpoints)
	return c, before == nil || !before.samePolicy(after)
}

// gateway compares what no service owns.
func (p pairs) gateway(plan *Plan, s *published, gw *policy.Gateway) error {
	next, err := newGatewayUnit(gw)
	if err != nil {
		return err
	}
	before, c := s.gateway.effective, GatewayChange{Before: s.gateway.policy(), After: gw}
	if s.gateway.rejected != nil && next.same(s.gateway.desired) {
		next = before
	}
	if before == nil {
		before = &gatewayUnit{}
	}
	c.Routes = before.policy == nil || before.policy.ExposeAdmin != gw.ExposeAdmin
	c.Listener = p.add(typeListener, before.listener, next.listener)
	if c.Listener == Changed {
		if c.InPlace, err = inPlace(before.listener, next.listener); err != nil {
			return err
		}
	}
	clusters := map[string]pair{}
	for _, r := range before.clusters {
		clusters[r.name] = pair{before: r}
	}
	for _, r := range next.clusters {
		clusters[r.name] = pair{clusters[r.name].before, r}
	}
	for _, pair := range clusters {
		c.Clusters = p.add(typeCluster, pair.before, pair.after) != "" || c.Clusters
	}
	plan.Gateway = c
	return nil
}

// inPlace reports whether Envoy keeps a listener's socket and connections and replaces only what is done with them: it
// does if nothing but the filter chains differs (ListenerMessageUtil::filterChainOnlyChange).
func inPlace(before, after *resource) (bool, error) {
	var a, b listenerv3.Listener
	for to, r := range map[*listenerv3.Listener]*resource{&a: before, &b: after} {
		if err := r.body.UnmarshalTo(to); err != nil {
			return false, err
		}
		to.FilterChains = nil
	}
	return proto.Equal(&a, &b), nil
}

// routes compares the one route table.
func (p pairs) routes(before, after map[string]*unit, gw GatewayChange) error {
	var old *resource
	var err error
	if gw.Before != nil {
		if old, err = routeTable(before, gw.Before); err != nil {
			return err
		}
	}
	table, err := routeTable(after, gw.After)
	if err != nil {
		return err
	}
	p.add(typeRoute, old, table)
	return nil
}
