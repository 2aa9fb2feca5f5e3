package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

// inquiry is what is known of one service when it is to be explained: all that `status`, `proxies`, the
// metrics and the alerts are made from.
type inquiry struct {
	breaker breaker.Breaker
	// policy is the one in force, or the only one that there is.
	policy *policy.Service
	// stale is true if the version that Breakwater serves, or would serve if Envoy took it, is not the one on disk.
	stale  bool
	counts []admin.ProxyCounts
	// orders are the overrides of the service.
	orders []breaker.StandingOrder
	// health is by proxy; one that is not in it has not been asked.
	health map[string]breaker.ProxyHealth
	// windows are by proxy.
	windows map[string]breaker.Window
	// connected are the proxies that are connected.
	connected []admin.Proxy
	// missed are the proxies that are known and not connected.
	missed []admin.MissedProxy
	// config is what is wrong with the policies, of all services.
	config admin.ConfigStatus
	// events of the service, from the oldest to the newest.
	events []breaker.Event
	now    time.Time
}

// findings are what keeps requests to the service from succeeding and what else is wrong, the gravest first.
func (q *inquiry) findings() []admin.Finding {
	var f findings
	q.explainRejections(&f)
	if len(q.breaker.Proxies) == 0 {
		f.add("", "no proxy is connected, so nobody sends requests to it", "start an Envoy with the bootstrap of `breakwater bootstrap`, and see `breakwater proxies`")
	}
	for _, explain := range []func(*findings, *breaker.ProxyBreaker){
		q.inState(breaker.ForcedOpen, q.explainForcedOpen),
		q.inState(breaker.Open, q.explainOpen),
		q.explainNoHosts,
		q.inState(breaker.HalfOpen, q.explainHalfOpen),
		q.inState(breaker.Unknown, q.explainUnknown),
		q.inState(breaker.Disabled, q.explainDisabled),
		q.explainAdmin,
		q.explainFaults,
		q.explainHosts,
		q.explainOverload,
		q.inState(breaker.Closed, q.explainClosed),
		q.explainShadow,
	} {
		for i := range q.breaker.Proxies {
			explain(&f, &q.breaker.Proxies[i])
		}
	}
	for _, c := range q.counts {
		q.explainCounts(&f, c)
	}
	q.explainOrders(&f)
	q.explainLapses(&f)
	q.explainPolicy(&f)
	q.explainReports(&f)
	q.explainMissed(&f)
	q.explainStorage(&f)
	return f.list
}

// inState is an explanation of the proxies in one state.
func (q *inquiry) inState(state breaker.State, explain func(*findings, *breaker.ProxyBreaker)) func(*findings, *breaker.ProxyBreaker) {
	return func(f *findings, p *breaker.ProxyBreaker) {
		if p.State == state {
			explain(f, p)
		}
	}
}

// findings are merged where they differ in nothing but the proxy.
type findings struct{ list []admin.Finding }

// add adds a finding about a proxy or, if that is empty, about none in particular.
func (f *findings) add(proxy, what, advice string) {
	var proxies []string
	if proxy != "" {
		proxies = []string{proxy}
	}
	f.addAll(proxies, what, advice)
}

func (f *findings) addAll(proxies []string, what, advice string) {
	for i := range f.list {
		if x := &f.list[i]; x.What == what && x.Advice == advice {
			x.Proxies = slices.Compact(slices.Sorted(slices.Values(append(x.Proxies, proxies...))))
			return
		}
	}
	f.list = append(f.list, admin.Finding{Proxies: proxies, What: what, Advice: advice})
}

// explainRejections says where what is enforced is not what was asked for, because Envoy does not accept it.
func (q *inquiry) explainRejections(f *findings) {
	for i := range q.config.Rejections {
		r := &q.config.Rejections[i]
		what := "Envoy rejected this policy"
		switch {
		case r.Service == "":
			what = "Envoy rejected what all services share"
		case r.Service != q.breaker.Service:
			continue
		case r.TypeURL == "":
			what = "this policy cannot be translated for Envoy"
		case r.Partial:
			what = "Envoy rejected this policy, which other proxies accepted"
		}
		advice := "fix the policy"
		if r.Position.File != "" {
			advice += " at " + r.Position.String()
		}
		kept := what + " and goes on with the last good version: " + r.Message
		if len(r.Proxies) == 0 && len(q.breaker.Proxies) == 0 {
			f.add("", kept, advice)
		}
		for i := range q.breaker.Proxies {
			switch p := &q.breaker.Proxies[i]; {
			case !concerns(r, p.Proxy):
			case r.Partial && r.Service != "":
				f.add(p.Proxy, "requests to it fail: "+what+": "+r.Message, advice)
			case r.Service != "" && q.lacks(p):
				f.add(p.Proxy, "requests to it fail: "+p.Cause, advice)
			default:
				f.add(p.Proxy, kept, advice)
			}
		}
	}
}

