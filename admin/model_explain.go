package admin

import (
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
)

// Explanation says why requests to a service fail now.
type Explanation struct {
	Breaker breaker.Breaker
	// Findings with the gravest first; empty if nothing keeps requests from succeeding.
	Findings []Finding
	// Counts by proxy, in ascending order of id.
	Counts []ProxyCounts
	// Settings in ascending order of path; none if no policy of the service is in effect.
	Settings []policy.Setting
}

// Finding is one thing that keeps requests from succeeding.
type Finding struct {
	// Proxies in which it holds, in ascending order of id; empty if it concerns none of
	// them in particular.
	Proxies []string
	// What it is, in words.
	What string
	// Advice is what to do about it; may be empty.
	Advice string
}

// ProxyCounts is what one proxy counted of a service.
type ProxyCounts struct {
	Proxy string
	// Counts in the order in which a request meets what is counted, without those of 0.
	Counts []FailureCount
	// Error says why they could not be read; empty if they were.
	Error string
}

// FailureCount is how often requests failed in one way.
type FailureCount struct {
	// Stat is the name of Envoy's counter, without the cluster's prefix.
	Stat string
	// Flag is Envoy's response flag, such as "UO"; empty if there is none.
	Flag string
	// Meaning in plain words.
	Meaning string
	// Total since that Envoy has been counting, and Recent in the last second.
	Total, Recent uint64
}
