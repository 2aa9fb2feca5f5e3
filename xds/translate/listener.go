package translate

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// connectionBuffer bounds what Envoy buffers of one connection, in bytes. It is also
// the largest request body that can be sent again in a retry. Envoy's default,
// explicit because of the latter.
const connectionBuffer = 1 << 20

// Listeners builds the gateway's one listener. It depends on the gateway alone: no
// edit of a service's policy touches it, for a changed listener drains its connections.
func Listeners(gw *policy.Gateway) ([]*listenerv3.Listener, error) {
	addr, err := listenAddress(gw.Host)
	if err != nil {
		return nil, fmt.Errorf("gateway: host: %w", err)
	}
	manager, err := connectionManager(gw)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	config, err := pack(manager)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	l := &listenerv3.Listener{
		Name:                          envoy.GatewayName,
		Address:                       address(addr.String(), uint32(gw.Port)),
		PerConnectionBufferLimitBytes: u32(connectionBuffer),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{
				Name:       "envoy.filters.network.http_connection_manager",
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: config},
			}},
		}},
	}
	if addr == netip.IPv6Unspecified() {
		// Where "::" is asked for, IPv4 is meant as well.
		l.GetAddress().GetSocketAddress().Ipv4Compat = true
	}
	if err := l.ValidateAll(); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	return []*listenerv3.Listener{l}, nil
}

// listenAddress takes an address to listen on. Envoy resolves no names for listeners.
func listenAddress(host string) (netip.Addr, error) {
	if host == "localhost" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address to listen on", host)
	}
	return addr, nil
}

// ads asks for a resource over the one stream that the bootstrap has opened.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}
