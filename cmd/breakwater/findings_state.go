package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

// instead is what callers get whom the breaker keeps from the service.
func (q *inquiry) instead() string {
	if q.policy.Fallback != nil {
		return "the fallback"
	}
	return "503"
}

func (q *inquiry) explainForcedOpen(f *findings, p *breaker.ProxyBreaker) {
	f.add(p.Proxy, fmt.Sprintf("an operator keeps every request from it, callers get %s: %s%s", q.instead(), p.Cause, q.ends(p.Until)), q.release(p))
}

func (q *inquiry) explainDisabled(f *findings, p *breaker.ProxyBreaker) {
	f.add(p.Proxy, fmt.Sprintf("an operator has turned the breaker off, failures reach the callers and no host is ejected: %s%s", p.Cause, q.ends(p.Until)), q.release(p))
}

func (q *inquiry) explainOpen(f *findings, p *breaker.ProxyBreaker) {
	advice := "fix the service; then `breakwater reset " + q.policy.Name + "` closes it at once"
	if !p.Until.IsZero() {
		advice += fmt.Sprintf(", or wait %s: then %s at a time may try it", remaining(p.Until, q.now), q.probes())
	}
	if len(p.Hosts) > 0 && !slices.ContainsFunc(p.Hosts, func(h breaker.Host) bool { return !h.Unhealthy || h.Ejected }) {
		advice = "fix the service: it closes by itself as soon as a host passes the health check"
	}
	f.add(p.Proxy, fmt.Sprintf("the breaker is open, callers get %s at once: %s", q.instead(), p.Cause), advice)
}

// probes is how many probes half-open lets in at a time.
func (q *inquiry) probes() string {
	return count(int(q.policy.Breaker.HalfOpenMaxRequests), "request", "requests")
}

// idleHalfOpen is how long half-open waits for a request until that is worth a word.
const idleHalfOpen = 5 * time.Second

func (q *inquiry) explainHalfOpen(f *findings, p *breaker.ProxyBreaker) {
	what := fmt.Sprintf("the breaker tries the service: %s at a time may reach it, all others get %s", q.probes(), q.instead())
	if p.Cause != "" {
		what += ": " + p.Cause
	}
	closes := fmt.Sprintf("it closes after %s and opens at the first failure", count(int(q.policy.Breaker.SuccessThreshold), "success", "successes"))
	advice := "wait: " + closes
	if p.Successes > 0 {
		what += "; " + count(int(p.Successes), "probe has", "probes have") + " succeeded"
	}
	idle := q.now.Sub(p.Since)
	busy := slices.ContainsFunc(p.Hosts, func(h breaker.Host) bool { return h.InFlight > 0 })
	if p.Successes == 0 && !busy && !p.Since.IsZero() && idle >= idleHalfOpen {
		what += fmt.Sprintf("; no request has come to try it for %s", idle.Round(time.Second))
		advice = "nothing as long as nobody calls it; send it requests to see how it is: " + closes
	} else if p.Waiting {
		what += "; it waits for traffic"
	}
	f.add(p.Proxy, what, advice)
}

const adviceAdmin = "see `breakwater proxies`: Envoy's admin API must be reachable from Breakwater"

func (q *inquiry) explainUnknown(f *findings, p *breaker.ProxyBreaker) {
	switch {
	case q.lacks(p): // its first finding
	case q.health[p.Proxy].Reachable:
		f.add(p.Proxy, "what happens there cannot be seen: "+p.Cause, "ask again in a few seconds; if it lasts, `breakwater proxies` shows what the proxy has accepted")
	default:
		f.add(p.Proxy, "what happens there cannot be seen: "+p.Cause, adviceAdmin)
	}
}

// explainAdmin says where the state is known, but not from Envoy itself.
func (q *inquiry) explainAdmin(f *findings, p *breaker.ProxyBreaker) {
	why := q.health[p.Proxy].Error
	for _, c := range q.counts {
		if c.Proxy == p.Proxy && c.Error != "" {
			why = c.Error
		}
	}
	if why == "" || p.State == breaker.Unknown && !q.health[p.Proxy].Reachable {
		return
	}
	f.add(p.Proxy, "Envoy does not answer, so its hosts and counts are those of the last answer, if there was one: "+why, adviceAdmin)
}

// explainFaults says what is wrong with the proxy, whatever the service.
func (q *inquiry) explainFaults(f *findings, p *breaker.ProxyBreaker) {
	for _, c := range q.connected {
		for _, fault := range c.Faults {
			if c.ID == p.Proxy {
				f.add(p.Proxy, "this proxy "+fault, "see `breakwater proxies`")
			}
		}
	}
}

// explainNoHosts speaks of a service that has none to send a request to, nor to eject.
func (q *inquiry) explainNoHosts(f *findings, p *breaker.ProxyBreaker) {
	if p.State == breaker.Closed && p.TotalHosts == 0 && p.Cause != "" {
		f.add(p.Proxy, p.Cause, "see that "+strings.Join(q.names(), ", ")+" resolves where Envoy runs, or correct upstream at "+q.policy.Position.String())
	}
}

// names are the upstream's hosts.
func (q *inquiry) names() []string {
	var out []string
	for _, h := range q.policy.Upstream.Hosts {
		if !slices.Contains(out, h.Name) {
			out = append(out, h.Name)
		}
	}
	return out
}

