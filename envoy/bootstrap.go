package envoy

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// DefaultNodeCluster is the node cluster of a proxy that names none.
	DefaultNodeCluster = "breakwater"

	// reconnectBase and reconnectMax bound Envoy's jittered back-off between two
	// streams to the control plane. Its own default grows to 30 s, so a control
	// plane that was away for a minute would stay unseen for half of one.
	reconnectBase = 100 * time.Millisecond
	reconnectMax  = time.Second

	// xdsKeepaliveInterval and xdsKeepaliveTimeout find a control plane whose host
	// vanished without closing the connection.
	xdsKeepaliveInterval = 10 * time.Second
	xdsKeepaliveTimeout  = 5 * time.Second

	// rtdsFetchTimeout bounds the wait for each runtime layer at start. A layer that
	// is late does not keep the proxy from serving.
	rtdsFetchTimeout = 5 * time.Second

	// xdsLimit replaces the default limits of 1024 for the control plane's cluster,
	// which must never refuse.
	xdsLimit = 1 << 20

	// staticLayer is the name of the runtime layer below all others.
	staticLayer = "breakwater-static"

	// maxProgramSizeKey is Envoy's runtime key of maxProgramSize.
	maxProgramSizeKey = "re2.max_program_size.error_level"
	// maxProgramSize is the largest program of a regular expression that Envoy accepts; its own default is 100. Measured
	// with Envoy 1.40: an expression of the policy schema's 4,096 characters stays below 22,000 unless it repeats by
	// counts ({1,1000}), and RE2 itself compiles no program above about 87,000.
	maxProgramSize = 32768

	maxNodeName = 253
)

// adminPaths are the paths of the admin API that Breakwater and its operators
// need: reading, and /logging. Envoy refuses all others, /quitquitquit,
// /drain_listeners and /runtime_modify among them. An exact entry does not match a
// path with a query, and the prefix /runtime would match /runtime_modify.
var adminPaths = struct{ exact, prefix []string }{
	exact: []string{"/runtime"},
	prefix: []string{
		"/certs", "/clusters", "/config_dump", "/help", "/init_dump", "/listeners", "/logging",
		"/memory", "/ready", "/runtime?", "/server_info", "/stats",
	},
}

// BootstrapConfig is what differs between the bootstraps of two proxies.
type BootstrapConfig struct {
	// NodeID names the proxy, and is part of the names of its runtime layers. It is
	// required, has at most 253 bytes and neither a slash nor control characters.
	NodeID string
	// NodeCluster is the group of proxies that it belongs to; empty means
	// DefaultNodeCluster.
	NodeCluster string
	// XDSAddr is the host:port of Breakwater's xDS server, as the proxy reaches it.
	XDSAddr string
	// AdminAddr is the ip:port of the proxy's admin API. With port 0 Envoy chooses
	// one, and Breakwater can not ask this proxy.
	AdminAddr string
}

// Build returns the bootstrap: everything else comes from the control plane over
// one delta ADS stream.
func (c BootstrapConfig) Build() (*bootstrapv3.Bootstrap, error) {
	if err := checkNodeID(c.NodeID); err != nil {
		return nil, err
	}
	cluster := c.NodeCluster
	if cluster == "" {
		cluster = DefaultNodeCluster
	}
	if err := CheckNodeName("cluster", cluster); err != nil {
		return nil, err
	}
	xdsHost, xdsPort, err := splitHostPort("xDS address", c.XDSAddr)
	if err != nil {
		return nil, err
	}
	if xdsPort == 0 {
		return nil, fmt.Errorf("xDS address %q: the port must not be 0", c.XDSAddr)
	}
	adminHost, adminPort, err := splitHostPort("admin address", c.AdminAddr)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(adminHost); err != nil {
		return nil, fmt.Errorf("admin address %q: the host must be an IP address, for Envoy does not resolve it", c.AdminAddr)
	}

	xds, err := xdsCluster(xdsHost, xdsPort)
	if err != nil {
		return nil, err
	}
	b := &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: c.NodeID, Cluster: cluster, Metadata: nodeMetadata(adminPort)},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters: []*clusterv3.Cluster{xds},
		},
		DynamicResources: dynamicResources(),
		LayeredRuntime:   layeredRuntime(c.NodeID),
		StatsConfig:      statsConfig(),
		ClusterManager:   &bootstrapv3.ClusterManager{LoadStatsConfig: xdsSource(corev3.ApiConfigSource_GRPC)},
		Admin:            admin(adminHost, adminPort),
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("bootstrap of %s: %w", c.NodeID, err)
	}
	return b, nil
}

func checkNodeID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("node id: must not be empty")
	case strings.Contains(id, "/"):
		return fmt.Errorf("node id %q: must not contain a slash", id)
	}
	return CheckNodeName("id", id)
}

