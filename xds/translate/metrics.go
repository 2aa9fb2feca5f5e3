package translate

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/breakwater/breakwater/envoy"
)

// The values of the tag status of the requests that Envoy counts.
const (
	statusSuccess     = "success"
	statusError       = "error"
	statusCircuitOpen = "circuit_open"
	statusOverloaded  = "overloaded"
	statusFallback    = "fallback"
)

// ownMetadata is the part of a route's metadata that is Breakwater's, in CEL.
const ownMetadata = `xds.route_metadata.filter_metadata["` + envoy.MetadataKey + `"]`

// ofService holds for a request that a service's route was found for. On all others a
// condition on the missing metadata is an error, which is no.
const ofService = `"` + metadataService + `" in ` + ownMetadata

// countedMethods are the methods that have a name of their own in metrics. Over HTTP/2 a
// client can send any word for a method, and each would be a time series.
const countedMethods = `["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"]`

// otherMethod stands for all other methods.
const otherMethod = "OTHER"

// Conditions in CEL on how a request ended. They look at what Envoy says of it and at the
// route, never at a header of the answer: the service may send x-circuit-breaker itself.
const (
	isHalfOpen = `"` + metadataBreaker + `" in ` + ownMetadata
	// isKept holds if the breaker kept the request from the service: as isShut, which can
	// not be used here, for a formatter takes a missing field for an error, not for no.
	isKept = isOpen + " || " + isOverflow + " && " + isHalfOpen

	hasStaticFallback = `"` + metadataFallbackStatus + `" in ` + ownMetadata
	isFallbackRoute   = `"` + metadataKind + `" in ` + ownMetadata

	// isCut holds if an answer broke off after it had begun with a good status, or never ended:
	// Envoy's details of all other answers, via_upstream among them, begin in another way.
	isCut = `(response.code_details.startsWith("upstream_") || response.code_details in ["stream_idle_timeout", "max_duration_timeout"])`

	// isGRPCError holds for the statuses that load reports count as errors: UNKNOWN,
	// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS, in the trailers or, where
	// there is no message, in the headers. The request must be one of gRPC, because Envoy makes
	// a status up for all others.
	isGRPCError = `"content-type" in request.headers && request.headers["content-type"].matches("^application/grpc($|[+;])")` +
		` && response.grpc_status in [2, 4, 12, 13, 14, 15]`

	// isFailed holds for a request without an answer, a server's error, and an answer that is
	// none to its caller.
	isFailed = "!has(response.code) || response.code >= 500 || " + isCut + " || " + isGRPCError
)

// requestStatus is how a request ended, in CEL. A fallback by another service that fails is
// an error, and one that is shut or full itself is what that says. A static one is a fallback
// whatever its status is.
const requestStatus = isKept + ` ? (` + hasStaticFallback + ` ? "` + statusFallback + `" : "` + statusCircuitOpen + `")` +
	` : ` + isOverflow + ` ? "` + statusOverloaded + `"` +
	` : ` + isFallbackRoute + ` && ` + isDirect + ` ? "` + statusFallback + `"` +
	` : (` + isFailed + `) ? "` + statusError + `"` +
	` : ` + isFallbackRoute + ` ? "` + statusFallback + `" : "` + statusSuccess + `"`

const (
	requestMethod = `request.method in ` + countedMethods + ` ? request.method : "` + otherMethod + `"`
	// requestSeconds has the resolution of 1 ms: CEL has no other fraction of a duration. It
	// is the whole request, from its first byte to the last one of its answer.
	requestSeconds = `double(request.duration.getSeconds()) + double(request.duration.getMilliseconds()) / 1000.0`
	retriesMade    = `upstream.request_attempt_count > 1 ? upstream.request_attempt_count - 1u : 0u`
)

// metricsLog counts the requests of each service inside Envoy. It is the listener's, so it
// depends on no policy, and its labels are bounded: by the services, the methods that are
// named above, and the five statuses.
func metricsLog() (*accesslogv3.AccessLog, error) {
	service := tag("service", routeField(metadataService))
	method := tag("method", celField(requestMethod))
	config, err := pack(&statsv3.Config{
		// No sharing name, with which counts would outlive a listener that a changed gateway.yaml
		// replaces: Envoy 1.40 crashes at the end of --mode validate with one. To Prometheus, what
		// begins at 0 again is a restart.
		StatsScope: &typev3.Scope{Prefix: envoy.MetricsPrefix},
		Counters: []*statsv3.Config_Counter{
			{
				Stat:       stat(envoy.StatRequests, service, method, tag("status", celField(requestStatus))),
				ValueFixed: wrapperspb.UInt64(1),
			},
			{
				Stat:        stat(envoy.StatRetries, service),
				ValueFormat: celField(retriesMade),
			},
		},
		Histograms: []*statsv3.Config_Histogram{{
			Stat: stat(envoy.StatDuration, service, method),
			// The one unit whose values may have a fraction: Envoy records millionths and shows
			// the value as it was given. All others are whole numbers, of which seconds make no use.
			Unit:        statsv3.Config_Histogram_Percent,
			ValueFormat: celField(requestSeconds),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	filter, err := replyFilter(nil, ofService)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &accesslogv3.AccessLog{
		Name:       "envoy.access_loggers.stats",
		Filter:     filter,
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config},
	}, nil
}

func stat(name string, tags ...*statsv3.Config_Tag) *statsv3.Config_Stat {
	return &statsv3.Config_Stat{Name: name, Tags: tags}
}

func tag(name, format string) *statsv3.Config_Tag {
	return &statsv3.Config_Tag{Name: name, ValueFormat: format}
}

// celField is Envoy's command operator for the value of an expression in CEL.
func celField(expression string) string { return "%CEL(" + expression + ")%" }
