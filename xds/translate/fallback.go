package translate

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/breakwater/breakwater/policy"
)

const (
	// markPrefix begins the names of the headers by which the gateway marks a reply as its own, and ownPrefix those of
	// what it says to Breakwater.
	markPrefix = "x-circuit-breaker"
	ownPrefix  = "x-breakwater-"

	headerBreaker = markPrefix
	valueOpen     = "open"
	valueOverload = "overloaded"
	valueFallback = "fallback"

	// headerAttempts says, beside headerBreaker, how many attempts at the service were made
	// before the reply: with 0 nothing was sent to it.
	headerAttempts = markPrefix + "-attempts"

	contentType = "content-type"
)

// markHeaders are those by which the gateway marks a reply as its own.
var markHeaders = []string{headerBreaker, headerAttempts}

// FallbackKey is the runtime key, in percent, that sends the service's requests to its
// fallback. Without it none goes there.
func FallbackKey(service string) string { return "breakwater.fallback." + service }

// fallbackRoute answers in the service's place while its runtime key says so.
func fallbackRoute(s *policy.Service, r policy.Route) (*routev3.Route, error) {
	metadata := serviceMetadata(s)
	metadata[metadataKind] = kindFallback
	route := &routev3.Route{
		Match:    whileRuntime(match(r, r.Methods), FallbackKey(s.Name)),
		Metadata: routeMetadata(metadata),
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{
			setHeader(headerBreaker, valueFallback),
			setHeader(headerAttempts, "0"),
		},
	}
	f := s.Fallback
	if f.Service != "" {
		action := clusterAction(s, r, f.Service)
		var err error
		if action.RetryPolicy, err = safeRetry(s); err != nil {
			return nil, err
		}
		route.Action = &routev3.Route_Route{Route: action}
		return route, nil
	}
	for _, h := range f.Headers {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, setHeader(h.Name, literal(h.Value)))
	}
	if _, given := header(f, contentType); !given {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, setHeader(contentType, fallbackType(f)))
	}
	route.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: f.Status,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: f.Body}},
	}}
	return route, nil
}

// openFallback gives the static fallback to a route to the service itself, for when
// Envoy finds no host in rotation, before anybody has turned the runtime key: status,
// type and body as metadata for the listener's local reply, and the headers under a
// condition in CEL, for a local reply cannot take their names from metadata.
func openFallback(route *routev3.Route, metadata map[string]string, f *policy.Fallback, condition string) {
	metadata[metadataFallbackStatus] = strconv.FormatUint(uint64(f.Status), 10)
	metadata[metadataFallbackType] = fallbackType(f)
	metadata[metadataFallbackBody] = f.Body
	for _, h := range f.Headers {
		if strings.EqualFold(h.Name, contentType) {
			continue // the local reply sets it
		}
		// An empty value adds no header: the service's own replies stay as they are.
		value := "%CEL((" + condition + ") ? " + celString(h.Value) + ` : "")%`
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, setHeader(h.Name, value))
	}
}

// fallbackType is the content type of a static fallback.
func fallbackType(f *policy.Fallback) string {
	if v, given := header(f, contentType); given {
		return v
	}
	if json.Valid([]byte(f.Body)) {
		return "application/json"
	}
	return "text/plain"
}

// header returns the value of one of the fallback's headers.
func header(f *policy.Fallback, name string) (value string, given bool) {
	for _, h := range f.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value, true
		}
	}
	return "", false
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

// celString is a CEL string literal for use inside a format of Envoy's, whose parser
// knows nothing of CEL: all that could end the command or the string is escaped.
func celString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', strings.ContainsRune(" -.,:;=/_", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
