package breaker

import (
	"cmp"
	"slices"
	"time"
)

// Overview is what a list of many services shows of one. Its gravest proxy is the one of the gravest state; of several,
// the one that came into it first.
type Overview struct {
	// Cause, Since and Until are those of the gravest proxy; zero if no proxy is connected.
	Cause        string
	Since, Until time.Time
	// Proxies are connected, and InState of them are in the service's state.
	Proxies, InState int
	// EjectedHosts and TotalHosts are those of the proxy that has most of them ejected.
	EjectedHosts, TotalHosts int
	// Attempts and Failures are sums over the proxies. They fall when a proxy leaves.
	Attempts, Failures uint64
	// Shadow is true if the breaker only observes in any proxy; ShadowState is then the gravest state that it would
	// have, or empty where an order goes before it.
	Shadow      bool
	ShadowState State
	// Order is the gravest proxy's or, if it has none, the first that there is, and Ordered the state that it asks for.
	// Nil: nothing is ordered in any proxy.
	Order   *Order
	Ordered State
	// Overloaded is true if a limit is hit in any proxy.
	Overloaded bool
}

// Overview sums the proxies up.
func (b Breaker) Overview() Overview {
	out := Overview{Proxies: len(b.Proxies)}
	var gravest *ProxyBreaker
	for i := range b.Proxies {
		p := &b.Proxies[i]
		if p.State == b.State {
			out.InState++
			if gravest == nil || p.Since.Before(gravest.Since) {
				gravest = p
			}
		}
		if cmp.Or(cmp.Compare(p.EjectedHosts, out.EjectedHosts), cmp.Compare(p.TotalHosts, out.TotalHosts)) > 0 {
			out.EjectedHosts, out.TotalHosts = p.EjectedHosts, p.TotalHosts
		}
		out.Attempts += p.Attempts
		out.Failures += p.Failures
		out.Shadow = out.Shadow || p.Shadow
		if p.ShadowState != "" && (out.ShadowState == "" || graver(p.ShadowState, out.ShadowState)) {
			out.ShadowState = p.ShadowState
		}
		if out.Order == nil && p.Order != nil {
			out.Order, out.Ordered = p.Order, p.State
		}
		out.Overloaded = out.Overloaded || p.Overloaded
	}
	if gravest != nil {
		out.Cause, out.Since, out.Until = gravest.Cause, gravest.Since, gravest.Until
		if gravest.Order != nil {
			out.Order, out.Ordered = gravest.Order, gravest.State
		}
	}
	return out
}

// graver reports whether a goes before b among the states of a service's proxies.
func graver(a, b State) bool { return slices.Index(gravity, a) < slices.Index(gravity, b) }
