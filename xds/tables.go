package xds

import (
	"maps"
	"slices"
	"strings"
)

// table is one composition of the route table.
type table struct {
	*resource
	composition
}

// tableOf returns the route table that a proxy is to have. The caller must hold p.mu.
func (p *Publisher) tableOf(proxy string) *table {
	if t := p.variants[proxy]; t != nil {
		return t
	}
	return p.table
}

// publishTables publishes the route table for all, those of the proxies that something is withheld from, and the one on
// trial. Proxies from which the same is withheld have the same. The caller must hold p.mu.
func (p *Publisher) publishTables() {
	if p.composed.of != p.table {
		p.composed = compositions{of: p.table, tables: map[string]*table{}}
	}
	p.variants = map[string]*table{}
	for proxy, services := range p.withheld {
		t, err := p.composed.without(slices.Sorted(maps.Keys(services)))
		if err != nil {
			p.log.Error("cannot publish the route table of a proxy", "proxy", proxy, "error", err)
			continue
		}
		p.variants[proxy] = t
	}
	if t := p.trial; t != nil {
		p.variants[t.proxy] = t.sent
	}
	resources := map[string]map[string]*resource{}
	for proxy, t := range p.variants {
		resources[proxy] = map[string]*resource{t.name: t.resource}
		p.tables[t.version] = t
	}
	p.cache.vary(typeRoute, []*resource{p.table.resource}, resources)
}

// compositions are the variants of one route table that were composed already, by the services that they are without.
type compositions struct {
	of     *table
	tables map[string]*table
}

// without returns the composition without some services.
func (c compositions) without(services []string) (*table, error) {
	key := strings.Join(services, "\n")
	if t := c.tables[key]; t != nil {
		return t, nil
	}
	units := maps.Clone(c.of.units)
	for _, name := range services {
		delete(units, name)
	}
	r, err := routeTable(units, c.of.gateway.policy)
	if err != nil {
		return nil, err
	}
	t := &table{resource: r, composition: composition{units, c.of.gateway}}
	c.tables[key] = t
	return t, nil
}

// forgetTables forgets the compositions that no proxy has, was sent or is to have, and what was tried of tables that are
// rejected no longer. The caller must hold p.mu.
func (p *Publisher) forgetTables(answers []answer) {
	needed := map[string]bool{p.table.version: true}
	for _, t := range p.variants {
		needed[t.version] = true
	}
	for proxy, version := range p.tried {
		if !slices.ContainsFunc(answers, func(a answer) bool { return a.proxy == proxy && a.rejected.version == version }) {
			delete(p.tried, proxy)
		}
	}
	for _, a := range answers {
		needed[a.accepted] = true
		for _, version := range a.pending {
			needed[version] = true
		}
	}
	maps.DeleteFunc(p.tables, func(version string, _ *table) bool { return !needed[version] })
}
