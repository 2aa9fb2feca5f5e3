package translate

import (
	"encoding/json"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/breakwater/breakwater/policy"
)

const (
	headerBreaker = "x-circuit-breaker"
	valueOpen     = "open"
	valueOverload = "overloaded"
	valueFallback = "fallback"

	contentType = "content-type"
)

// FallbackKey is the runtime key, in percent, that sends the service's requests to its
// fallback. Without it none goes there.
func FallbackKey(service string) string { return "breakwater.fallback." + service }

// fallbackRoute answers in the service's place while its runtime key says so.
func fallbackRoute(s *policy.Service, r policy.Route) *routev3.Route {
	m := match(r, r.Methods)
	m.RuntimeFraction = &corev3.RuntimeFractionalPercent{
		DefaultValue: &typev3.FractionalPercent{Numerator: 0, Denominator: typev3.FractionalPercent_HUNDRED},
		RuntimeKey:   FallbackKey(s.Name),
	}
	metadata := serviceMetadata(s)
	metadata[metadataKind] = kindFallback
	route := &routev3.Route{
		Match:                m,
		Metadata:             routeMetadata(metadata),
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{setHeader(headerBreaker, valueFallback)},
	}
	f := s.Fallback
	if f.Service != "" {
		route.Action = &routev3.Route_Route{Route: clusterAction(s, r, f.Service)}
		return route
	}
	for _, h := range fallbackHeaders(f) {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, setHeader(h.Name, literal(h.Value)))
	}
	route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: f.Status,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: f.Body}},
	}}
	return route
}

// fallbackHeaders are the headers of a static fallback, with a content type for a body
// that is JSON where the policy gives none.
func fallbackHeaders(f *policy.Fallback) []policy.Header {
	headers := f.Headers
	for _, h := range headers {
		if strings.EqualFold(h.Name, contentType) {
			return headers
		}
	}
	if f.Body != "" && json.Valid([]byte(f.Body)) {
		headers = append(headers[:len(headers):len(headers)], policy.Header{Name: contentType, Value: "application/json"})
	}
	return headers
}

// setHeader replaces a header, or adds it. The value is a format of Envoy's.
func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// literal quotes text for where Envoy expects a format.
func literal(s string) string { return strings.ReplaceAll(s, "%", "%%") }
