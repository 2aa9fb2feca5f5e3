package watch

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// Status is how the last attempt to load the policies ended and what is in force.
type Status struct {
	// Digest of the set in force; empty if none is.
	Digest string
	// LastAttempt and LastSuccess are zero if there was none. A success is an attempt
	// that has left no error; warnings are allowed.
	LastAttempt, LastSuccess time.Time
	// OK: the last attempt was a success.
	OK bool
	// Problems of the last attempt, errors and lint warnings; the first of them if there are many.
	Problems []policy.Problem
	// MoreProblems is how many there are beside Problems.
	MoreProblems int
	// Excerpts are the lines around each of Problems, in the files as they were read for the attempt; nil where the
	// position is not known.
	Excerpts [][]policy.SourceLine
	// Stale are the services, in ascending order, that are in force in another version
	// than the directory has or may have: there it is wrong or can't be read.
	Stale []string
	// Services is the number of services in force.
	Services int
}

func (s Status) clone() Status {
	s.Problems = slices.Clone(s.Problems)
	s.Excerpts = slices.Clone(s.Excerpts)
	s.Stale = slices.Clone(s.Stale)
	return s
}

// Status returns the present status. It may be called from any goroutine.
func (r *Reloader) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status.clone()
}

func isError(p policy.Problem) bool { return p.Severity == policy.SeverityError }

func stale(set *policy.Set, s Snapshot) []string {
	var names []string
	for _, svc := range set.Services {
		unread := slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Name == svc.Position.File })
		if svc.Stale || unread || s.Err != nil {
			names = append(names, svc.Name)
		}
	}
	return names
}

// The values of the label result of breakwater_config_reloads_total.
const (
	resultSuccess = "success" // applied, without an error
	resultPartial = "partial" // applied, and something kept its last good version or was left out
	resultFailure = "failure" // not applied
)

type metrics struct {
	successful, timestamp, hash prometheus.Gauge
	services, stale             prometheus.Gauge
	reloads                     *prometheus.CounterVec
	problems                    *prometheus.GaugeVec
}

func newMetrics() metrics {
	m := metrics{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakwater_config_last_reload_successful",
			Help: "Whether the last load of the policies left no error.",
		}),
		timestamp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakwater_config_last_reload_success_timestamp_seconds",
			Help: "Time of the last load of the policies that left no error.",
		}),
		hash: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakwater_config_hash",
			Help: "Hash of the policies in force, as a number; 0 if none are.",
		}),
		services: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakwater_config_services",
			Help: "Services in force.",
		}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "breakwater_config_stale_services",
			Help: "Services in force in an older version than the directory has, because that is wrong or can't be read.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "breakwater_config_reloads_total",
			Help: "Loads of the policies, by result: success, partial (with errors) or failure (nothing applied).",
		}, []string{"result"}),
		problems: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "breakwater_config_problems",
			Help: "Problems of the last load of the policies, by severity.",
		}, []string{"severity"}),
	}
	for _, result := range []string{resultSuccess, resultPartial, resultFailure} {
		m.reloads.WithLabelValues(result)
	}
	m.count(nil)
	return m
}

func (m metrics) register(reg prometheus.Registerer) error {
	return errors.Join(reg.Register(m.successful), reg.Register(m.timestamp), reg.Register(m.hash),
		reg.Register(m.services), reg.Register(m.stale),
		reg.Register(m.reloads), reg.Register(m.problems))
}

// set records an attempt.
func (m metrics) set(s Status, applied bool) {
	switch {
	case s.OK:
		m.successful.Set(1)
		m.timestamp.Set(float64(s.LastSuccess.UnixNano()) / 1e9)
		m.reloads.WithLabelValues(resultSuccess).Inc()
	case applied:
		m.successful.Set(0)
		m.reloads.WithLabelValues(resultPartial).Inc()
	default:
		m.successful.Set(0)
		m.reloads.WithLabelValues(resultFailure).Inc()
	}
	m.hash.Set(hashNumber(s.Digest))
	m.services.Set(float64(s.Services))
	m.stale.Set(float64(len(s.Stale)))
}

func (m metrics) count(problems []policy.Problem) {
	n := map[policy.Severity]int{policy.SeverityError: 0, policy.SeverityWarning: 0}
	for _, p := range problems {
		n[p.Severity] += 1 + p.More
	}
	for severity, count := range n {
		m.problems.WithLabelValues(string(severity)).Set(float64(count))
	}
}

// hashNumber is a hash of 48 bits: a float64 holds it exactly.
func hashNumber(digest string) float64 {
	if digest == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(digest))
	return float64(binary.BigEndian.Uint64(sum[:8]) >> 16)
}
