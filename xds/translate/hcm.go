package translate

import (
	"fmt"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

const (
	headerRequestID     = "x-request-id"
	headerCorrelationID = "x-correlation-id"

	// The values of Envoy's "Configuring Envoy as an edge proxy", for clients that are
	// not trusted.
	requestHeadersTimeout = 10 * time.Second
	downstreamIdle        = 15 * time.Minute
	http2Streams          = 100
	http2StreamWindow     = 64 << 10
	http2ConnectionWindow = 1 << 20

	// streamIdle applies until a route is chosen; each route has its own afterwards.
	streamIdle = 5 * time.Minute
)

// connectionManager builds the HTTP side of the listener. Clients are not trusted.
func connectionManager(gw *policy.Gateway) (*hcmv3.HttpConnectionManager, error) {
	m := connectionManagerDefaults()
	if gw.MaxHeadersKB > 0 {
		m.MaxRequestHeadersKb = u32(gw.MaxHeadersKB)
	}
	if gw.MaxHeaders > 0 {
		m.CommonHttpProtocolOptions.MaxHeadersCount = u32(gw.MaxHeaders)
	}
	var err error
	if m.HttpFilters, err = httpFilters(); err != nil {
		return nil, err
	}
	if m.AccessLog, err = accessLog(gw); err != nil {
		return nil, fmt.Errorf("access_log: %w", err)
	}
	metrics, err := metricsLog()
	if err != nil {
		return nil, err
	}
	m.AccessLog = append(m.AccessLog, metrics)
	if m.LocalReplyConfig, err = localReplies(); err != nil {
		return nil, err
	}
	if m.RequestIdExtension, err = requestID(gw.Tracing != nil); err != nil {
		return nil, err
	}
	if gw.Tracing != nil {
		if m.Tracing, err = tracing(gw.Tracing); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
	}
	return m, nil
}

func connectionManagerDefaults() *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: envoy.GatewayName,
		CodecType:  hcmv3.HttpConnectionManager_AUTO,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource:    ads(),
			RouteConfigName: envoy.GatewayName,
		}},
		// The peer's address is the client's, and no address is internal: a client's own
		// x-envoy-* headers (retries, timeouts) are taken off and have no power. An empty
		// list would still take loopback and private networks for internal (measured), so
		// it has the one address from which no client comes.
		UseRemoteAddress: boolValue(true),
		InternalAddressConfig: &hcmv3.HttpConnectionManager_InternalAddressConfig{
			CidrRanges: []*corev3.CidrRange{{AddressPrefix: "0.0.0.0", PrefixLen: u32(32)}},
		},
		// "/a/../b" and "//b" are matched as the "/b" that the service would serve.
		NormalizePath:                boolValue(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout: durationpb.New(downstreamIdle),
			// Many servers take a_b and a-b for the same header, so that one could pose as the
			// other. As nginx does, it is left out.
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_DROP_HEADER,
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        u32(http2Streams),
			InitialStreamWindowSize:     u32(http2StreamWindow),
			InitialConnectionWindowSize: u32(http2ConnectionWindow),
		},
		RequestHeadersTimeout: durationpb.New(requestHeadersTimeout),
		StreamIdleTimeout:     durationpb.New(streamIdle),
		// The client's x-request-id is kept, and every response says it.
		PreserveExternalRequestId:    true,
		AlwaysSetRequestIdInResponse: true,
		ServerHeaderTransformation:   hcmv3.HttpConnectionManager_PASS_THROUGH,
		UpgradeConfigs:               []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
	}
}

// requestID leaves a client's id as it is. By default Envoy writes the reason for
// tracing into one digit of it.
func requestID(traced bool) (*hcmv3.RequestIDExtension, error) {
	uuid := &uuidv3.UuidRequestIdConfig{PackTraceReason: boolValue(false)}
	if traced {
		// A client's id need not be a UUID, and by default Envoy traces no request whose id is
		// none. The sampler decides instead.
		uuid.UseRequestIdForTraceSampling = boolValue(false)
	}
	config, err := pack(uuid)
	if err != nil {
		return nil, err
	}
	return &hcmv3.RequestIDExtension{TypedConfig: config}, nil
}

// httpFilters are those of every request.
func httpFilters() ([]*hcmv3.HttpFilter, error) {
	headers, err := pack(headerMutations())
	if err != nil {
		return nil, err
	}
	router, err := pack(&routerv3.Router{})
	if err != nil {
		return nil, err
	}
	return []*hcmv3.HttpFilter{
		{
			Name:       "envoy.filters.http.header_mutation",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: headers},
		},
		{ // the last
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router},
		},
	}, nil
}

// headerMutations gives every request an x-correlation-id, the request's id if the client
// sent none, and every response the same. A client's headers by the names of the gateway's own words go no further: a
// service behind another gateway would take them for that one's. A filter, not the route table: it covers
// Envoy's own replies, and takes no byte per route. From a service's trailers it takes what
// the route table takes from its headers: a gRPC client finds the headers of a refusal among
// its trailers, and those are headers to Envoy.
func headerMutations() *headermutationv3.HeaderMutation {
	var trailers []*mutationv3.HeaderMutation
	for _, name := range markHeaders {
		trailers = append(trailers, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	return &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationv3.HeaderMutation{
			mutation(&corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: headerCorrelationID, Value: "%REQ(" + headerRequestID + ")%"},
				AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
			}),
			// The one x-envoy-* header of a client's that Envoy does not take off itself.
			{Action: &mutationv3.HeaderMutation_Remove{Remove: "x-envoy-is-timeout-retry"}},
			removePrefix(markPrefix), removePrefix(ownPrefix),
		},
		RequestTrailersMutations: []*mutationv3.HeaderMutation{removePrefix(markPrefix), removePrefix(ownPrefix)},
		ResponseMutations: []*mutationv3.HeaderMutation{
			mutation(setHeader(headerCorrelationID, "%REQ("+headerCorrelationID+")%")),
		},
		ResponseTrailersMutations: trailers,
	}}
}

// removePrefix removes every header whose name begins so.
func removePrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
		}},
	}}
}

func mutation(h *corev3.HeaderValueOption) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: h}}
}