// concerns reports whether a rejection is a proxy's, or everyone's: what one proxy rejects goes back on all.
func concerns(r *admin.Rejection, proxy string) bool {
	return !r.Partial || slices.Contains(r.Proxies, proxy)
}

// lacks reports whether a proxy does not have the service because its policy was rejected.
func (q *inquiry) lacks(p *breaker.ProxyBreaker) bool {
	return p.State == breaker.Unknown && q.health[p.Proxy].Reachable && slices.ContainsFunc(q.config.Rejections, func(r admin.Rejection) bool {
		return r.Service == q.breaker.Service && concerns(&r, p.Proxy)
	})
}

// explainPolicy says where what is enforced is not what is on disk, and which errors and warnings there are.
func (q *inquiry) explainPolicy(f *findings) {
	stale := q.stale || q.policy.Stale || slices.Contains(q.config.StaleServices, q.breaker.Service)
	if stale {
		f.add("", "its policy on disk has an error, so the last good version is in force", "fix the policy: see the errors below and `breakwater status`")
	}
	for _, severity := range []policy.Severity{policy.SeverityError, policy.SeverityWarning} {
		for _, p := range q.config.Problems {
			// One that belongs to no service may concern this one too.
			if p.Severity != severity || p.Service != "" && p.Service != q.breaker.Service {
				continue
			}
			what := fmt.Sprintf("a policy %s at %s", severity, p.Problem)
			if p.Rule != "" {
				what += " (" + p.Rule + ")"
			}
			f.add("", what, "")
		}
	}
}

// lateReport is the age of a load report from which on the alert LoadReportsLate speaks of it.
const lateReport = 10 * time.Second

// explainReports says of which proxies Breakwater does not hear what attempts came to.
func (q *inquiry) explainReports(f *findings) {
	for _, p := range q.breaker.Proxies {
		last := q.health[p.Proxy].LastReport
		const advice = "see that nothing between Envoy and Breakwater cuts long streams"
		if last.IsZero() {
			f.add(p.Proxy, "it has sent no load report yet, so the breaker there opens by ejections only", advice)
		} else if lag := q.now.Sub(last); lag > lateReport {
			f.add(p.Proxy, fmt.Sprintf("its last load report is %s old: until the next one the breaker there opens by ejections only", lag.Round(time.Second)), advice)
		}
	}
}

// explainStorage says what a restart of Breakwater would lose.
func (q *inquiry) explainStorage(f *findings) {
	for _, s := range q.config.StorageFaults {
		f.add("", fmt.Sprintf("Breakwater has not been able to save %s since %s, and a restart loses what is not saved: %s", s.Document, s.Since.UTC().Format(time.RFC3339), s.Error),
			"see that the state directory (--state) is writable and not full")
	}
}

// explainMissed names the proxies that are not connected.
func (q *inquiry) explainMissed(f *findings) {
	for _, p := range q.missed {
		f.add(p.ID, fmt.Sprintf("it has been disconnected for %s: what happens there cannot be seen, and it gets no change", q.now.Sub(p.Left).Round(time.Second)),
			"if it was ended for good, `breakwater forget "+p.ID+"` removes it; if it runs, see that it reaches Breakwater's xDS address")
	}
}

// explainLapses says of breakers that closed although nothing proved the service well.
func (q *inquiry) explainLapses(f *findings) {
	last := map[string]breaker.Event{}
	for _, e := range q.events {
		if e.Kind == breaker.Lapsed || e.Kind == breaker.Transitioned {
			last[e.Proxy] = e
		}
	}
	for i := range q.breaker.Proxies {
		p := &q.breaker.Proxies[i]
		if e, ok := last[p.Proxy]; ok && e.Kind == breaker.Lapsed && p.State == breaker.Closed {
			f.add(p.Proxy, fmt.Sprintf("its breaker was %s and closed at %s without a proof that the service is well: %s", e.From, e.At.UTC().Format(time.RFC3339), e.Cause),
				"see why Breakwater was away from the proxy for longer than its --lease: `breakwater events "+q.breaker.Service+"`")
		}
	}
}