// explainHosts says which hosts are out of rotation. A closed breaker's cause says how many.
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
	cause := ""
	if p.State == breaker.Closed {
		cause = p.Cause
	}
	// Where all are, that is why the breaker is open.
	if n := len(ejected); n > 0 && (n < p.TotalHosts || p.State != breaker.Open) {
		what := cause
		if what == "" {
			what = fmt.Sprintf("%d of %s ejected", n, count(p.TotalHosts, "host", "hosts"))
		}
		cause = ""
		f.add(p.Proxy, what+": "+strings.Join(ejected, ", "), "they come back after breaker.timeout; `breakwater reset "+q.policy.Name+"` brings them back at once")
	}
	if n := len(unhealthy); n > 0 {
		what := cause
		if what == "" {
			what = fmt.Sprintf("%d of %s %s the health check", n, count(p.TotalHosts, "host", "hosts"), verb(n, "fails", "fail"))
		}
		cause = ""
		advice := "see what they answer to the health check"
		if h := q.policy.HealthCheck; h != nil {
			advice += fmt.Sprintf(" of %s (%s, at most %s)", h.Path, "every "+h.Interval.String(), h.Timeout)
		}
		f.add(p.Proxy, what+": "+strings.Join(unhealthy, ", "), advice)
	}
	if cause != "" && p.TotalHosts > 0 {
		f.add(p.Proxy, cause, "")
	}
}

// verb is that of a sentence about n things.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func (q *inquiry) explainOverload(f *findings, p *breaker.ProxyBreaker) {
	// In half-open the few probes are the limit.
	if p.Overloaded && p.State != breaker.HalfOpen {
		f.add(p.Proxy, "a limit is hit now", "raise limits, or find out why the service holds its requests so long")
	}
}

func (q *inquiry) explainClosed(f *findings, p *breaker.ProxyBreaker) {
	if p.RecentErrors > 0 {
		f.add(p.Proxy, fmt.Sprintf("%d of the last %d attempts failed", p.RecentErrors, p.RecentAttempts), q.opensAt())
	}
	if w := q.windows[p.Proxy]; w.Slow > 0 {
		what := fmt.Sprintf("%d of the last %d attempts were slow", w.Slow, w.Measured)
		advice := ""
		if c := q.policy.Breaker.SlowCall; c != nil {
			what += fmt.Sprintf(": they took longer than %s", c.Duration)
			advice = fmt.Sprintf("the breaker opens at %s of %d attempts or more", policy.Percent(c.Rate), c.MinRequests)
		}
		f.add(p.Proxy, what, advice)
	}
}

// explainShadow says what a breaker that only observes would do.
func (q *inquiry) explainShadow(f *findings, p *breaker.ProxyBreaker) {
	if p.Shadow && p.ShadowState != breaker.Closed && p.ShadowState != "" {
		f.add(p.Proxy, fmt.Sprintf("the breaker only observes (shadow: it would be %s)", p.ShadowState), "set breaker.shadow to false to have it act")
	}
}

// opensAt says what would open the breaker; empty where nothing of what it counts does.
func (q *inquiry) opensAt() string {
	b := &q.policy.Breaker
	var at []string
	if b.FailureThreshold.Set {
		at = append(at, fmt.Sprintf("%d failures of %d attempts", b.FailureThreshold.N, b.WindowSize))
	}
	if b.FailureRate.Set {
		at = append(at, fmt.Sprintf("%s of %d attempts or more", b.FailureRate, b.MinRequests))
	}
	switch {
	case b.Shadow:
		return "see the service's own log; the breaker only observes"
	case len(at) == 0:
		return "see the service's own log; failures alone do not open the breaker"
	}
	return "the breaker opens at " + strings.Join(at, ", or at ")
}

// release is the command that ends the override in a proxy.
func (q *inquiry) release(p *breaker.ProxyBreaker) string {
	proxy := ""
	if slices.ContainsFunc(q.orders, func(o breaker.StandingOrder) bool { return o.Proxy == p.Proxy }) {
		proxy = p.Proxy
	}
	return q.releaseOf(proxy)
}

func (q *inquiry) releaseOf(proxy string) string {
	command := "breakwater release " + q.policy.Name
	if proxy != "" {
		command += " --proxy " + proxy
	}
	return "`" + command + "` ends that"
}

// ends is when an override ends, for the end of a sentence.
func (q *inquiry) ends(until time.Time) string {
	if until.IsZero() {
		return "; it does not end by itself"
	}
	return "; it ends in " + remaining(until, q.now)
}

// explainOrders says which overrides are not saved, and which hold in no connected proxy.
func (q *inquiry) explainOrders(f *findings) {
	for _, o := range q.orders {
		if o.NotSaved {
			f.add(o.Proxy, fmt.Sprintf("the override %s is not saved: a restart of Breakwater ends it%s", o.State, q.ends(o.Until)),
				"see that the state directory (--state) is writable and not full")
		}
		if slices.ContainsFunc(q.breaker.Proxies, func(p breaker.ProxyBreaker) bool {
			return p.State == o.State && (o.Proxy == "" || o.Proxy == p.Proxy)
		}) {
			continue
		}
		actor, reason := o.Actor, ""
		if actor == "" {
			actor = "an operator"
		}
		if o.Reason != "" {
			reason = ": " + o.Reason
		}
		f.add(o.Proxy, fmt.Sprintf("an override stands that holds in no connected proxy: %s by %s%s%s", o.State, actor, reason, q.ends(o.Until)), q.releaseOf(o.Proxy))
	}
}
