package breaker

import (
	"math"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// Settings are what a Machine needs of a service's policy. Two of them can be compared with ==.
type Settings struct {
	// FailureThreshold is the number of failures in the window that opens.
	FailureThreshold policy.Count
	// SuccessThreshold is the number of successes in half-open that closes; 0 counts as 1.
	SuccessThreshold uint32
	// Timeout is how long the breaker stays open the first time.
	Timeout time.Duration
	// WindowSize is the number of attempts looked back on.
	WindowSize uint32
	// FailureRate is the share of failed attempts in the window that opens, if there are at least
	// MinRequests.
	FailureRate policy.Ratio
	MinRequests uint32
	// SlowRate is the share of slow attempts among those measured that opens, if at least
	// SlowMinRequests were measured. What is slow is the observer's business.
	SlowRate        policy.Ratio
	SlowMinRequests uint32
	// HalfOpenMaxRequests is the number of probes at a time; 0 counts as 1.
	HalfOpenMaxRequests uint32
	// Backoff multiplies Timeout for each consecutive re-opening; under 1 counts as 1.
	Backoff float64
	// MaxTimeout bounds Timeout times Backoff; under Timeout it counts as Timeout.
	MaxTimeout time.Duration
	// Unejects says that Envoy takes an ejected host back as soon as it passes its health check: a breaker that has
	// opened because every host was ejected then need not stay open for its timeout.
	Unejects bool
	// Shadow says that nothing is enforced: what is observed in half-open is all traffic, not
	// probes.
	Shadow bool
}

// SettingsOf returns the settings of a service's policy.
func SettingsOf(svc *policy.Service) Settings {
	b := svc.Breaker
	s := Settings{
		FailureThreshold:    b.FailureThreshold,
		SuccessThreshold:    b.SuccessThreshold,
		Timeout:             b.Timeout,
		WindowSize:          b.WindowSize,
		FailureRate:         b.FailureRate,
		MinRequests:         b.MinRequests,
		HalfOpenMaxRequests: b.HalfOpenMaxRequests,
		Backoff:             b.Backoff,
		MaxTimeout:          b.MaxTimeout,
		Unejects:            svc.HealthCheck != nil && svc.HealthCheck.Uneject,
		Shadow:              b.Shadow,
	}
	if c := b.SlowCall; c != nil {
		s.SlowRate = policy.Ratio{Share: c.Rate, Set: true}
		s.SlowMinRequests = c.MinRequests
	}
	return s
}

// openFor is how long the breaker stays open after that many consecutive re-openings.
func (s Settings) openFor(reopens uint32) time.Duration {
	longest := max(s.Timeout, s.MaxTimeout)
	d := float64(s.Timeout) * math.Pow(max(s.Backoff, 1), float64(reopens))
	if d >= float64(longest) {
		return longest
	}
	return time.Duration(d)
}

// probes is the number of probes at a time.
func (s Settings) probes() uint64 { return uint64(max(s.HalfOpenMaxRequests, 1)) }

// proof is the number of successes that closes.
func (s Settings) proof() uint64 { return uint64(max(s.SuccessThreshold, 1)) }
