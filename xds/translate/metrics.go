package translate

import (
	"errors"
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	statsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/breakwater/breakwater/envoy"
)

// notCounted is, in place of one of envoy.Outcomes, that a request has none.
const notCounted = ""

// countedMethods are the methods that have a name of their own in metrics. Over HTTP/2 a
// client can send any word for a method, and each would be a time series.
var countedMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}

// otherMethod stands for all other methods.
const otherMethod = "OTHER"

// ending is how a request ended, as text that the expressions of endings are for: what Envoy says
// of it and of the route, never a header of the answer, which is the service's word. The
// details come last, because what they quote may have a slash.
const ending = "%RESPONSE_CODE%/" + // 0 if there was no answer
	"%METADATA(ROUTE:" + envoy.MetadataKey + ":" + metadataKind + ")%/" +
	"%METADATA(ROUTE:" + envoy.MetadataKey + ":" + metadataBreaker + ")%/" +
	"%METADATA(ROUTE:" + envoy.MetadataKey + ":" + metadataFallbackStatus + ")%/" +
	"%GRPC_STATUS_NUMBER%/" + // empty for what is no gRPC
	"%RESPONSE_CODE_DETAILS%"

// leaving is the part of ending that tells whether the client has left.
const leaving = "%RESPONSE_CODE%/%RESPONSE_CODE_DETAILS%"

// Parts of the expressions of endings.
const (
	anyField  = `[^/]*/`
	given     = `[^/]+/`
	isGood    = `[1-4][0-9]{2}/`
	noneOpen  = `(no_healthy_upstream|maintenance_mode)` // as isOpen
	overflows = `.*overflow.*`                           // as isOverflow

	// abandoned is a request whose client left before there was an answer: it closed the connection or, over HTTP/2, reset
	// the stream. It matches leaving too.
	abandoned = `0/(.*/)?(downstream_remote_disconnect|http2\.remote_reset|http3\.remote_reset)`

	// goodGRPC and badGRPC are the statuses that load reports count as successes and as errors:
	// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS.
	goodGRPC = `(|0|1|3|5|6|7|8|9|10|11|16)/`
	badGRPC  = `(2|4|12|13|14|15)/`
)

// endings give a request its status: the first expression (RE2, of the whole text) that matches. What
// matches none is a success, or the success of a fallback.
// A request that its client abandons has none: whether the service would have answered nobody knows.
var endings = []struct{ expression, status string }{
	// What most requests come to is told first, so that they cost one match.
	{isGood + `/` + anyField + anyField + goodGRPC + `via_upstream`, envoy.OutcomeSuccess},
	// What the breaker has kept from the service, as isShut.
	{anyField + anyField + anyField + given + anyField + noneOpen, envoy.OutcomeFallback},
	{anyField + anyField + breakerHalfOpen + `/` + given + anyField + overflows, envoy.OutcomeFallback},
	{anyField + anyField + anyField + anyField + anyField + noneOpen, envoy.OutcomeCircuitOpen},
	{anyField + anyField + breakerHalfOpen + `/` + anyField + anyField + overflows, envoy.OutcomeCircuitOpen},
	{anyField + anyField + anyField + anyField + anyField + overflows, envoy.OutcomeOverloaded},
	// A static fallback, whatever its status is.
	{anyField + kindFallback + `/` + anyField + anyField + anyField + `direct_response`, envoy.OutcomeFallback},
	{abandoned, notCounted},
	// No answer, or a server's error, of gRPC in headers or trailers. An answer that broke off after it had begun with a
	// good status, or never ended, is told by its details: those of all other answers begin in another way.
	{`(0|5[0-9]{2})/.*`, envoy.OutcomeError},
	{anyField + anyField + anyField + anyField + badGRPC + `.*`, envoy.OutcomeError},
	{anyField + anyField + anyField + anyField + anyField + `(upstream_.*|stream_idle_timeout|max_duration_timeout)`, envoy.OutcomeError},
	// A fallback by another service.
	{anyField + kindFallback + `/.*`, envoy.OutcomeFallback},
}

// requestSeconds is the whole request, from its first byte to the last one of its answer, in CEL: no
// command operator has it in seconds. The resolution is 1 ms, for CEL has no other fraction of a duration.
const requestSeconds = `%CEL(double(request.duration.getSeconds()) + double(request.duration.getMilliseconds()) / 1000.0)%`

// retriesMade are the attempts of a request beyond the first, in CEL. A 0 is counted too: the series
// is there from the first request on, and so the first retry is an increase to Prometheus.
const retriesMade = `%CEL(upstream.request_attempt_count > 1 ? upstream.request_attempt_count - 1u : 0u)%`

// metricsLog counts the requests of each service inside Envoy. It is the listener's, so it
// depends on no policy, and its labels are bounded: by the services, the methods that are
// named above, and the five statuses. It costs Envoy about 5 µs for a request. With the status and
// the method by expressions in CEL it was 15 µs (BenchmarkRequestMetrics).
func metricsLog() (*accesslogv3.AccessLog, error) {
	tags := &tagBuilder{}
	service := tags.build("service", routeField(metadataService), nil,
		// No service's route was found. Nothing is counted, and no service made up.
		tagRule{exact: "", dropStat: true})
	methods := make([]tagRule, 0, len(countedMethods))
	for _, m := range countedMethods {
		methods = append(methods, tagRule{exact: m, becomes: m})
	}
	method := tags.build("method", "%REQ(:METHOD)%", &tagRule{becomes: otherMethod}, methods...)
	statuses := make([]tagRule, 0, len(endings))
	for _, e := range endings {
		statuses = append(statuses, tagRule{expression: e.expression, becomes: e.status, dropStat: e.status == notCounted})
	}
	status := tags.build("status", ending, &tagRule{becomes: envoy.OutcomeSuccess}, statuses...)
	left := tags.build("left", leaving, &tagRule{dropStat: true}, tagRule{expression: abandoned, dropTag: true})
	config, err := pack(&statsv3.Config{
		// No sharing name, with which counts would outlive a listener that a changed gateway.yaml
		// replaces: Envoy 1.40 crashes at the end of --mode validate with one. To Prometheus, what
		// begins at 0 again is a restart.
		StatsScope: &typev3.Scope{Prefix: envoy.MetricsPrefix},
		Counters: []*statsv3.Config_Counter{
			{Stat: stat(envoy.StatRequests, service, method, status), ValueFixed: wrapperspb.UInt64(1)},
			{Stat: stat(envoy.StatAbandoned, service, left), ValueFixed: wrapperspb.UInt64(1)},
			{Stat: stat(envoy.StatRetries, service), ValueFormat: retriesMade},
		},
		Histograms: []*statsv3.Config_Histogram{{
			Stat: stat(envoy.StatDuration, service, method),
			// The one unit whose values may have a fraction: Envoy records millionths and shows
			// the value as it was given. All others are whole numbers, of which seconds make no use.
			Unit:        statsv3.Config_Histogram_Percent,
			ValueFormat: requestSeconds,
		}},
	})
	if err = errors.Join(tags.err, err); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &accesslogv3.AccessLog{
		Name:       "envoy.access_loggers.stats",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: config},
	}, nil
}

func stat(name string, tags ...*statsv3.Config_Tag) *statsv3.Config_Stat {
	return &statsv3.Config_Stat{Name: name, Tags: tags}
}
