package translate

import (
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnscommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

const (
	httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	dnsCluster          = "envoy.cluster.dns"

	// metadataGeneration is the field of a cluster's metadata that a reset raises.
	metadataGeneration = "generation"

	// dnsRefresh is how soon a changed address is noticed; dnsRetry how soon a failed
	// look-up is tried again, doubling up to dnsRefresh.
	dnsRefresh = 5 * time.Second
	dnsRetry   = 500 * time.Millisecond
)

// cluster builds the service's cluster. What is in it beside the policy's values must
// stay constant: a difference replaces the cluster in Envoy, and every ejected host
// is let in again (ENVOY-FACTS, "Clearing an ejection").
func cluster(s *policy.Service, gen Generation) (*clusterv3.Cluster, error) {
	c := clusterDefaults(s)
	c.OutlierDetection = outlierDetection(s, gen.Disabled)
	c.CircuitBreakers = circuitBreakers()
	c.HealthChecks = healthChecks(s)
	var err error
	if c.TypedExtensionProtocolOptions, err = protocolOptions(s); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if c.TransportSocket, err = transportSocket(s); err != nil {
		return nil, fmt.Errorf("upstream.tls: %w", err)
	}
	// A service that was never reset has no generation at all: the bytes of a cluster
	// do not depend on whether Breakwater remembers it.
	if gen.Cluster > 0 {
		c.Metadata = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			envoy.MetadataKey: {Fields: map[string]*structpb.Value{
				metadataGeneration: structpb.NewNumberValue(float64(gen.Cluster)),
			}},
		}}
	}
	if err := discovery(c, s); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if err := c.ValidateAll(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return c, nil
}

func clusterDefaults(s *policy.Service) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:           s.Name,
		ConnectTimeout: durationpb.New(s.Timeout.Connect),
		LbPolicy:       clusterv3.Cluster_ROUND_ROBIN,
		// A host that the policy or DNS no longer names goes at once. Otherwise one that
		// passes its health check is kept until it fails.
		IgnoreHealthOnHostRemoval: true,
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// With the default of 50 % Envoy goes on sending to ejected hosts as soon as more
			// than half are out: the breaker of a small pool would never open (measured).
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
			// The default of 1 s holds back every ejection after the first within that second:
			// 20 of 20 requests reached two dead hosts, against 10 with 0 (measured).
			UpdateMergeWindow: durationpb.New(0),
		},
	}
}

// discovery says where the hosts come from: EDS if every host is an IP address, so
// that one host can be reset alone, DNS otherwise. It is the last to look at the
// cluster, for the name of the endpoints depends on all the rest.
func discovery(c *clusterv3.Cluster, s *policy.Service) error {
	if s.Upstream.ByAddress() {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads()}
		// Envoy does not subscribe again to the endpoints of an EDS cluster that changes:
		// it warms for the 15 s of the initial fetch timeout. With a new name in the same
		// change it took 5 ms (measured), so the name carries a hash of the rest.
		c.EdsClusterConfig.ServiceName = s.Name + "#" + Hash(c)
		return nil
	}
	var err error
	if c.ClusterDiscoveryType, err = dnsDiscovery(); err != nil {
		return err
	}
	c.LoadAssignment = assignment(s, Generation{}, s.Name)
	return nil
}

// dnsDiscovery takes every address of a name as a host. Cluster.type STRICT_DNS needs
// dns_* fields that Envoy has deprecated; this is the same implementation.
func dnsDiscovery() (*clusterv3.Cluster_ClusterType, error) {
	dns, err := pack(&dnsv3.DnsCluster{
		DnsRefreshRate: durationpb.New(dnsRefresh),
		DnsFailureRefreshRate: &dnsv3.DnsCluster_RefreshRate{
			BaseInterval: durationpb.New(dnsRetry),
			MaxInterval:  durationpb.New(dnsRefresh),
		},
		// Envoy's default takes IPv6 alone where a name has both: "localhost" would be ::1,
		// where few servers listen.
		DnsLookupFamily: dnscommonv3.DnsLookupFamily_V4_PREFERRED,
	})
	if err != nil {
		return nil, err
	}
	return &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
		Name: dnsCluster, TypedConfig: dns,
	}}, nil
}

// protocolOptions chooses HTTP/1.1 or HTTP/2 and says which replies are failures.
func protocolOptions(s *policy.Service) (map[string]*anypb.Any, error) {
	o := &httpv3.HttpProtocolOptions{}
	explicit := &httpv3.HttpProtocolOptions_ExplicitHttpConfig{}
	if s.Upstream.Scheme.HTTP2() {
		explicit.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
		}
	} else {
		explicit.ProtocolConfig = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		}
	}
	o.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit}
	if m := errorMatcher(s.Breaker.Errors); m != nil {
		o.OutlierDetection = &httpv3.HttpProtocolOptions_OutlierDetection{ErrorMatcher: m}
	}
	packed, err := pack(o)
	if err != nil {
		return nil, err
	}
	return map[string]*anypb.Any{httpProtocolOptions: packed}, nil
}
