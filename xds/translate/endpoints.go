package translate

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/breakwater/breakwater/policy"
)

// endpoints builds the hosts of a service that are all IP addresses.
func endpoints(s *policy.Service, gen Generation, name string) (*endpointv3.ClusterLoadAssignment, error) {
	a := assignment(s, gen, name)
	if err := a.ValidateAll(); err != nil {
		return nil, err
	}
	return a, nil
}

func assignment(s *policy.Service, gen Generation, name string) *endpointv3.ClusterLoadAssignment {
	hosts := make([]*endpointv3.LbEndpoint, 0, len(s.Upstream.Hosts))
	for _, h := range s.Upstream.Hosts {
		e := &endpointv3.Endpoint{Address: address(h.Name, uint32(h.Port))}
		hostPort := h.Address()
		// A changed hostname makes Envoy create that one host anew, its ejection cleared
		// (ENVOY-FACTS). Nothing else may depend on it: health checks and requests get
		// their Host header from the cluster and the route.
		if n := gen.Hosts[hostPort]; n > 0 {
			e.Hostname = hostPort + "#" + strconv.FormatUint(n, 10)
		}
		hosts = append(hosts, &endpointv3.LbEndpoint{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: e},
		})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: name,
		Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: hosts}},
	}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
