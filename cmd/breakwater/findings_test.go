package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

func policyOf(t *testing.T, document string) *policy.Service {
	t.Helper()
	set, problems := policy.Build([]policy.File{{Name: "a.yaml", Data: []byte(document)}}, func(string) (string, bool) { return "", false }, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set.Services[0]
}

const plainPolicy = "service: a\nupstream: http://10.0.0.1:80\n"

func countOf(stat string, recent uint64) admin.FailureCount {
	n := admin.FailureCount{Stat: stat, Total: recent + 10, Recent: recent}
	for _, s := range append([]envoy.FailureStat{failedAttempts}, envoy.FailureStats...) {
		if s.Name == stat {
			n.Flag, n.Meaning = s.Flag, s.Meaning
		}
	}
	return n
}

func TestFindings(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	in := func(state breaker.State) breaker.ProxyBreaker { return breaker.ProxyBreaker{Proxy: "p", State: state} }
	for _, tt := range []struct {
		name    string
		policy  string
		proxies []breaker.ProxyBreaker
		ask     func(*inquiry)
		want    []string
	}{
		{name: "nothing", proxies: []breaker.ProxyBreaker{in(breaker.Closed)}},
		{name: "no proxy", want: []string{"no proxy is connected, so nobody sends requests to it | start an Envoy with the bootstrap of `breakwater bootstrap`, and see `breakwater proxies`"}},
		{
			name: "open, all hosts ejected", proxies: []breaker.ProxyBreaker{{
				Proxy: "p", State: breaker.Open, Cause: "1 of 1 host ejected", Until: now.Add(12 * time.Second),
				Hosts: []breaker.Host{{Address: "10.0.0.1:80", Ejected: true}}, EjectedHosts: 1, TotalHosts: 1,
			}},
			want: []string{"p: the breaker is open, callers get 503 at once: 1 of 1 host ejected | mend the service; then `breakwater reset a` closes it at once, or wait 12s: then 1 request at a time may try it"},
		},
		{
			name: "open with a fallback, on two proxies", policy: plainPolicy + "fallback: {status: 200}\nbreaker: {half_open: {max_requests: 3}}\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Open, Cause: "x"}, {Proxy: "q", State: breaker.Open, Cause: "x"}},
			want:    []string{"p, q: the breaker is open, callers get the fallback at once: x | mend the service; then `breakwater reset a` closes it at once"},
		},
		{
			name: "the gravest first", proxies: []breaker.ProxyBreaker{
				{Proxy: "a", State: breaker.Disabled, Cause: "disabled by ann"},
				{Proxy: "b", State: breaker.Unknown, Cause: "connection refused"},
				{Proxy: "c", State: breaker.HalfOpen, Successes: 1},
				{Proxy: "d", State: breaker.ForcedOpen, Cause: "forced open by ann: drill", Until: now.Add(time.Minute)},
			},
			ask: func(q *inquiry) { q.own = map[string]bool{"d": true} },
			want: []string{
				"d: an operator keeps every request from it, callers get 503: forced open by ann: drill; it ends in 1m | `breakwater release a --proxy d` ends that",
				"c: the breaker tries the service: 1 request at a time may reach it, all others get 503 | wait: it closes after 2 successes (1 so far) and opens at the first failure",
				"b: what happens there can not be seen: connection refused | see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater",
				"a: an operator has turned the breaker off, failures reach the callers and no host is ejected: disabled by ann | `breakwater release a` ends that",
			},
		},
		{
			name: "failures before it opens", policy: plainPolicy + "breaker: {failure_rate: 50%}\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Closed, RecentErrors: 3, RecentAttempts: 37}},
			want:    []string{"p: 3 of the last 37 attempts failed | the breaker opens at 5 failures of 100 attempts, or at 50% of 20 attempts or more"},
		},
		{
			name: "shadow", policy: plainPolicy + "breaker: {shadow: true}\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Closed, Shadow: true, ShadowState: breaker.Open}},
			want:    []string{"p: the breaker would be open, but it only observes | set breaker.shadow to false to have it act"},
		},
		{
			name: "hosts and limits", proxies: []breaker.ProxyBreaker{{
				Proxy: "p", State: breaker.Closed, Overloaded: true, EjectedHosts: 1, TotalHosts: 3,
				Hosts: []breaker.Host{{Address: "x", Ejected: true}, {Address: "y", Unhealthy: true}, {Address: "z"}},
			}},
			want: []string{
				"p: 1 of 3 hosts is ejected after failures in a row: x | they come back after breaker.timeout; `breakwater reset a` brings them back at once",
				"p: 1 of 3 hosts fails the health check: y | see what they answer to the health check's path",
				"p: a limit of the service is hit now | raise limits, or find out why the service holds its requests so long",
			},
		},
		{
			name: "what grows, and nothing twice", proxies: []breaker.ProxyBreaker{in(breaker.Closed)},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Counts: []admin.FailureCount{
					countOf("upstream_rq_active_overflow", 0), countOf("upstream_cx_connect_fail", 5), countOf("upstream_rq_pending_failure_eject", 5),
					countOf("upstream_rq_timeout", 1), countOf("rq_error", 7),
				}}}
			},
			want: []string{
				"p: in the last second, 5 times: a connection to a host could not be opened | see whether the service runs at 10.0.0.1:80",
				"p: in the last second, 1 time: a request was given up: its time was over | the service takes longer than timeout.request (30s)",
				"p: in the last second, 1 time: an attempt failed in any way: a 5xx, a reset, a timeout, no connection | see the service's own log",
			},
		},
		{
			name: "probes that are refused are no overload", proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.HalfOpen, Overloaded: true}},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Counts: []admin.FailureCount{countOf("upstream_rq_active_overflow", 9), countOf("upstream_rq_maintenance_mode", 9)}}}
			},
			want: []string{"p: the breaker tries the service: 1 request at a time may reach it, all others get 503 | wait: it closes after 2 successes (0 so far) and opens at the first failure"},
		},
		{
			name: "what can not be seen, and the policy", proxies: []breaker.ProxyBreaker{in(breaker.Closed)},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Error: "connection refused"}}
				q.blind = []string{"p"}
				q.rejections = []admin.Rejection{{Proxies: []string{"p"}, Message: "bad regex", Position: policy.Position{File: "a.yaml", Line: 1, Column: 2}}}
				stale := *q.policy
				stale.Stale = true
				q.policy = &stale
			},
			want: []string{
				"p: Envoy's counts can not be read: connection refused | ",
				"p: Envoy refused this policy and goes on with the one before: bad regex | mend the policy at a.yaml:1:2",
				"its policy on disk has an error, so the last good version is in force | see `breakwater status`",
				"p: it has sent no load report yet, so the breaker there opens by ejections only | see that nothing between Envoy and Breakwater cuts long streams",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			document := tt.policy
			if document == "" {
				document = plainPolicy
			}
			q := &inquiry{breaker: breaker.Breaker{Service: "a", Proxies: tt.proxies}, policy: policyOf(t, document), now: now}
			if tt.ask != nil {
				tt.ask(q)
			}
			var got []string
			for _, f := range q.findings() {
				line := f.What + " | " + f.Advice
				if len(f.Proxies) > 0 {
					line = strings.Join(f.Proxies, ", ") + ": " + line
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryFailureHasAdvice: an operator is told what to do about each of Envoy's counters but
// those that the breaker's state explains.
func TestEveryFailureHasAdvice(t *testing.T) {
	q := &inquiry{policy: policyOf(t, plainPolicy)}
	for _, s := range append([]envoy.FailureStat{failedAttempts}, envoy.FailureStats...) {
		if s.Name != "upstream_rq_maintenance_mode" && q.advice(s.Name) == "" {
			t.Errorf("no advice for %s", s.Name)
		}
	}
}

func TestGrowth(t *testing.T) {
	b := breaker.Breaker{Proxies: []breaker.ProxyBreaker{{Proxy: "begun anew"}, {Proxy: "gone"}, {Proxy: "grown"}, {Proxy: "new"}}}
	count := func(n uint64) failed {
		return failed{counts: map[string]uint64{"upstream_rq_timeout": n, "upstream_rq_rx_reset": 0}}
	}
	got := growth(
		map[string]failed{"begun anew": count(10), "gone": count(1), "grown": count(10)},
		map[string]failed{"begun anew": count(3), "gone": {err: "refused"}, "grown": count(12), "new": count(5)}, b)
	var text []string
	for _, c := range got {
		for _, n := range c.Counts {
			text = append(text, fmt.Sprintf("%s: %s %d %d", c.Proxy, n.Flag, n.Total, n.Recent))
		}
		if c.Error != "" {
			text = append(text, c.Proxy+": "+c.Error)
		}
	}
	want := []string{"begun anew: UT 3 3", "gone: refused", "grown: UT 12 2", "new: UT 5 0"}
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
