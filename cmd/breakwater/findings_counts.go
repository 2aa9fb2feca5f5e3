package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// explainCounts says how requests failed in the last second, other than by what the
// breaker's state or another count explains.
func (q *inquiry) explainCounts(f *findings, c admin.ProxyCounts) {
	var p breaker.ProxyBreaker
	if i := slices.IndexFunc(q.breaker.Proxies, func(p breaker.ProxyBreaker) bool { return p.Proxy == c.Proxy }); i >= 0 {
		p = q.breaker.Proxies[i]
	}
	recent := map[string]uint64{}
	for _, n := range c.Counts {
		recent[n.Stat] = n.Recent
	}
	for _, n := range c.Counts {
		left := n.Recent - min(n.Recent, explained(n.Stat, &p, recent))
		if left > 0 {
			f.add(c.Proxy, fmt.Sprintf("in the last second, %s: %s", count(int(left), "time", "times"), n.Meaning), q.advice(n.Stat))
		}
	}
}

// explained is how many of a counter's recent events the state or other counters explain.
func explained(stat string, p *breaker.ProxyBreaker, recent map[string]uint64) uint64 {
	switch {
	case stat == "upstream_rq_maintenance_mode",
		stat == "upstream_cx_none_healthy" && (p.State == breaker.Open || p.TotalHosts == 0),
		p.State == breaker.HalfOpen && strings.HasSuffix(stat, "_overflow"):
		return recent[stat]
	case stat == "upstream_rq_pending_failure_eject":
		return recent["upstream_cx_connect_fail"]
	case stat == failedAttempts.Name:
		return recent["upstream_cx_connect_fail"] + recent["upstream_rq_timeout"] + recent["upstream_rq_per_try_timeout"] +
			recent["upstream_rq_rx_reset"] + recent["upstream_cx_destroy_remote_with_active_rq"]
	}
	return 0
}

// failedAttempts stands beside Envoy's counters of the cluster: it is the sum of its hosts'
// rq_error.
var failedAttempts = envoy.FailureStat{Name: "rq_error", Meaning: "an attempt failed in any way: a 5xx, a reset, a timeout, no connection"}

// advice is what to do about one of Envoy's counters that grows.
func (q *inquiry) advice(stat string) string {
	s := q.policy
	switch stat {
	case "upstream_rq_active_overflow":
		return fmt.Sprintf("raise limits.max_requests (%d), or find out why the service is slow", s.Limits.MaxRequests)
	case "upstream_rq_pending_overflow":
		return fmt.Sprintf("raise limits.max_pending_requests (%d), or find out why the service is slow", s.Limits.MaxPendingRequests)
	case "upstream_cx_overflow":
		return fmt.Sprintf("raise limits.max_connections (%d)", s.Limits.MaxConnections)
	case "upstream_cx_none_healthy":
		return "fix the hosts: see which are ejected or unhealthy"
	case "lb_healthy_panic":
		return "no breaker holds in panic mode, which Breakwater's clusters switch off: see what has changed this one on its way to Envoy"
	case "upstream_cx_connect_fail", "upstream_rq_pending_failure_eject":
		return "see whether the service runs at " + strings.Join(s.Upstream.Addresses(), ", ")
	case "upstream_cx_connect_timeout":
		return fmt.Sprintf("see whether the network lets Envoy reach %s; timeout.connect is %s", strings.Join(s.Upstream.Addresses(), ", "), s.Timeout.Connect)
	case "upstream_rq_timeout":
		return fmt.Sprintf("the service takes longer than timeout.request (%s)", s.Timeout.Request)
	case "upstream_rq_per_try_timeout":
		return fmt.Sprintf("the service takes longer than timeout.per_try (%s)", s.Timeout.PerTry)
	case "upstream_rq_rx_reset", "upstream_cx_destroy_remote_with_active_rq":
		return "see the service's own log: it crashes, restarts, or closes idle connections too early"
	case "upstream_rq_retry":
		return "callers may see no error yet, but the service carries the retries too: see why attempts fail"
	case "upstream_rq_retry_limit_exceeded":
		return fmt.Sprintf("it fails longer than retry.max_retries (%d) can bridge: see the other causes", s.Retry.MaxRetries)
	case "upstream_rq_retry_overflow":
		return fmt.Sprintf("so many fail that retry.budget (%s) is used up: see the other causes", policy.Percent(s.Retry.Budget))
	case failedAttempts.Name:
		return "see the service's own log"
	case envoy.Abandoned.Name:
		return "the service is slower than its callers wait, or hangs: see `breakwater status " + s.Name + "` and its own log"
	}
	return ""
}
