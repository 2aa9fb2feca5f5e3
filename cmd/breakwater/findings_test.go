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
	for _, s := range append([]envoy.FailureStat{failedAttempts, envoy.Abandoned}, envoy.FailureStats...) {
		if s.Name == stat {
			n.Flag, n.Meaning = s.Flag, s.Meaning
		}
	}
	return n
}

// asked is what is known of the service a where nothing is wrong but with these proxies.
func asked(p *policy.Service, now time.Time, proxies ...breaker.ProxyBreaker) *inquiry {
	q := &inquiry{breaker: breaker.Breaker{Service: "a", Proxies: proxies}, policy: p, health: map[string]breaker.ProxyHealth{}, now: now}
	for _, p := range proxies {
		q.health[p.Proxy] = breaker.ProxyHealth{Reachable: true, LastReport: now}
	}
	return q
}

// said has the findings, one a line.
func said(q *inquiry) []string {
	var out []string
	for _, f := range q.findings() {
		line := f.What + " | " + f.Advice
		if len(f.Proxies) > 0 {
			line = strings.Join(f.Proxies, ", ") + ": " + line
		}
		out = append(out, line)
	}
	return out
}

func TestFindings(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	closed := breaker.ProxyBreaker{Proxy: "p", State: breaker.Closed}
	for _, tt := range []struct {
		name    string
		policy  string
		proxies []breaker.ProxyBreaker
		ask     func(*inquiry)
		want    []string
	}{
		{name: "nothing", proxies: []breaker.ProxyBreaker{closed}},
		{name: "no proxy", want: []string{"no proxy is connected, so nobody sends requests to it | start an Envoy with the bootstrap of `breakwater bootstrap`, and see `breakwater proxies`"}},
		{
			name: "open, all hosts ejected", proxies: []breaker.ProxyBreaker{{
				Proxy: "p", State: breaker.Open, Cause: "1 of 1 host ejected", Until: now.Add(12 * time.Second),
				Hosts: []breaker.Host{{Address: "10.0.0.1:80", Ejected: true}}, EjectedHosts: 1, TotalHosts: 1,
			}},
			want: []string{"p: the breaker is open, callers get 503 at once: 1 of 1 host ejected | fix the service; then `breakwater reset a` closes it at once, or wait 12s: then 1 request at a time may try it"},
		},
		{
			name: "open with a fallback, on two proxies", policy: plainPolicy + "fallback: {status: 200}\nbreaker: {half_open: {max_requests: 3}}\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Open, Cause: "x"}, {Proxy: "q", State: breaker.Open, Cause: "x"}},
			want:    []string{"p, q: the breaker is open, callers get the fallback at once: x | fix the service; then `breakwater reset a` closes it at once"},
		},
		{
			name: "the gravest first", proxies: []breaker.ProxyBreaker{
				{Proxy: "a", State: breaker.Disabled, Cause: "disabled by ann"},
				{Proxy: "b", State: breaker.Unknown, Cause: "connection refused"},
				{Proxy: "c", State: breaker.HalfOpen, Successes: 1},
				{Proxy: "d", State: breaker.ForcedOpen, Cause: "forced open by ann: drill", Until: now.Add(time.Minute)},
			},
			ask: func(q *inquiry) {
				q.health["b"] = breaker.ProxyHealth{Error: "connection refused", LastReport: q.now}
				q.orders = []breaker.StandingOrder{{Proxy: "d", State: breaker.ForcedOpen}, {State: breaker.Disabled}}
			},
			want: []string{
				"d: an operator keeps every request from it, callers get 503: forced open by ann: drill; it ends in 1m | `breakwater release a --proxy d` ends that",
				"c: the breaker tries the service: 1 request at a time may reach it, all others get 503; 1 probe has succeeded | wait: it closes after 2 successes and opens at the first failure",
				"b: what happens there cannot be seen: connection refused | see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater",
				"a: an operator has turned the breaker off, failures reach the callers and no host is ejected: disabled by ann; it does not end by itself | `breakwater release a` ends that",
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
			want:    []string{"p: the breaker only observes (shadow: it would be open) | set breaker.shadow to false to have it act"},
		},
		{
			name: "hosts and limits", proxies: []breaker.ProxyBreaker{{
				Proxy: "p", State: breaker.Closed, Overloaded: true, EjectedHosts: 1, TotalHosts: 3,
				Hosts: []breaker.Host{{Address: "x", Ejected: true}, {Address: "y", Unhealthy: true}, {Address: "z"}},
			}},
			want: []string{
				"p: 1 of 3 hosts ejected: x | they come back after breaker.timeout; `breakwater reset a` brings them back at once",
				"p: 1 of 3 hosts fails the health check: y | see what they answer to the health check",
				"p: a limit is hit now | raise limits, or find out why the service holds its requests so long",
			},
		},
		{
			name: "what grows, and nothing twice", proxies: []breaker.ProxyBreaker{closed},
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
			want: []string{"p: the breaker tries the service: 1 request at a time may reach it, all others get 503 | wait: it closes after 2 successes and opens at the first failure"},
		},
		{
			name: "its name does not resolve", policy: "service: a\nupstream: no-such-host.invalid:80\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Closed, Cause: "the service has no hosts: its name does not resolve, so every request fails"}},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Counts: []admin.FailureCount{countOf("upstream_cx_none_healthy", 5)}}}
			},
			want: []string{"p: the service has no hosts: its name does not resolve, so every request fails | see that no-such-host.invalid resolves where Envoy runs, or correct upstream at a.yaml:1:1"},
		},
		{
			name: "all hosts fail the health check", policy: plainPolicy + "health_check: {path: /health}\n",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Open, Cause: "the only host fails its health check", Hosts: []breaker.Host{{Address: "x", Unhealthy: true}}, TotalHosts: 1, Until: now.Add(time.Minute)}},
			want: []string{
				"p: the breaker is open, callers get 503 at once: the only host fails its health check | fix the service: it closes by itself as soon as a host passes the health check",
				"p: 1 of 1 host fails the health check: x | see what they answer to the health check of /health (every 10s, at most 2s)",
			},
		},
		{
			name: "half-open waits for a request", proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.HalfOpen, Cause: "it was open for its timeout of 1m", Since: now.Add(-21 * time.Minute)}},
			want: []string{"p: the breaker tries the service: 1 request at a time may reach it, all others get 503: it was open for its timeout of 1m; no request has come to try it for 21m0s | nothing as long as nobody calls it; send it requests to see how it is: it closes after 2 successes and opens at the first failure"},
		},
		{
			name: "a probe under way", proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.HalfOpen, Since: now.Add(-21 * time.Minute), Hosts: []breaker.Host{{InFlight: 1}}, TotalHosts: 1}},
			want: []string{"p: the breaker tries the service: 1 request at a time may reach it, all others get 503 | wait: it closes after 2 successes and opens at the first failure"},
		},
		{
			name: "slow calls", policy: plainPolicy + "breaker: {slow_call: {duration: 2s, rate: 50%}}\n", proxies: []breaker.ProxyBreaker{closed},
			ask:  func(q *inquiry) { q.windows = map[string]breaker.Window{"p": {Measured: 20, Slow: 3}} },
			want: []string{"p: 3 of the last 20 attempts were slow: they took longer than 2s | the breaker opens at 50% of 20 attempts or more"},
		},
		{
			name: "budget, panic and callers that leave", proxies: []breaker.ProxyBreaker{closed},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Counts: []admin.FailureCount{countOf("lb_healthy_panic", 1), countOf("upstream_rq_retry_overflow", 2), countOf("proxy_abandoned_total", 3)}}}
			},
			want: []string{
				"p: in the last second, 1 time: a request went to a host that is out of rotation (panic mode) | no breaker holds in panic mode, which Breakwater's clusters switch off: see what has changed this one on its way to Envoy",
				"p: in the last second, 2 times: a retry was not made: the retry budget was used up | so many fail that retry.budget (20%) is used up: see the other causes",
				"p: in the last second, 3 times: a caller left before there was an answer | the service is slower than its callers wait, or hangs: see `breakwater status a` and its own log",
			},
		},
		{
			name:    "a rejected policy goes first",
			proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Unknown, Cause: "the proxy does not have this service: its policy at a.yaml:1:2 was rejected: bad regex"}, {Proxy: "q", State: breaker.Open, Cause: "x"}},
			ask: func(q *inquiry) {
				q.config.Rejections = []admin.Rejection{
					{Service: "other", TypeURL: "cluster", Proxies: []string{"p"}, Message: "not this one"},
					{Service: "a", TypeURL: "cluster", Proxies: []string{"p", "q"}, Message: "bad regex", Position: policy.Position{File: "a.yaml", Line: 1, Column: 2}},
				}
			},
			want: []string{
				"p: requests to it fail: the proxy does not have this service: its policy at a.yaml:1:2 was rejected: bad regex | fix the policy at a.yaml:1:2",
				"q: Envoy rejected this policy and goes on with the last good version: bad regex | fix the policy at a.yaml:1:2",
				"q: the breaker is open, callers get 503 at once: x | fix the service; then `breakwater reset a` closes it at once",
			},
		},
		{
			name: "an untranslatable policy, and another's rejection", proxies: []breaker.ProxyBreaker{closed},
			ask: func(q *inquiry) {
				q.config.Rejections = []admin.Rejection{{Service: "a", Message: "too long"}, {TypeURL: "listener", Proxies: []string{"p"}, Message: "bad address", Position: policy.Position{File: "gateway.yaml"}}}
			},
			want: []string{
				"p: this policy cannot be translated for Envoy and goes on with the last good version: too long | fix the policy",
				"p: Envoy rejected what all services share and goes on with the last good version: bad address | fix the policy at gateway.yaml",
			},
		},
		{
			name: "what cannot be seen", proxies: []breaker.ProxyBreaker{closed, {Proxy: "q", State: breaker.Unknown, Cause: "connection refused"}, {Proxy: "r", State: breaker.Unknown, Cause: "the proxy does not have this service (yet)"}},
			ask: func(q *inquiry) {
				q.counts = []admin.ProxyCounts{{Proxy: "p", Error: "no answer"}, {Proxy: "q", Error: "connection refused"}}
				q.health = map[string]breaker.ProxyHealth{"p": {Reachable: true}, "q": {Error: "connection refused", LastReport: q.now.Add(-12 * time.Second)}, "r": {Reachable: true, LastReport: q.now}}
				q.disconnected = []admin.DisconnectedProxy{{ID: "s", Since: q.now.Add(-2 * time.Minute)}}
			},
			want: []string{
				"q: what happens there cannot be seen: connection refused | see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater",
				"r: what happens there cannot be seen: the proxy does not have this service (yet) | ask again in a few seconds; if it lasts, `breakwater proxies` shows what the proxy has accepted",
				"p: Envoy does not answer, so its hosts and counts are those of the last answer, if there was one: no answer | see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater",
				"p: it has sent no load report yet, so the breaker there opens by ejections only | see that nothing between Envoy and Breakwater cuts long streams",
				"q: its last load report is 12s old: until the next one the breaker there opens by ejections only | see that nothing between Envoy and Breakwater cuts long streams",
				"s: it has been disconnected for 2m0s: what happens there cannot be seen, and it gets no change | if it was ended for good, `breakwater forget s` removes it; if it runs, see that it reaches Breakwater's xDS address",
			},
		},
		{
			name: "the policy on disk", proxies: []breaker.ProxyBreaker{closed},
			ask: func(q *inquiry) {
				problem := func(severity policy.Severity, service, rule string) admin.Problem {
					return admin.Problem{Problem: policy.Problem{Severity: severity, Service: service, Rule: rule, Path: "retry", Message: "is wrong", Position: policy.Position{File: service + ".yaml", Line: 1, Column: 2}}}
				}
				q.config.StaleServices = []string{"a"}
				q.config.Problems = []admin.Problem{
					problem(policy.SeverityWarning, "a", "some-rule"), problem(policy.SeverityError, "a", ""),
					problem(policy.SeverityError, "other", ""), problem(policy.SeverityError, "", ""),
				}
			},
			want: []string{
				"its policy on disk has an error, so the last good version is in force | fix the policy: see the errors below and `breakwater status`",
				"a policy error at a.yaml:1:2: retry: is wrong | ",
				"a policy error at .yaml:1:2: retry: is wrong | ",
				"a policy warning at a.yaml:1:2: retry: is wrong (some-rule) | ",
			},
		},
		{
			name: "overrides that no proxy is under", proxies: []breaker.ProxyBreaker{closed},
			ask: func(q *inquiry) {
				q.orders = []breaker.StandingOrder{{Service: "a", Proxy: "gone", State: breaker.ForcedOpen, Order: breaker.Order{Action: breaker.Action{Actor: "ann", Reason: "drill"}, Until: now.Add(time.Minute)}}}
			},
			want: []string{"gone: an override stands that holds in no connected proxy: forced_open by ann: drill; it ends in 1m | `breakwater release a --proxy gone` ends that"},
		},
		{
			name: "what is not saved, and a proxy that is too old", proxies: []breaker.ProxyBreaker{{Proxy: "p", State: breaker.Disabled, Cause: "disabled by ann", Until: now.Add(time.Minute)}},
			ask: func(q *inquiry) {
				q.orders = []breaker.StandingOrder{{Service: "a", State: breaker.Disabled, NotSaved: true, Order: breaker.Order{Until: now.Add(time.Minute)}}}
				q.connected = []admin.Proxy{{ID: "p", Faults: []string{"is too old"}}, {ID: "q", Faults: []string{"is too old"}}}
				q.config.StorageFaults = []admin.StorageFault{
					{Document: "orders", Error: "no space left on device", Since: now},
					{Document: "state.db", Error: "it is corrupt", Since: now, Corrupt: true},
				}
			},
			want: []string{
				"p: an operator has turned the breaker off, failures reach the callers and no host is ejected: disabled by ann; it ends in 1m | `breakwater release a` ends that",
				"p: this proxy is too old | see `breakwater proxies`",
				"the override disabled is not saved: a restart of Breakwater ends it; it ends in 1m | see that the state directory (--state) is writable and not full",
				"Breakwater has not been able to save orders since 2026-03-04T05:06:07Z, and a restart loses what is not saved: no space left on device | see that the state directory (--state) is writable and not full",
				"Breakwater could not read all of state.db at 2026-03-04T05:06:07Z, such as overrides that were in force: it is corrupt | see `breakwater status` for what is in force now",
			},
		},
		{
			name: "a lease that expired", proxies: []breaker.ProxyBreaker{closed, {Proxy: "q", State: breaker.Closed}},
			ask: func(q *inquiry) {
				lapse := breaker.Event{Kind: breaker.Lapsed, From: breaker.Open, To: breaker.Closed, At: now, Cause: "its lease expired"}
				p, other := lapse, lapse
				p.Proxy, other.Proxy = "p", "q"
				q.events = []breaker.Event{p, other, {Kind: breaker.Transitioned, Proxy: "q"}, {Kind: breaker.HostEjected, Proxy: "p"}}
			},
			want: []string{"p: its breaker was open and closed at 2026-03-04T05:06:07Z without a proof that the service is well: its lease expired | see why Breakwater was away from the proxy for longer than its --lease: `breakwater events a`"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			document := tt.policy
			if document == "" {
				document = plainPolicy
			}
			q := asked(policyOf(t, document), now, tt.proxies...)
			if tt.ask != nil {
				tt.ask(q)
			}
			got := said(q)
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
	for _, s := range append([]envoy.FailureStat{failedAttempts, envoy.Abandoned}, envoy.FailureStats...) {
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
