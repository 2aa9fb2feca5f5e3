package xds

import (
	"maps"
	"slices"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// publishRoutes composes the route table of the services whose clusters every proxy has, and
// publishes it if it differs. The caller must hold p.mu.
func (p *Publisher) publishRoutes(now time.Time, next *deadline) {
	if p.gateway.policy() == nil {
		return // there is no gateway whose routes they could be
	}
	routed := make(map[string]*unit, len(p.effective))
	waiting := false
	for name, u := range p.effective {
		ready := p.warm(name, u, now, next)
		if f := u.fallback(); ready && f != "" && p.effective[f] != nil {
			ready = p.warm(f, p.effective[f], now, next)
		}
		switch old := p.routed[name]; {
		case ready:
			routed[name] = u
		case old != nil:
			routed[name] = old
			waiting = true
		default:
			waiting = true
		}
	}
	if !waiting {
		clear(p.warming)
	} else {
		// A path may be moving to a service that is not ready yet: until it is, nobody gives
		// a path up.
		for name, old := range p.routed {
			if u := routed[name]; u == nil || u != old && u.lacks(old) {
				routed[name] = old
			}
		}
	}
	changed := p.table == nil || p.gateway.routesChanged || !maps.EqualFunc(routed, p.routed, (*unit).sameRoutes)
	p.routed = routed
	if !changed {
		if p.variantsChanged {
			p.publishTables()
		}
		return
	}
	r, err := routeTable(routed, p.gateway.policy())
	if err != nil {
		p.log.Error("the route table cannot be published", "error", err)
		return
	}
	p.gateway.routesChanged = false
	p.table = &table{resource: r, composition: composition{routed, p.gateway.effective}}
	p.tables[r.version] = p.table
	p.publishTables()
}

// routeTable is the one route table of these units, by service.
func routeTable(of map[string]*unit, gw *policy.Gateway) (*resource, error) {
	units := make([]*translate.Unit, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		units = append(units, of[name].translated)
	}
	return newResource(typeRoute, envoy.GatewayName, translate.RouteTable(units, gw))
}

// warm reports whether routes may refer to the service: it is in the table already, or every proxy
// has accepted its cluster, which Envoy does once it is warm, but for those from which it is withheld; or that takes too long. The
// first table holds nothing back: a proxy that starts takes its clusters first, and an
// incomplete table would answer 404. The caller must hold p.mu.
func (p *Publisher) warm(name string, u *unit, now time.Time, next *deadline) bool {
	if p.table == nil || p.routed[name] != nil {
		return true
	}
	withheld := func(proxy string) bool { return p.withheld[proxy][name] != nil }
	if lack, _ := p.ledger.lacking(typeCluster, u.cluster.name, u.cluster.version, withheld); lack == 0 {
		return true
	}
	since, ok := p.warming[name]
	if !ok {
		since = now
		p.warming[name] = now
	}
	if end := since.Add(warmTimeout); now.Before(end) {
		next.at(end)
		return false
	}
	p.log.Warn("a proxy has not confirmed a new cluster in time: its routes go live without that", "service", name)
	return true
}
