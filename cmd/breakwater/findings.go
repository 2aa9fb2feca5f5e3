package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// inquiry is what is known of one service when it is to be explained.
type inquiry struct {
	breaker breaker.Breaker
	policy  *policy.Service
	counts  []admin.ProxyCounts
	// own are the proxies that have an order for them alone.
	own map[string]bool
	// blind are the proxies that have sent no load report yet.
	blind []string
	// rejections are those that the service's policy has caused.
	rejections []admin.Rejection
	now        time.Time
}

// findings are what keeps requests to the service from succeeding, the gravest first.
func (q *inquiry) findings() []admin.Finding {
	var f findings
	if len(q.breaker.Proxies) == 0 {
		f.add("", "no proxy is connected, so nobody sends requests to it", "start an Envoy with the bootstrap of `breakwater bootstrap`, and see `breakwater proxies`")
	}
	for _, state := range []breaker.State{breaker.ForcedOpen, breaker.Open, breaker.HalfOpen, breaker.Unknown, breaker.Disabled, breaker.Closed} {
		for i := range q.breaker.Proxies {
			if p := &q.breaker.Proxies[i]; p.State == state {
				q.explainState(&f, p)
			}
		}
	}
	for i := range q.breaker.Proxies {
		q.explainHosts(&f, &q.breaker.Proxies[i])
	}
	for _, c := range q.counts {
		q.explainCounts(&f, c)
	}
	q.explainPolicy(&f)
	return f.list
}

// findings are merged where they differ in nothing but the proxy.
type findings struct{ list []admin.Finding }

func (f *findings) add(proxy, what, advice string) {
	var proxies []string
	if proxy != "" {
		proxies = []string{proxy}
	}
	for i := range f.list {
		if x := &f.list[i]; x.What == what && x.Advice == advice {
			x.Proxies = slices.Sorted(slices.Values(append(x.Proxies, proxies...)))
			return
		}
	}
	f.list = append(f.list, admin.Finding{Proxies: proxies, What: what, Advice: advice})
}

// explainState says what the state of a breaker does to requests.
func (q *inquiry) explainState(f *findings, p *breaker.ProxyBreaker) {
	name := q.policy.Name
	instead := "503"
	if q.policy.Fallback != nil {
		instead = "the fallback"
	}
	switch p.State {
	case breaker.ForcedOpen:
		f.add(p.Proxy, fmt.Sprintf("an operator keeps every request from it, callers get %s: %s%s", instead, p.Cause, q.until(p)), q.release(p))
	case breaker.Open:
		advice := "mend the service; then `breakwater reset " + name + "` closes it at once"
		if !p.Until.IsZero() {
			advice += fmt.Sprintf(", or wait %s: then %s at a time may try it", remaining(p.Until, q.now), count(int(q.policy.Breaker.HalfOpenMaxRequests), "request", "requests"))
		}
		f.add(p.Proxy, fmt.Sprintf("the breaker is open, callers get %s at once: %s", instead, p.Cause), advice)
	case breaker.HalfOpen:
		f.add(p.Proxy, fmt.Sprintf("the breaker tries the service: %s at a time may reach it, all others get %s", count(int(q.policy.Breaker.HalfOpenMaxRequests), "request", "requests"), instead),
			fmt.Sprintf("wait: it closes after %s (%d so far) and opens at the first failure", count(int(q.policy.Breaker.SuccessThreshold), "success", "successes"), p.Successes))
	case breaker.Unknown:
		f.add(p.Proxy, "what happens there can not be seen: "+p.Cause, "see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater")
	case breaker.Disabled:
		f.add(p.Proxy, fmt.Sprintf("an operator has turned the breaker off, failures reach the callers and no host is ejected: %s%s", p.Cause, q.until(p)), q.release(p))
	case breaker.Closed:
		advice := q.opensAt()
		if p.Shadow && p.ShadowState != breaker.Closed && p.ShadowState != "" {
			advice = ""
			f.add(p.Proxy, fmt.Sprintf("the breaker would be %s, but it only observes", p.ShadowState), "set breaker.shadow to false to have it act")
		}
		if p.RecentErrors > 0 {
			f.add(p.Proxy, fmt.Sprintf("%d of the last %d attempts failed", p.RecentErrors, p.RecentAttempts), advice)
		}
	}
}

// release is the command that ends the order in a proxy.
func (q *inquiry) release(p *breaker.ProxyBreaker) string {
	command := "breakwater release " + q.policy.Name
	if q.own[p.Proxy] {
		command += " --proxy " + p.Proxy
	}
	return "`" + command + "` ends that"
}