// CheckNodeName returns an error if an id or a cluster of a node has more than 253 bytes, or characters that are not
// printable. what is "id" or "cluster".
func CheckNodeName(what, name string) error {
	switch {
	case len(name) > maxNodeName:
		return fmt.Errorf("node %s: must have at most %d bytes, not %d", what, maxNodeName, len(name))
	case !printable(name):
		return fmt.Errorf("node %s %q: must have printable characters only", what, name)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// splitHostPort splits a host:port of which both parts are required.
func splitHostPort(what, addr string) (string, uint32, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil || host == "" || !printable(host) || strings.ContainsAny(host, " /%") {
		return "", 0, fmt.Errorf("%s %q: must be host:port", what, addr)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%s %q: the port must be a number from 0 to 65535", what, addr)
	}
	return host, uint32(port), nil
}

func nodeMetadata(adminPort uint32) *structpb.Struct {
	fields := map[string]*structpb.Value{}
	if adminPort != 0 {
		fields[MetadataAdminPort] = structpb.NewNumberValue(float64(adminPort))
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		MetadataKey: structpb.NewStructValue(&structpb.Struct{Fields: fields}),
	}}
}

func admin(host string, port uint32) *bootstrapv3.Admin {
	a := &bootstrapv3.Admin{Address: socketAddress(host, port)}
	for _, path := range adminPaths.exact {
		a.AllowPaths = append(a.AllowPaths, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: path},
		})
	}
	for _, path := range adminPaths.prefix {
		a.AllowPaths = append(a.AllowPaths, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: path},
		})
	}
	return a
}

func dynamicResources() *bootstrapv3.Bootstrap_DynamicResources {
	return &bootstrapv3.Bootstrap_DynamicResources{
		AdsConfig: xdsSource(corev3.ApiConfigSource_DELTA_GRPC),
		// Without a bound: a proxy that never heard of a cluster or a listener is not
		// ready, whatever /ready would say after 15 s.
		CdsConfig: adsSource(0),
		LdsConfig: adsSource(0),
	}
}

// xdsSource is one stream to the control plane.
func xdsSource(api corev3.ApiConfigSource_ApiType) *corev3.ApiConfigSource {
	return &corev3.ApiConfigSource{
		ApiType:                   api,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: XDSCluster,
				RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
					BaseInterval: durationpb.New(reconnectBase),
					MaxInterval:  durationpb.New(reconnectMax),
				}},
			}},
		}},
	}
}

// layeredRuntime orders the layers: a later one overrides an earlier one, so what
// an operator forces wins over what a breaker concludes, and both over a limit. The
// static layer comes first.
func layeredRuntime(nodeID string) *bootstrapv3.LayeredRuntime {
	rtds := func(name string) *bootstrapv3.RuntimeLayer {
		return &bootstrapv3.RuntimeLayer{
			Name: name,
			LayerSpecifier: &bootstrapv3.RuntimeLayer_RtdsLayer_{RtdsLayer: &bootstrapv3.RuntimeLayer_RtdsLayer{
				Name:       name,
				RtdsConfig: adsSource(rtdsFetchTimeout),
			}},
		}
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{
			Name: staticLayer,
			LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{
				StaticLayer: &structpb.Struct{Fields: map[string]*structpb.Value{
					maxProgramSizeKey: structpb.NewNumberValue(maxProgramSize),
				}},
			},
		},
		rtds(LimitsLayer),
		rtds(BreakerLayer(nodeID)),
		rtds(OperatorLayer(nodeID)),
		{
			Name: "admin",
			LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{
				AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{},
			},
		},
	}}
}

// adsSource is a resource type that comes over the ADS stream. Envoy waits for it
// for at most initialFetchTimeout at start; 0 is without a bound.
func adsSource(initialFetchTimeout time.Duration) *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(initialFetchTimeout),
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

func xdsCluster(host string, port uint32) (*clusterv3.Cluster, error) {
	protocol, err := anypb.New(http2WithKeepalive())
	if err != nil {
		return nil, err
	}
	c := &clusterv3.Cluster{
		Name:                 XDSCluster,
		ConnectTimeout:       durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: XDSCluster,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{
				LbEndpoints: []*endpointv3.LbEndpoint{{
					HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
						Address: socketAddress(host, port),
					}},
				}},
			}},
		},
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections:     wrapperspb.UInt32(xdsLimit),
			MaxPendingRequests: wrapperspb.UInt32(xdsLimit),
			MaxRequests:        wrapperspb.UInt32(xdsLimit),
			MaxRetries:         wrapperspb.UInt32(xdsLimit),
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol,
		},
	}
	if _, err := netip.ParseAddr(host); err != nil {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
		// The default waits for an AAAA answer before it asks for an A record.
		c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
		// The name of a container that is not up yet does not resolve.
		c.DnsFailureRefreshRate = &clusterv3.Cluster_RefreshRate{
			BaseInterval: durationpb.New(reconnectBase),
			MaxInterval:  durationpb.New(reconnectMax),
		}
	}
	return c, nil
}

func http2WithKeepalive() *upstreamhttpv3.HttpProtocolOptions {
	return &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
						ConnectionKeepalive: &corev3.KeepaliveSettings{
							Interval: durationpb.New(xdsKeepaliveInterval),
							Timeout:  durationpb.New(xdsKeepaliveTimeout),
						},
					},
				},
			},
		},
	}
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
