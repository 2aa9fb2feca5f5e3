package translate

import (
	"fmt"
	"net"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

const (
	// adminCluster is Breakwater's own HTTP API. The underscore keeps it apart from every
	// service: a service's name is a DNS label.
	adminCluster = "breakwater_admin"
	adminTimeout = 30 * time.Second
)

// GatewayClusters builds the clusters that belong to no service: Breakwater's own API if
// the gateway exposes it, and the collector of traces if it has one.
func GatewayClusters(gw *policy.Gateway) ([]*clusterv3.Cluster, error) {
	var clusters []*clusterv3.Cluster
	if gw.ExposeAdmin != "" {
		c, err := gatewayCluster(adminCluster, gw.ExposeAdmin)
		if err != nil {
			return nil, fmt.Errorf("gateway: expose_admin: %w", err)
		}
		clusters = append(clusters, c)
	}
	if gw.Tracing != nil {
		c, err := collector(gw.Tracing)
		if err != nil {
			return nil, fmt.Errorf("gateway: tracing.collector: %w", err)
		}
		clusters = append(clusters, c)
	}
	return clusters, nil
}

// gatewayCluster builds a cluster of the one host at addr, a host:port.
func gatewayCluster(name, addr string) (*clusterv3.Cluster, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("%s is not a port between 1 and 65535", port)
	}
	c := &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: durationpb.New(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
					Endpoint: &endpointv3.Endpoint{Address: address(host, uint32(n))},
				},
			}}}},
		},
	}
	if isIP(host) {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	} else if c.ClusterDiscoveryType, err = dnsDiscovery(); err != nil {
		return nil, err
	}
	return c, c.ValidateAll()
}

// adminRoutes are the two calls of the original system's API.
func adminRoutes(gw *policy.Gateway) []*routev3.Route {
	if gw.ExposeAdmin == "" {
		return nil
	}
	list := policy.Route{Match: policy.MatchPath, Value: "/api/v1/circuit-breakers"}
	reset := policy.Route{Match: policy.MatchRegex, Value: "/api/v1/circuit-breakers/[^/]+/reset"}
	return []*routev3.Route{adminRoute(gw, list, "GET"), adminRoute(gw, reset, "POST")}
}

func adminRoute(gw *policy.Gateway, r policy.Route, method string) *routev3.Route {
	route := &routev3.Route{
		Match:    match(r, []string{method}),
		Metadata: routeMetadata(map[string]string{metadataKind: kindAdmin}),
		// The caller's Host stays as it is: the API judges it, and the Origin beside it, as on its own port.
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: adminCluster},
			Timeout:          durationpb.New(adminTimeout),
			RetryPolicy:      &routev3.RetryPolicy{}, // none, not the virtual host's
		}},
	}
	if gw.AdminSecret != "" {
		// The caller's address stands beside the proof and not in x-forwarded-for: to that Envoy adds, for a caller
		// on loopback, the address of its own host (measured).
		route.RequestHeadersToAdd = []*corev3.HeaderValueOption{
			setHeader(envoy.GatewayProof, gw.AdminSecret+" %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
		}
	}
	return route
}