// until is when an order ends, for the end of a sentence.
func (q *inquiry) until(p *breaker.ProxyBreaker) string {
	if p.Until.IsZero() {
		return ""
	}
	return "; it ends in " + remaining(p.Until, q.now)
}

// opensAt says what would open the breaker.
func (q *inquiry) opensAt() string {
	b := &q.policy.Breaker
	var at []string
	if b.FailureThreshold.Set {
		at = append(at, fmt.Sprintf("%d failures of %d attempts", b.FailureThreshold.N, b.WindowSize))
	}
	if b.FailureRate.Set {
		at = append(at, fmt.Sprintf("%s of %d attempts or more", b.FailureRate, b.MinRequests))
	}
	if len(at) == 0 {
		return ""
	}
	return "the breaker opens at " + strings.Join(at, ", or at ")
}

// explainHosts says which hosts are out of rotation though the service is not.
func (q *inquiry) explainHosts(f *findings, p *breaker.ProxyBreaker) {
	var ejected, unhealthy []string
	for _, h := range p.Hosts {
		if h.Ejected {
			ejected = append(ejected, h.Address)
		}
		if h.Unhealthy {
			unhealthy = append(unhealthy, h.Address)
		}
	}
	// Where all are, that is why the breaker is open.
	if n := len(ejected); n > 0 && (n < p.TotalHosts || p.State != breaker.Open) {
		f.add(p.Proxy, fmt.Sprintf("%d of %s %s ejected after failures in a row: %s", n, count(p.TotalHosts, "host", "hosts"), verb(n, "is", "are"), strings.Join(ejected, ", ")),
			"they come back after breaker.timeout; `breakwater reset "+q.policy.Name+"` brings them back at once")
	}
	if n := len(unhealthy); n > 0 {
		f.add(p.Proxy, fmt.Sprintf("%d of %s %s the health check: %s", n, count(p.TotalHosts, "host", "hosts"), verb(n, "fails", "fail"), strings.Join(unhealthy, ", ")),
			"see what they answer to the health check's path")
	}
	// In half-open the few probes are the limit.
	if p.Overloaded && p.State != breaker.HalfOpen {
		f.add(p.Proxy, "a limit of the service is hit now", "raise limits, or find out why the service holds its requests so long")
	}
}

// verb is that of a sentence about n things.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// explainCounts says how requests failed in the last second, other than by what the
// breaker's state or another count explains.
func (q *inquiry) explainCounts(f *findings, c admin.ProxyCounts) {
	if c.Error != "" {
		f.add(c.Proxy, "Envoy's counts can not be read: "+c.Error, "")
		return
	}
	var state breaker.State
	for _, p := range q.breaker.Proxies {
		if p.Proxy == c.Proxy {
			state = p.State
		}
	}
	recent := map[string]uint64{}
	for _, n := range c.Counts {
		recent[n.Stat] = n.Recent
	}
	for _, n := range c.Counts {
		left := n.Recent - min(n.Recent, explained(n.Stat, state, recent))
		if left > 0 {
			f.add(c.Proxy, fmt.Sprintf("in the last second, %s: %s", count(int(left), "time", "times"), n.Meaning), q.advice(n.Stat))
		}
	}
}

// explained is how many of a counter's recent events the state or other counters explain.
func explained(stat string, state breaker.State, recent map[string]uint64) uint64 {
	switch {
	case stat == "upstream_rq_maintenance_mode",
		stat == "upstream_cx_none_healthy" && state == breaker.Open,
		state == breaker.HalfOpen && strings.HasSuffix(stat, "_overflow"):
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
		return "mend the hosts: see which are ejected or unhealthy"
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
	case "upstream_rq_retry_limit_exceeded":
		return fmt.Sprintf("it fails longer than retry.max_retries (%d) can bridge: see the other causes", s.Retry.MaxRetries)
	case "upstream_rq_retry_overflow":
		return fmt.Sprintf("so many fail that retry.budget (%s) is used up: see the other causes", policy.Percent(s.Retry.Budget))
	case failedAttempts.Name:
		return "see the service's own log"
	}
	return ""
}

// explainPolicy says where what is enforced is not what is on disk, or not all of it.
func (q *inquiry) explainPolicy(f *findings) {
	for _, r := range q.rejections {
		for _, proxy := range r.Proxies {
			f.add(proxy, "Envoy refused this policy and goes on with the one before: "+r.Message, "mend the policy at "+r.Position.String())
		}
	}
	if q.policy.Stale {
		f.add("", "its policy on disk has an error, so the last good version is in force", "see `breakwater status`")
	}
	for _, proxy := range q.blind {
		f.add(proxy, "it has sent no load report yet, so the breaker there opens by ejections only", "see that nothing between Envoy and Breakwater cuts long streams")
	}
}
