package xds

import (
	"maps"
	"slices"
	"time"
)

// gatewayName stands for the gateway's own part of a route table among the names of services, none of which is empty.
const gatewayName = ""

// trial finds out on one proxy what it rejects of a route table. The proxy is sent tables that differ from the one it
// has in some of the services that changed: first in all but the second half, then in the second half, and so on with
// the half that it rejects. Nobody else sees that.
type trial struct {
	proxy string
	// since is that of the proxy's connection.
	since time.Time
	// rejected is the proxy's rejection of the table.
	rejected rejection
	table    *table
	base     composition
	// changed are the services in which the table differs from base, in ascending order.
	changed []string
	// queue are the sets of services that are still to be tried. The first is being tried, with the table sent.
	queue [][]string
	sent  *table
	ends  time.Time
	// failed are the services that were rejected alone, with the proxy's reasons.
	failed map[string]rejection
	// last is true for the last table, which has all that was not rejected alone.
	last bool
}

// composition is what a route table consists of.
type composition struct {
	units   map[string]*unit
	gateway *gatewayUnit
}

// judgeTable is judge for the route tables, in which all services' routes stand together. The caller must hold p.mu.
func (p *Publisher) judgeTable(now time.Time, next *deadline) {
	if p.table == nil {
		return
	}
	answers := p.ledger.answers(typeRoute, p.table.name)
	rejects := func(a answer) bool {
		version := p.tableOf(a.proxy).version
		return a.rejected.version == version && p.tried[a.proxy] != version
	}
	if i := slices.IndexFunc(answers, rejects); p.trial == nil && i >= 0 {
		p.try(answers[i], p.tableOf(answers[i].proxy), now)
	}
	for p.trial != nil && p.proceed(answers, now, next) {
	}
	p.forgetTables(answers)
}

// try begins a trial of a table that a proxy has rejected. The caller must hold p.mu.
func (p *Publisher) try(a answer, rejected *table, now time.Time) {
	t := &trial{proxy: a.proxy, since: a.since, rejected: a.rejected, table: rejected, failed: map[string]rejection{}}
	// Of a table from an earlier connection it is not known what it consists of: most likely what all had accepted.
	bases := []composition{{p.current, p.gateway.current}, {}}
	if base := p.tables[a.accepted]; base != nil {
		bases = []composition{base.composition}
	} else if a.accepted == "" {
		bases = bases[1:]
	}
	for _, t.base = range bases {
		if t.differ(); len(t.changed) > 0 {
			break
		}
	}
	switch len(t.changed) {
	case 0:
		p.tried[a.proxy] = rejected.version
	case 1:
		p.convict(t, map[string]rejection{t.changed[0]: t.rejected})
	default:
		p.trial = t
		t.queue = halves(t.changed)
		p.ask(now)
	}
}

// differ finds in which services the table differs from base.
func (t *trial) differ() {
	if t.base.gateway == nil {
		t.base.gateway = t.table.gateway
	}
	t.base.units = maps.Clone(t.base.units)
	t.changed = nil
	for _, name := range slices.Sorted(maps.Keys(t.table.units)) {
		if last := t.base.units[name]; last == nil || !last.sameRoutes(t.table.units[name]) {
			t.changed = append(t.changed, name)
		}
	}
	if !t.table.gateway.sameRoutes(t.base.gateway) {
		t.changed = append(t.changed, gatewayName)
	}
}

func halves(names []string) [][]string {
	return [][]string{names[:len(names)/2], names[len(names)/2:]}
}

// ask sends the proxy on trial the next table. The caller must hold p.mu.
func (p *Publisher) ask(now time.Time) {
	t := p.trial
	c := composition{maps.Clone(t.base.units), t.base.gateway}
	if c.units == nil {
		c.units = map[string]*unit{}
	}
	for _, name := range t.queue[0] {
		if name == gatewayName {
			c.gateway = t.table.gateway
		} else {
			c.units[name] = t.table.units[name]
		}
	}
	r, err := routeTable(c.units, c.gateway.policy)
	if err != nil {
		p.log.Error("cannot compose a route table", "error", err)
		p.trial = nil
		return
	}
	t.sent, t.ends = &table{resource: r, composition: c}, now.Add(answerTimeout)
	p.variantsChanged = true
}

// proceed takes the proxy's answer to the table on trial, and reports whether another one is to be looked at. The trial ends
// if the proxy has left. If it does not answer, all candidates that changed are held back. The caller must hold p.mu.
func (p *Publisher) proceed(answers []answer, now time.Time, next *deadline) bool {
	t := p.trial
	i := slices.IndexFunc(answers, func(a answer) bool { return a.proxy == t.proxy && a.since.Equal(t.since) })
	switch {
	case i < 0:
		p.trial, p.variantsChanged = nil, true
		return false
	case answers[i].accepted == t.sent.version:
		t.queue = t.queue[1:]
		if t.last {
			p.convict(t, t.failed)
			return false
		}
	case answers[i].rejected.version == t.sent.version && t.last:
		p.convict(t, t.all())
		return false
	case answers[i].rejected.version == t.sent.version:
		tried := t.queue[0]
		t.queue = t.queue[1:]
		if len(tried) == 1 {
			t.failed[tried[0]] = answers[i].rejected
		} else {
			t.queue = append(halves(tried), t.queue...)
		}
	case now.Before(t.ends):
		next.at(t.ends)
		return false
	default:
		candidates := t.all()
		maps.DeleteFunc(candidates, func(name string, _ rejection) bool { return t.table.units[name].samePolicy(p.current[name]) })
		p.convict(t, candidates)
		return false
	}
	if len(t.queue) == 0 {
		rest := slices.DeleteFunc(slices.Clone(t.changed), func(name string) bool { _, failed := t.failed[name]; return failed })
		switch len(t.failed) {
		case 0: // nothing is rejected alone: the save is held back as a whole
			p.convict(t, t.all())
			return false
		case len(t.changed):
			p.convict(t, t.failed)
			return false
		}
		t.queue, t.last = [][]string{rest}, true
	}
	p.ask(now)
	return p.trial != nil
}

// all are all services that changed, with the proxy's first reason.
func (t *trial) all() map[string]rejection {
	all := map[string]rejection{}
	for _, name := range t.changed {
		all[name] = t.rejected
	}
	return all
}

// convict ends a trial with the services that are rejected. The caller must hold p.mu.
func (p *Publisher) convict(t *trial, failed map[string]rejection) {
	p.trial, p.variantsChanged = nil, true
	p.wake() // others may have rejected it too
	found := false
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		why := failed[name]
		r := Rejection{
			Type: typeName(typeRoute), TypeURL: typeRoute, Resource: p.table.name, Version: why.version,
			Proxies: []string{t.proxy}, Text: why.text, Since: why.at,
		}
		if name == gatewayName {
			found = p.rejectGateway(r) || found
		} else {
			found = p.reject(t.table.units[name], r) || found
		}
	}
	if !found {
		p.tried[t.proxy] = t.table.version
	}
}
