package translate

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/breakwater/breakwater/envoy"
)

// Reply is the value of the "error" field of a reply that the gateway makes itself.
type Reply string

// The replies of the gateway.
const (
	ReplyCircuitOpen     Reply = "circuit_open"     // no host in rotation, or the breaker is open
	ReplyOverloaded      Reply = "overloaded"       // a limit is hit
	ReplyUpstreamTimeout Reply = "upstream_timeout" // the request's or an attempt's time is up
	ReplyConnectFailure  Reply = "connect_failure"  // no connection to a host
	ReplyUpstreamReset   Reply = "upstream_reset"   // a host broke off before it answered
	ReplyNoRoute         Reply = "no_route"         // no service for this host and path
	ReplyGateway         Reply = "gateway_error"    // everything else, such as a malformed request
)

// routeField is Envoy's command operator for a field of the route's metadata.
func routeField(name string) string {
	return "%METADATA(ROUTE:" + envoy.MetadataKey + ":" + name + ")%"
}

// reply is how one kind of local reply is recognised and answered.
type reply struct {
	flags   []string // Envoy's response flags, any of them; none: no condition
	cel     string   // a further condition; empty for none
	kind    Reply
	message string
	headers []*corev3.HeaderValueOption
}

// Conditions in CEL on what Envoy says of a request.
const (
	// isOpen holds if no host is in rotation or the breaker is forced open. The other
	// reply with the flag UO has the details of an overflow.
	isOpen = `response.code_details in ["no_healthy_upstream", "maintenance_mode"]`
	// isOverflow holds if a limit is hit.
	isOverflow = `response.code_details.contains("overflow")`
	// isShut holds if isOpen does, or if the breaker is half-open and admits no more probes.
	isShut = "(" + isOpen + " || " + isOverflow + ` && xds.route_metadata.filter_metadata["` +
		envoy.MetadataKey + `"]["` + metadataBreaker + `"] == "` + breakerHalfOpen + `")`
	// isDirect holds for a static fallback's route, whose body is the policy's.
	isDirect = `response.code_details == "direct_response"`
	// isRedirect holds where a path with escaped slashes is sent to its plain form.
	isRedirect = `(response.code >= 300 && response.code < 400)`

	// attemptsBefore is the number of attempts that were made before this reply. Envoy counts
	// the one that found no host or no room too, and none in maintenance mode; its number is unsigned.
	attemptsBefore = `%CEL(upstream.request_attempt_count > 1u ? upstream.request_attempt_count - 1u : 0u)%`

	fallbackStatus = `xds.route_metadata.filter_metadata["` + envoy.MetadataKey + `"]["` + metadataFallbackStatus + `"]`
)

// fallbackStatuses are those that a static fallback can have while Envoy finds no host
// in rotation. A mapper's status is fixed, and the listener must not depend on
// policies. With another status a fallback is answered with Envoy's 503 and the
// policy's body, until its runtime key is turned.
var fallbackStatuses = []uint32{
	200, 201, 202, 203, 204, 206,
	400, 401, 403, 404, 409, 410, 422, 423, 424, 425, 429,
	500, 501, 502, 504,
}

// localReplies is what the gateway answers itself: JSON that says which and why. It
// names no service (the route's metadata does), so that it never changes with a policy.
// The first mapper whose filter holds is taken.
func localReplies() (*hcmv3.LocalReplyConfig, error) {
	replies := []reply{
		{
			flags: []string{"UH", "UO"}, cel: isShut,
			kind:    ReplyCircuitOpen,
			message: "The circuit breaker of this service is open.",
			headers: []*corev3.HeaderValueOption{
				setHeader(headerBreaker, valueOpen),
				setHeader(headerAttempts, attemptsBefore),
				setHeader("retry-after", routeField(metadataRetryAfter)),
			},
		},
		{
			flags:   []string{"UO"},
			kind:    ReplyOverloaded,
			message: "A limit of this service is reached.",
			headers: []*corev3.HeaderValueOption{
				setHeader(headerBreaker, valueOverload),
				setHeader(headerAttempts, attemptsBefore),
				setHeader("retry-after", "1"),
			},
		},
		{
			flags:   []string{"UT", "SI"},
			kind:    ReplyUpstreamTimeout,
			message: "The service did not answer in time.",
		},
		{
			flags:   []string{"UF"},
			kind:    ReplyConnectFailure,
			message: "The service could not be connected to.",
		},
		{
			flags:   []string{"UC", "UR", "UPE"},
			kind:    ReplyUpstreamReset,
			message: "The service broke off before it answered.",
		},
		{
			flags:   []string{"NR"},
			kind:    ReplyNoRoute,
			message: "No service is known for this host and path.",
		},
	}
	asIs, err := asIsMapper()
	if err != nil {
		return nil, err
	}
	mappers := []*hcmv3.ResponseMapper{asIs}
	fallbacks, err := fallbackMappers()
	if err != nil {
		return nil, err
	}
	mappers = append(mappers, fallbacks...)
	for _, r := range replies {
		m, err := r.mapper()
		if err != nil {
			return nil, fmt.Errorf("local reply %s: %w", r.kind, err)
		}
		mappers = append(mappers, m)
	}
	rest := reply{kind: ReplyGateway, message: "The gateway could not serve this request."}
	return &hcmv3.LocalReplyConfig{Mappers: mappers, BodyFormat: rest.body()}, nil
}

