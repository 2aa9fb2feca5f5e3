package envoy

import (
	"strings"

	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// MetricsPrefix begins the names of the stats that the gateway's listener counts for each
// service: MetricsPrefix, a dot, and one of the names below. In the Prometheus format they
// are envoy_gateway_proxy_requests_total and so on.
const (
	MetricsPrefix = "gateway"

	StatRequests  = "proxy_requests_total"
	StatAbandoned = "proxy_abandoned_total"
	StatDuration  = "proxy_request_duration_seconds"
	StatRetries   = "proxy_retries_total"
)

// The outcomes of requests: the values of the label status of StatRequests.
const (
	OutcomeSuccess     = "success"
	OutcomeError       = "error"
	OutcomeCircuitOpen = "circuit_open"
	OutcomeOverloaded  = "overloaded"
	OutcomeFallback    = "fallback"
)

// Outcomes are all of them.
var Outcomes = []string{OutcomeSuccess, OutcomeError, OutcomeCircuitOpen, OutcomeOverloaded, OutcomeFallback}

// requestSeconds are the upper bounds of the buckets in which Envoy counts how long requests took. They
// go beyond the time-outs that policies have, 30 s without one, and a request that times out takes a little longer
// than that. Each is at most four times the one before, so a quantile is off by no more. They are powers
// of two, for Envoy writes a bound with all 32 digits that its binary form has: 0.1 would be
// 0.10000000000000000555111512312578 in every line. There are few, because a bucket is a line
// per service and method in each scrape: 100 KB for 1,000 services.
var requestSeconds = []float64{0.015625, 0.0625, 0.25, 0.5, 1, 4, 16, 64}

// attemptMilliseconds is the one bound for a cluster's upstream_rq_time. Breakwater reads that histogram
// in Envoy's own bins (ClusterHistograms), which need no bounds, and each bound is a line per
// service in each scrape.
var attemptMilliseconds = []float64{1000}

// The stats that Envoy keeps. It makes about 140 for each cluster, most of which nobody reads and
// all of which take memory and time in each scrape.
var (
	// keptScopes are kept as a whole: there is one of each, whatever the number of services is.
	keptScopes = []string{
		MetricsPrefix + ".", // the requests of services, counted by the listener
		"cluster." + XDSCluster + ".",
		"cluster_manager.", "control_plane.", "http." + GatewayName + ".", "listener_manager.", "load_reporter.",
		"runtime.", "server.",
	}
	// keptOfClusters are those of each cluster, by what stands after its name, as RE2
	// expressions. What is left out: counts of bytes and connections (cx_total, cx_http1_total, ...), sums of
	// statuses by their first digit (the codes are kept), the same again for internal and external
	// requests, load balancing by zones and subsets, ejections by detector, *_open gauges (they
	// do not say what they seem to, see clusters.go), DNS and timeout-budget stats.
	keptOfClusters = []string{
		// How many hosts there are, and how many of them take requests.
		`membership_(healthy|total)`, `health_check\.failure`,
		`outlier_detection\.ejections_(active|enforced_total|overflow)`,
		// What attempts came to. Layer 2 reads the codes where a policy says which are errors.
		`upstream_rq_(total|time)`, `(retry\.)?upstream_rq_[0-9]{3}`,
		`upstream_rq_retry_success`,
		// How far the limits are.
		`circuit_breakers\.default\.remaining_rq`,
		// Endpoints that Envoy did not take.
		`update_(rejected|failure)`,
	}
)

func statsConfig() *metricsv3.StatsConfig {
	return &metricsv3.StatsConfig{
		StatsMatcher: statsMatcher(),
		HistogramBucketSettings: []*metricsv3.HistogramBucketSettings{
			{
				Match:   &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: ".upstream_rq_time"}},
				Buckets: attemptMilliseconds,
			},
			{ // the name goes on with the labels
				Match: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{
					Prefix: MetricsPrefix + "." + StatDuration,
				}},
				Buckets: requestSeconds,
			},
		},
	}
}

func statsMatcher() *metricsv3.StatsMatcher {
	list := &matcherv3.ListStringMatcher{}
	for _, scope := range keptScopes {
		list.Patterns = append(list.Patterns, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: scope},
		})
	}
	kept := keptOfClusters
	for _, s := range FailureStats {
		kept = append(kept[:len(kept):len(kept)], s.Name)
	}
	list.Patterns = append(list.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{
		SafeRegex: &matcherv3.RegexMatcher{Regex: `cluster\.[^.]+\.(` + strings.Join(kept, "|") + `)`},
	}})
	return &metricsv3.StatsMatcher{StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: list}}
}
