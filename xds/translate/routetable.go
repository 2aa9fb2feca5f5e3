package translate

import (
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// maxBody bounds the body of a static fallback, in bytes, above what a policy allows.
// With its default of 4 KiB Envoy rejects the whole table for one larger body.
const maxBody = 1 << 20

// everyHost is the domain of the virtual host for all hosts that no route names.
const everyHost = "*"

// RouteTable builds the one route table of the gateway: a virtual host for each host
// that a route names, and one for all others. It does not change the units.
func RouteTable(units []*Unit, gw *policy.Gateway) *routev3.RouteConfiguration {
	byHost := map[string][]Route{}
	for _, u := range units {
		for _, r := range u.Routes {
			for _, h := range hostsOf(r) {
				byHost[h] = append(byHost[h], r)
			}
		}
	}
	admin := adminRoutes(gw)
	if len(admin) > 0 && byHost[everyHost] == nil {
		byHost[everyHost] = []Route{}
	}
	table := &routev3.RouteConfiguration{
		Name: envoy.GatewayName,
		// A caller may name the port, "shop.example:8080", and means the same host.
		IgnorePortInHostMatching:       true,
		MaxDirectResponseBodySizeBytes: u32(maxBody),
		// Callers take them for this gateway's word, and repeat a POST by what they say, so that
		// no service may say them, nor a gateway behind this one. What routes and local replies
		// set comes after.
		ResponseHeadersToRemove:         slices.Clone(markHeaders),
		MostSpecificHeaderMutationsWins: true,
	}
	for _, host := range sortedKeys(byHost) {
		vh := &routev3.VirtualHost{
			Name:    host,
			Domains: []string{host},
			// Upstreams see x-envoy-attempt-count, whatever the client sent by that name.
			IncludeRequestAttemptCount: true,
		}
		if host == everyHost {
			vh.Routes = append(vh.Routes, admin...)
		}
		routes := byHost[host]
		slices.SortFunc(routes, func(a, b Route) int { return a.rank.compare(b.rank) })
		shared, policy := commonRetry(routes)
		vh.RetryPolicy = policy
		for _, r := range routes {
			if policy != nil && r.retry == shared {
				vh.Routes = append(vh.Routes, r.bare)
			} else {
				vh.Routes = append(vh.Routes, r.Route)
			}
		}
		table.VirtualHosts = append(table.VirtualHosts, vh)
	}
	return table
}

// hostsOf gives the domains of a route, each once: Envoy compares hosts without
// regard to case, and rejects a table that names one twice.
func hostsOf(r Route) []string {
	if len(r.Hosts) == 0 {
		return []string{everyHost}
	}
	hosts := make([]string, 0, len(r.Hosts))
	for _, h := range r.Hosts {
		h = strings.ToLower(h)
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