// asIsMapper leaves alone what is no error of the gateway's.
func asIsMapper() (*hcmv3.ResponseMapper, error) {
	filter, err := replyFilter(nil, isDirect+" || "+isRedirect)
	if err != nil {
		return nil, fmt.Errorf("local reply: %w", err)
	}
	return &hcmv3.ResponseMapper{Filter: filter, BodyFormatOverride: textFormat("%LOCAL_REPLY_BODY%")}, nil
}

// fallbackMappers answer with the static fallback of the route, if it has one.
func fallbackMappers() ([]*hcmv3.ResponseMapper, error) {
	var mappers []*hcmv3.ResponseMapper
	for _, status := range fallbackStatuses {
		m, err := fallbackMapper(fmt.Sprintf(`%s == "%d"`, fallbackStatus, status))
		if err != nil {
			return nil, err
		}
		m.StatusCode = u32(status)
		mappers = append(mappers, m)
	}
	// The condition is false, not true, on a route without the field.
	anyOther, err := fallbackMapper(fallbackStatus + ` != ""`)
	if err != nil {
		return nil, err
	}
	return append(mappers, anyOther), nil
}

func fallbackMapper(condition string) (*hcmv3.ResponseMapper, error) {
	filter, err := replyFilter([]string{"UH", "UO"}, isShut+" && "+condition)
	if err != nil {
		return nil, fmt.Errorf("local reply %s: %w", valueFallback, err)
	}
	return &hcmv3.ResponseMapper{
		Filter: filter,
		HeadersToAdd: []*corev3.HeaderValueOption{
			setHeader(headerBreaker, valueFallback),
			setHeader(headerAttempts, attemptsBefore),
			setHeader(contentType, routeField(metadataFallbackType)),
		},
		BodyFormatOverride: textFormat(routeField(metadataFallbackBody)),
	}, nil
}

func textFormat(format string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{
		OmitEmptyValues: true, // an empty body is not "-"
		Format: &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{
				Specifier: &corev3.DataSource_InlineString{InlineString: format},
			},
		},
	}
}

func (r reply) mapper() (*hcmv3.ResponseMapper, error) {
	filter, err := replyFilter(r.flags, r.cel)
	if err != nil {
		return nil, err
	}
	return &hcmv3.ResponseMapper{
		Filter:             filter,
		BodyFormatOverride: r.body(),
		HeadersToAdd:       r.headers,
	}, nil
}

func (r reply) body() *corev3.SubstitutionFormatString {
	return jsonFormat(map[string]string{
		"error":      string(r.kind),
		"message":    r.message,
		"service":    routeField(metadataService),
		"status":     "%RESPONSE_CODE%",
		"details":    "%RESPONSE_CODE_DETAILS%",
		"request_id": "%REQ(" + headerRequestID + ")%",
	})
}

// replyFilter holds if any of the flags is set and the condition is true.
func replyFilter(flags []string, condition string) (*accesslogv3.AccessLogFilter, error) {
	var all []*accesslogv3.AccessLogFilter
	if len(flags) > 0 {
		all = append(all, &accesslogv3.AccessLogFilter{
			FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
				ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: flags},
			},
		})
	}
	if condition != "" {
		config, err := pack(&celv3.ExpressionFilter{Expression: condition})
		if err != nil {
			return nil, err
		}
		all = append(all, &accesslogv3.AccessLogFilter{
			FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
				ExtensionFilter: &accesslogv3.ExtensionFilter{
					Name:       "envoy.access_loggers.extension_filters.cel",
					ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: config},
				},
			},
		})
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: all},
	}}, nil
}
