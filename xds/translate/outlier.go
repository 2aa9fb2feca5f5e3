package translate

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/policy"
)

const (
	// consecutiveErrors is Envoy's own default, for a policy whose failure_threshold is
	// off: a host that only fails must leave the rotation all the same.
	consecutiveErrors = 5
	// sweep is how often Envoy looks for hosts to let in again, at most: an ejection is
	// longer than its time by up to this much.
	sweep = time.Second
)

// outlierDetection is layer 1 of the breaker: consecutive errors of one host eject it.
// Every percentage is explicit, for some default to 0 and some to 100 (Envoy's API
// reference, config.cluster.v3.OutlierDetection).
func outlierDetection(s *policy.Service, disabled bool) *clusterv3.OutlierDetection {
	consecutive := uint32(consecutiveErrors)
	if s.Breaker.FailureThreshold.Set {
		consecutive = s.Breaker.FailureThreshold.N
	}
	enforcing := uint32(100)
	if s.Breaker.Shadow || disabled {
		// Shadow observes, and so does a breaker that an operator has disabled: Envoy counts (outlier_detection.ejections_detected_*) and does
		// not eject.
		enforcing = 0
	}
	open := durationpb.New(s.Breaker.Timeout)
	return &clusterv3.OutlierDetection{
		Interval:                 durationpb.New(min(sweep, s.Breaker.Timeout)),
		BaseEjectionTime:         open,
		MaxEjectionTime:          open, // the same: layer 2 does the back-off, and counts on a host being back by then
		MaxEjectionTimeJitter:    durationpb.New(0),
		MaxEjectionPercent:       u32(100), // the default of 10 % never opens a small pool (measured)
		Consecutive_5Xx:          u32(consecutive),
		EnforcingConsecutive_5Xx: u32(enforcing),
		// A gateway failure (502, 503, 504, no connection) is a 5xx as well, so that the
		// detector above sees each.
		ConsecutiveGatewayFailure:          u32(consecutive),
		EnforcingConsecutiveGatewayFailure: u32(0),
		// With split errors 10 of 10 timeouts were answered 504 and nothing was ejected;
		// without, the host was out after five (measured).
		SplitExternalLocalOriginErrors:         false,
		ConsecutiveLocalOriginFailure:          u32(consecutive),
		EnforcingConsecutiveLocalOriginFailure: u32(0),
		// Rates need at least five hosts with traffic each; layer 2 has rates over the service.
		EnforcingSuccessRate:                  u32(0),
		EnforcingLocalOriginSuccessRate:       u32(0),
		EnforcingFailurePercentage:            u32(0),
		EnforcingFailurePercentageLocalOrigin: u32(0),
		// Envoy's default lets one passing health check end an ejection.
		SuccessfulActiveHealthCheckUnejectHost: boolValue(s.HealthCheck != nil && s.HealthCheck.Uneject),
	}
}

// errorMatcher makes replies with these statuses the ones that outlier detection
// counts. Nil: Envoy's own rule, 5xx.
func errorMatcher(errors []policy.StatusRange) *matcherv3.MatchPredicate {
	if len(errors) == 0 {
		return nil
	}
	rules := make([]*matcherv3.MatchPredicate, 0, len(errors))
	for _, r := range errors {
		rules = append(rules, &matcherv3.MatchPredicate{Rule: &matcherv3.MatchPredicate_HttpResponseHeadersMatch{
			HttpResponseHeadersMatch: &matcherv3.HttpHeadersMatch{Headers: []*routev3.HeaderMatcher{{
				Name: ":status",
				HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{
					// Envoy's range excludes its end, the policy's includes it.
					RangeMatch: &typev3.Int64Range{Start: int64(r.From), End: int64(r.To) + 1},
				},
			}}},
		}})
	}
	if len(rules) == 1 { // a set needs two rules
		return rules[0]
	}
	return &matcherv3.MatchPredicate{Rule: &matcherv3.MatchPredicate_OrMatch{
		OrMatch: &matcherv3.MatchPredicate_MatchSet{Rules: rules},
	}}
}
