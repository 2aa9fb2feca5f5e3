package breaker

import (
	"fmt"
	"strconv"
	"time"
)

// closedState lets every request through. It leaves
//   - to open, when layer 1 is seen to have ejected every host;
//   - to open, when the window reaches a criterion: failure_threshold, failure_rate or slow_call.
//
// A report with failures asks layer 1 first, and its failures count only once the question
// is answered: those of an ejected host are then out of the window for good, for layer 1 has dealt with
// them. If layer 1 can not be seen, all failures count. Slow attempts are not known by host and need no answer.
type closedState struct{}

func (closedState) name() State              { return Closed }
func (closedState) tick(*Machine)            {}
func (closedState) permit(*Machine) Permit   { return Permit{} }
func (closedState) until(*Machine) time.Time { return time.Time{} }
func (closedState) wake(*Machine) time.Time  { return time.Time{} }

func (closedState) report(m *Machine, o Observation) {
	if _, failures := o.results(); failures > 0 {
		m.ask()
	}
	m.window.add(m.inquiries, o.Hosts)
	if m.settings.SlowRate.Set && o.Slow.Measured > 0 {
		slow := min(o.Slow.Slow, o.Slow.Measured)
		m.slow.add(0, []HostResults{{Successes: o.Slow.Measured - slow, Failures: slow}})
	}
	m.judge()
}

func (closedState) answer(m *Machine, l Layer1) {
	if m.rotation.allEjected() {
		m.enter(&openState{ejected: true}, m.rotation.words(m.settings.FailureThreshold))
		return
	}
	if len(l.Ejected) > 0 {
		m.window.discount(l.Ejected)
	}
	m.judge()
}

// judge opens if what is in the window reaches a criterion. Failures that no answer of layer 1
// covers yet are attempts, but do not count as failures.
func (m *Machine) judge() {
	if cause := m.tripped(); cause != "" {
		m.enter(&openState{}, cause)
	}
}

// tripped is the criterion that is reached, in words, or empty.
func (m *Machine) tripped() string {
	s, w := &m.settings, &m.window
	failures := w.failures
	if m.answered < m.inquiries {
		failures -= w.failuresAfter(m.answered)
	}
	if s.FailureThreshold.Set && failures >= uint64(s.FailureThreshold.N) && failures > 0 {
		return lastAttempts(failures, w.attempts, "failed") + m.unseen()
	}
	if s.FailureRate.Set && reached(failures, w.attempts, s.FailureRate.Share, s.MinRequests) {
		return lastAttempts(failures, w.attempts, "failed") + ": " + rate("failure_rate", s.FailureRate.Share) + m.unseen()
	}
	if s.SlowRate.Set && reached(m.slow.failures, m.slow.attempts, s.SlowRate.Share, s.SlowMinRequests) {
		return lastAttempts(m.slow.failures, m.slow.attempts, "were slow") + ": " + rate("slow_call.rate", s.SlowRate.Share)
	}
	return ""
}

// unseen says so if layer 1 was not seen.
func (m *Machine) unseen() string {
	if m.rotation.Known {
		return ""
	}
	return " (layer 1 could not be asked)"
}

// reached reports whether the share of k in n is at least share, and n at least atLeast. It divides, because
// a share such as 0.07 is the quotient 7/100 exactly as rounded, and 0.07*100 is over 7.
func reached(k, n uint64, share float64, atLeast uint32) bool {
	return k > 0 && n >= uint64(atLeast) && float64(k)/float64(n) >= share
}

func lastAttempts(k, n uint64, what string) string {
	return fmt.Sprintf("%d of the last %d attempts %s", k, n, what)
}

func rate(name string, share float64) string {
	return name + " is " + strconv.FormatFloat(share*100, 'g', 6, 64) + "%"
}
