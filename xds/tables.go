package xds

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// table is one composition of the route table.
type table struct {
	*resource
	// units are the services' versions that it consists of.
	units map[string]*unit
	// since is when the table for all was published; zero for a variant, which is not older than that of which it is one.
	since time.Time
}

// tableOf returns the route table that a proxy is to have. The caller must hold p.mu.
func (p *Publisher) tableOf(proxy string) *table {
	if t := p.variants[proxy]; t != nil {
		return t
	}
	return p.table
}

// publishTables publishes the route table for all and, composed for them, those of the proxies that object to something
// in it. Proxies that object to the same have the same. The caller must hold p.mu.
func (p *Publisher) publishTables() {
	if p.composed.of != p.table {
		p.composed = compositions{of: p.table, tables: map[string]*table{}}
	}
	p.variants = map[string]*table{}
	resources := map[string]map[string]*resource{}
	for proxy, swaps := range p.swaps() {
		t, err := p.composed.with(swaps, p.composeTable)
		if err != nil {
			p.log.Error("a proxy's route table cannot be published", "proxy", proxy, "error", err)
			continue
		}
		p.variants[proxy] = t
		resources[proxy] = map[string]*resource{t.name: t.resource}
		p.tables[t.version] = t
	}
	p.cache.vary(typeRoute, []*resource{p.table.resource}, resources)
}

// swaps returns what proxies have in place of the units of the table for all, by proxy and service; nil for nothing.
// A proxy of which it is not known what it has is not among them. The caller must hold p.mu.
func (p *Publisher) swaps() map[string]map[string]*unit {
	swaps := map[string]map[string]*unit{}
	kept := map[string]bool{}
	for key, o := range p.objections {
		without := key.typeURL == typeCluster && o.instead == nil && !o.keep
		if key.typeURL != typeRoute && !without {
			continue
		}
		if o.keep {
			kept[key.proxy] = true
			continue
		}
		mine := swaps[key.proxy]
		if mine == nil {
			mine = map[string]*unit{}
			swaps[key.proxy] = mine
		}
		// Without a cluster there are no routes to it.
		if other, ok := mine[key.service]; !ok || other != nil {
			mine[key.service] = o.instead
		}
	}
	maps.DeleteFunc(swaps, func(proxy string, _ map[string]*unit) bool { return kept[proxy] })
	return swaps
}

// compositions are the variants of one route table that were composed already, by what is swapped in them.
type compositions struct {
	of     *table
	tables map[string]*table
}

// with returns the composition in which units are swapped, by service; nil: left out.
func (c compositions) with(swaps map[string]*unit, compose func(map[string]*unit) (*resource, error)) (*table, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(swaps)) {
		b.WriteString(name)
		if u := swaps[name]; u != nil {
			b.WriteString(" " + u.translated.RoutesVersion)
		}
		b.WriteString("\n")
	}
	key := b.String()
	if t := c.tables[key]; t != nil {
		return t, nil
	}
	units := maps.Clone(c.of.units)
	for name, u := range swaps {
		switch {
		case units[name] == nil: // not in it yet
		case u == nil:
			delete(units, name)
		default:
			units[name] = u
		}
	}
	r, err := compose(units)
	if err != nil {
		return nil, err
	}
	t := &table{resource: r, units: units}
	c.tables[key] = t
	return t, nil
}

// maxTaken bounds the compositions that are remembered for the sake of proxies that have left. Proxies that object to
// the same have the same, so there are few.
const maxTaken = 8

// forgetTables forgets the compositions that no proxy has, was sent or is to have, but for those that proxies took
// with them when they left last. The caller must hold p.mu.
func (p *Publisher) forgetTables(answers []answer) {
	needed := map[string]bool{p.table.version: true}
	for _, t := range p.variants {
		needed[t.version] = true
	}
	for _, a := range answers {
		needed[a.accepted] = true
		for _, version := range a.pending {
			needed[version] = true
		}
	}
	for _, version := range p.ledger.drainTaken() {
		if p.tables[version] != nil {
			p.taken = remember(p.taken, version)
		}
	}
	for _, version := range p.taken {
		needed[version] = true
	}
	maps.DeleteFunc(p.tables, func(version string, _ *table) bool { return !needed[version] })
}

// remember appends a version, and of more than maxTaken leaves out the first.
func remember(taken []string, version string) []string {
	taken = append(slices.DeleteFunc(taken, func(v string) bool { return v == version }), version)
	return taken[max(0, len(taken)-maxTaken):]
}
