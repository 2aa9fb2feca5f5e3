package xds

import (
	"net"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/breakwater/breakwater/envoy"
)

// adminAddress is where the proxy's admin API is. One that is known goes for the node that names its port: another may have
// been given the same id.
func (s *Server) adminAddress(peerAddr string, node *corev3.Node) string {
	address := adminAddress(peerAddr, node)
	known := s.admins[node.GetId()]
	if _, port, err := net.SplitHostPort(known); err == nil && strings.HasSuffix(address, ":"+port) {
		return known
	}
	return address
}

// adminAddress is the peer's host with the port from the node's metadata: a node can say
// where on its own host the admin API is, and never name another host.
func adminAddress(peerAddr string, node *corev3.Node) string {
	port := node.GetMetadata().GetFields()[envoy.MetadataKey].GetStructValue().GetFields()[envoy.MetadataAdminPort].GetNumberValue()
	if port < 1 || port > 65535 || port != float64(int(port)) {
		return ""
	}
	host, _, err := net.SplitHostPort(peerAddr)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
