package envoy

// Names that the bootstrap and the control plane have to agree on.
const (
	// XDSCluster is the static cluster through which Envoy reaches Breakwater. The
	// underscore keeps it apart from every service, whose name is a DNS label: Envoy
	// ignores a cluster of CDS that has the name of a static one, so that such a
	// service's requests would go to the control plane.
	XDSCluster = "breakwater_xds"
	// GatewayName is the name of the listener and of its route table.
	GatewayName = "gateway"
	// MetadataKey is the key of Breakwater's struct in the node's metadata, and the
	// namespace of its metadata on clusters and routes.
	MetadataKey = "breakwater"
	// MetadataAdminPort is the field of that struct with the port of the proxy's admin
	// API. Its host is the address from which the proxy reached Breakwater: a node can
	// not name another.
	MetadataAdminPort = "admin_port"
	// LimitsLayer is the RTDS layer of the services' limits, the same for all proxies.
	LimitsLayer = "breakwater-limits"
	// GatewayProof is the request header in which the gateway's listener proves to Breakwater's HTTP API that a
	// request came through it: a secret, a space and the caller's address. What a client sends by that name is
	// overwritten there.
	GatewayProof = "x-breakwater-gateway"
)

// OperatorLayer is the name of the RTDS layer of one proxy's operator states.
func OperatorLayer(nodeID string) string { return "breakwater-operator/" + nodeID }

// BreakerLayer is the name of the RTDS layer of one proxy's breaker states.
func BreakerLayer(nodeID string) string { return "breakwater-breaker/" + nodeID }
