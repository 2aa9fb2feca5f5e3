package envoy

import (
	"context"
	"regexp"
	"strings"
)

// FailureStat is a counter of a cluster that grows as requests to it fail.
type FailureStat struct {
	// Name without the cluster's prefix.
	Name string
	// Flag is the response flag that access logs have of such a request (Envoy's
	// %RESPONSE_FLAGS%); empty if there is none.
	Flag string
	// Meaning in plain words, after a number of "times".
	Meaning string
}

// FailureStats are the counters that tell why requests fail, in the order in which a
// request meets what they count (Envoy's cluster statistics).
var FailureStats = []FailureStat{
	{"upstream_rq_maintenance_mode", "UO", "a request was answered at once: the breaker keeps all from the service"},
	{"upstream_rq_active_overflow", "UO", "a request was refused: as many were in flight as may be (in half-open: as probes)"},
	{"upstream_rq_pending_overflow", "UO", "a request was refused: as many were waiting for a connection as may be"},
	{"upstream_cx_overflow", "", "a request had to wait: as many connections were open as may be"},
	{"upstream_cx_none_healthy", "UH", "there was no host to send a request to: none is in rotation"},
	{"lb_healthy_panic", "", "a request went to a host that is out of rotation (panic mode)"},
	{"upstream_cx_connect_fail", "UF", "a connection to a host could not be opened"},
	{"upstream_cx_connect_timeout", "UF", "a host did not accept a connection in time"},
	{"upstream_rq_pending_failure_eject", "UF", "a waiting request failed with the connection it waited for"},
	{"upstream_rq_timeout", "UT", "a request was given up: its time was over"},
	{"upstream_rq_per_try_timeout", "UT", "an attempt was given up: its time was over"},
	{"upstream_rq_rx_reset", "UR", "the service reset a request"},
	{"upstream_cx_destroy_remote_with_active_rq", "UC", "the service closed a connection with a request in flight"},
	{"upstream_rq_retry", "", "a failed attempt was made again"},
	{"upstream_rq_retry_limit_exceeded", "URX", "a request failed for good: all its retries were used up"},
	{"upstream_rq_retry_overflow", "", "a retry was not made: the retry budget was used up"},
}

// Abandoned is the gateway listener's counter, by service, of requests whose callers left.
var Abandoned = FailureStat{StatAbandoned, "DC", "a caller left before there was an answer"}

// FailureCounts returns the counters of FailureStats, and that of Abandoned, of a service by name. One that
// Envoy does not have, as that of a cluster it does not know, is left out. The service's name must have no dot.
func (a *Admin) FailureCounts(ctx context.Context, cluster string) (map[string]uint64, error) {
	names := make([]string, len(FailureStats))
	for i, s := range FailureStats {
		names[i] = s.Name
	}
	prefix := "cluster." + cluster + "."
	abandoned := MetricsPrefix + "." + StatAbandoned + ".service." + cluster
	stats, err := a.Stats(ctx, StatsQuery{
		Filter: "^" + regexp.QuoteMeta(prefix) + "(" + strings.Join(names, "|") + ")$|^" + regexp.QuoteMeta(abandoned) + `(\.|$)`,
		Type:   Counters,
	})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]uint64, len(stats))
	for name, n := range stats {
		if stat, ok := strings.CutPrefix(name, prefix); ok {
			counts[stat] = n
		} else {
			counts[Abandoned.Name] += n // there is one of each method
		}
	}
	return counts, nil
}
