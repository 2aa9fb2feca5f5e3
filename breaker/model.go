// Package breaker is what Breakwater concludes: the state of every circuit
// breaker, per proxy and service, and what is done to them.
//
// It asks Envoy through package envoy and tells Envoy through package xds. It
// knows nothing of how its conclusions are served: package admin does that. Its
// one invariant: a state that could not be seen is Unknown, never Closed.
package breaker

import (
	"errors"
	"time"
)

// Errors of what is asked about a breaker. They come wrapped, with the name in question.
var (
	// ErrUnknownService: no policy that is served names the service.
	ErrUnknownService = errors.New("unknown service")
	// ErrUnknownHost: the service has no host of that address.
	ErrUnknownHost = errors.New("unknown host")
	// ErrNoProxy: no proxy is connected, so that there is none to act on.
	ErrNoProxy = errors.New("no proxy is connected")
	// ErrHostNotResettable: the service's hosts are not all IP addresses, so that Envoy's
	// state of one alone can not be cleared.
	ErrHostNotResettable = errors.New("one host alone can be reset only in a service whose hosts are all IP addresses")
)

// State is the state of a circuit breaker.
type State string

// The states. A breaker is Unknown where the proxy cannot be seen.
const (
	Closed  State = "closed"
	Open    State = "open"
	Unknown State = "unknown"
)

// Breaker is one service's breaker over all proxies.
type Breaker struct {
	Service string
	// State is the gravest of the proxies' states: Open, HalfOpen, Unknown, ForcedOpen, Disabled, Closed.
	// It is Unknown if no proxy is connected.
	State State
	// Summary in words, such as "open on 2 of 12 proxies".
	Summary string
	// Overview sums up the proxies.
	Overview Overview
	// Proxies in ascending order of id; nil where only the Overview was asked for.
	Proxies []ProxyBreaker
	// Removed is true only in a change: the service is no longer served, and the fields
	// other than Service are zero.
	Removed bool
}

// ProxyBreaker is one service's breaker in one proxy.
type ProxyBreaker struct {
	Proxy string
	State State
	// Cause of the state in words; never empty for Open and Unknown.
	Cause string
	// Since is when this state was first seen.
	Since time.Time
	// Until is when an open breaker may let requests through again, or an operator's order ends: zero if there is no
	// such time.
	Until time.Time
	// Hosts in ascending order of address; empty if unknown.
	Hosts []Host
	// EjectedHosts and TotalHosts are k and n of "k of n hosts ejected".
	EjectedHosts, TotalHosts int
	// Requests and Errors are Envoy's counts of attempts at the service and of those
	// that failed (5xx, resets, timeouts, connect failures) since the cluster was
	// created in that proxy.
	Requests, Errors uint64
	// Attempts and Failures are all that the proxy has reported to this Breakwater, without those that a limit kept
	// from the service.
	Attempts, Failures uint64
	// RecentAttempts are the attempts in the window of the last window_size, and RecentErrors those of them
	// that failed. They stand still while the breaker is not closed.
	RecentAttempts, RecentErrors uint64
	// Successes of probes while the breaker is half-open.
	Successes uint64
	// Waiting is true if the breaker is half-open and no probe has been let in yet, for want of traffic.
	Waiting bool
	// Shadow is true if the breaker only observes; ShadowState is then the state that it would have.
	Shadow      bool
	ShadowState State
	// Order is what an operator has ordered; nil for nothing.
	Order *Order
	// Overloaded is true if a limit of the service is hit now.
	Overloaded bool
}

// Host is one upstream host as one proxy sees it.
type Host struct {
	// Address is ip:port.
	Address string
	// Ejected by outlier detection.
	Ejected bool
	// Unhealthy by the active health check.
	Unhealthy bool
	// Requests and Errors as in ProxyBreaker.
	Requests, Errors uint64
	// InFlight are the requests at the host now.
	InFlight uint64
}

// ResetRequest asks for a reset on all proxies.
type ResetRequest struct {
	Service string
	// Host is one host as ip:port; empty for all.
	Host string
	// Action is for the log and the events.
	Action
}

// ResetResult is what a reset did, proved by each proxy's own admin API.
type ResetResult struct {
	Service string
	// Host is the one host that was reset, as ip:port; empty for all.
	Host string
	// Pushed is false if there was nothing to clear, so that nothing was sent.
	Pushed bool
	// Generation is the generation of the cluster (or of the host) that is now in force.
	Generation uint64
	// NotSaved is why it could not be saved, though it was carried out; empty if it was. A restart before it is saved may
	// take it back.
	NotSaved string
	// Proxies in ascending order of id.
	Proxies []ProxyReset
}

// OK reports whether a proxy is connected, and every one confirmed.
func (r ResetResult) OK() bool {
	if len(r.Proxies) == 0 {
		return false
	}
	for _, p := range r.Proxies {
		if p.Error != "" {
			return false
		}
	}
	return true
}

// ProxyReset is one proxy's part in a reset.
type ProxyReset struct {
	Proxy string
	// Acknowledged is true if the proxy accepted the new generation.
	Acknowledged bool
	// From is what the proxy was told before: Closed if there was nothing to take back.
	From State
	// Before and After are the addresses of the ejected hosts before and after, as
	// Envoy's admin API reported them. A host in After was ejected again since.
	Before, After []string
	// unseen is true if Before could not be asked.
	unseen bool
	// Note says in words what Envoy reported.
	Note string
	// Error says why the reset could not be proved; empty if it was.
	Error string
}
