package translate

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/breakwater/breakwater/policy"
)

// Generation says how often a service's cluster, and single hosts of it, were
// reset. The zero value: never.
type Generation struct {
	// Cluster counts the resets of the whole service.
	Cluster uint64
	// Hosts counts the resets of one host, by ip:port. It has no effect on a service
	// with a host that is given by name: Envoy takes such hosts from DNS.
	Hosts map[string]uint64
	// Disabled is true if no host is to be ejected: an operator has disabled the breaker.
	Disabled bool
}

// Unit is all that Envoy is told for the sake of one service.
type Unit struct {
	// Service is the policy's name and the cluster's.
	Service string
	Cluster *clusterv3.Cluster
	// Endpoints is nil if the hosts come from DNS. Its name is the cluster's
	// eds_cluster_config.service_name.
	Endpoints *endpointv3.ClusterLoadAssignment
	// Routes in no particular order: RouteTable sorts.
	Routes []Route
	// Limits are those of the service's limits that differ from what every cluster
	// is built with; zero if none does.
	Limits ClusterLimits
	// RoutesVersion is a hash over Routes: they have no resource of their own, whose bytes
	// would tell whether they differ.
	RoutesVersion string
}

// Service translates one service's policy. An error names the service and the part
// of it that is not valid; there is no unit then.
func Service(s *policy.Service, gen Generation) (*Unit, error) {
	u := &Unit{Service: s.Name, Limits: clusterLimits(s)}
	var err error
	if u.Cluster, err = cluster(s, gen); err != nil {
		return nil, fmt.Errorf("service %s: %w", s.Name, err)
	}
	if s.Upstream.ByAddress() {
		if u.Endpoints, err = endpoints(s, gen, u.Cluster.GetEdsClusterConfig().GetServiceName()); err != nil {
			return nil, fmt.Errorf("service %s: upstream: %w", s.Name, err)
		}
	}
	if u.Routes, err = routes(s); err != nil {
		return nil, fmt.Errorf("service %s: %w", s.Name, err)
	}
	if u.RoutesVersion, err = routesVersion(u.Routes); err != nil {
		return nil, fmt.Errorf("service %s: %w", s.Name, err)
	}
	return u, nil
}

// routesVersion is a hash over routes and their hosts.
func routesVersion(routes []Route) (string, error) {
	var parts [][]byte
	for _, r := range routes {
		b, err := Marshal(r.Route)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Appendf(nil, "%q", r.Hosts), b)
	}
	return hashOf(parts...), nil
}
