package breaker

import (
	"fmt"
	"slices"
	"time"
)

// Overview sums up one service's breaker over all proxies: what a list of many services shows of one.
//
// Its gravest proxy is the one of the gravest state; of several, the one that came into it first; of these, the first by
// id.
type Overview struct {
	// Cause, Since and Until are those of the gravest proxy; zero if no proxy is connected.
	Cause        string
	Since, Until time.Time
	// RecentAttempts, RecentErrors and Successes are those of the gravest proxy.
	RecentAttempts, RecentErrors, Successes uint64
	// Waiting is true if all proxies in the service's state are half-open and wait for traffic, which is no trouble.
	Waiting bool
	// Proxies are connected, and InState of them are in the service's state.
	Proxies, InState int
	// EjectedHosts and TotalHosts are those of the proxy that has most of them ejected.
	EjectedHosts, TotalHosts int
	// Attempts and Failures are sums over the proxies. They fall when a proxy leaves.
	Attempts, Failures uint64
	// Shadow is true if the breaker only observes in any proxy; ShadowState is then the gravest state that it would
	// have, or empty where an override goes before it.
	Shadow      bool
	ShadowState State
	// Order is the gravest proxy's or, if it has none, the first that there is, and Ordered the state that it asks for.
	// Nil: nothing is ordered in any proxy.
	Order   *Order
	Ordered State
	// Overloaded is true if a limit is hit in any proxy.
	Overloaded bool
}

// Equal reports whether both say the same.
func (o Overview) Equal(p Overview) bool {
	if (o.Order == nil) != (p.Order == nil) || o.Order != nil && *o.Order != *p.Order {
		return false
	}
	o.Order, p.Order = nil, nil
	return o == p
}

// Gravity orders the states, the gravest first: trouble that nobody has asked for goes before what an operator wants.
var Gravity = []State{Open, HalfOpen, Unknown, ForcedOpen, Disabled, Closed}

// graver reports whether a goes before b in Gravity.
func graver(a, b State) bool { return slices.Index(Gravity, a) < slices.Index(Gravity, b) }

// fold makes an Overview of proxies that are added one at a time, in ascending order of id. It keeps none of them.
type fold struct {
	// state is the gravest so far; empty before the first proxy.
	state State
	out   Overview
	// order is the gravest proxy's; nil if it has none.
	order *Order
}

func (f *fold) add(p *ProxyBreaker) {
	o := &f.out
	first := false
	switch {
	case p.State == f.state:
		o.InState++
		o.Waiting = o.Waiting && p.Waiting
		first = p.Since.Before(o.Since)
	case f.state == "" || graver(p.State, f.state):
		f.state, o.InState, o.Waiting = p.State, 1, p.Waiting
		first = true
	}
	if first {
		f.order, o.Cause, o.Since, o.Until = p.Order, p.Cause, p.Since, p.Until
		o.RecentAttempts, o.RecentErrors, o.Successes = p.RecentAttempts, p.RecentErrors, p.Successes
	}
	if o.Order == nil && p.Order != nil {
		o.Order, o.Ordered = p.Order, p.State
	}
	o.Proxies++
	if p.EjectedHosts > o.EjectedHosts || p.EjectedHosts == o.EjectedHosts && p.TotalHosts > o.TotalHosts {
		o.EjectedHosts, o.TotalHosts = p.EjectedHosts, p.TotalHosts
	}
	o.Attempts += p.Attempts
	o.Failures += p.Failures
	o.Shadow = o.Shadow || p.Shadow
	if p.ShadowState != "" && (o.ShadowState == "" || graver(p.ShadowState, o.ShadowState)) {
		o.ShadowState = p.ShadowState
	}
	o.Overloaded = o.Overloaded || p.Overloaded
}

// breaker is the service's, without its proxies.
func (f *fold) breaker(service string) Breaker {
	b := Breaker{Service: service, State: Unknown, Summary: "no proxy is connected", Overview: f.out}
	if f.out.Proxies == 0 {
		return b
	}
	plural := "proxies"
	if f.out.Proxies == 1 {
		plural = "proxy"
	}
	b.State, b.Summary = f.state, fmt.Sprintf("%s on %d of %d %s", f.state, f.out.InState, f.out.Proxies, plural)
	if f.order != nil {
		b.Overview.Order, b.Overview.Ordered = f.order, f.state
	}
	return b
}

// NewBreaker sums up proxies, which must be in ascending order of id, and keeps them.
func NewBreaker(service string, proxies []ProxyBreaker) Breaker {
	var f fold
	for i := range proxies {
		f.add(&proxies[i])
	}
	b := f.breaker(service)
	b.Proxies = proxies
	return b
}
