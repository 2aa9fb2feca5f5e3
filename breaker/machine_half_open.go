package breaker

import (
	"fmt"
	"math/bits"
	"time"
)

// halfOpenState lets a few requests through as probes. It leaves
//   - to closed, with an empty window, at success_threshold successes without a failure;
//   - to open, at any failure in a report, for a report has no order; the next timeout is longer by the back-off;
//   - to open, when layer 1 is seen to have ejected every host.
//
// Without traffic it waits.
//
// Requests that were in flight when it was entered hold slots of the permit, so it is
// raised by as many. A report does not say whether what ended was one of them or a probe, so each
// case is decided against letting too much through or closing too soon:
//   - A failure opens, whosever it was.
//   - As many successes as were in flight before do not count as a probe's. (Once fewer are in flight than
//     that, no more than those can still end.)
//   - The permit falls as soon as fewer are in flight than were before. It does not fall when some request has
//     ended: that is mostly a probe, since what was in flight before has outlived the
//     time the breaker was open, and a long stream would then hold the only slot. So there are never more at the service
//     than it had when half-open was entered and the probes on top.
//
// In shadow every request is let through, so there are no probes: the next success_threshold attempts are judged,
// taken from the report in proportion, to the nearest whole failure.
type halfOpenState struct {
	// successes of probes.
	successes uint64
	// before is the most requests from before that can still be in flight; doubtful is the number of successes
	// that can still be theirs.
	before, doubtful uint64
}

func (*halfOpenState) name() State              { return HalfOpen }
func (*halfOpenState) tick(*Machine)            {}
func (*halfOpenState) until(*Machine) time.Time { return time.Time{} }
func (*halfOpenState) wake(*Machine) time.Time  { return time.Time{} }

// waiting reports whether no probe has ended, and none is at the service as far as is known.
func (s *halfOpenState) waiting(m *Machine) bool {
	return s.successes == 0 && (!m.inFlight.Known || m.inFlight.N <= s.before)
}

func (s *halfOpenState) permit(m *Machine) Permit {
	return Permit{Limited: true, Max: add(m.settings.probes(), s.before)}
}

func (s *halfOpenState) report(m *Machine, o Observation) {
	successes, failures := o.results()
	if m.settings.Shadow {
		successes, failures = sample(successes, failures, m.settings.proof()-min(s.successes, m.settings.proof()))
	}
	if failures > 0 {
		m.reopen(&openState{}, fmt.Sprintf("%d of %d attempts in half-open failed", failures, add(s.successes, add(successes, failures))))
		return
	}
	if o.InFlight.Known {
		s.before = min(s.before, o.InFlight.N)
	}
	paid := min(s.doubtful, successes)
	s.doubtful = min(s.doubtful-paid, s.before)
	s.successes = add(s.successes, successes-paid)
	if s.successes >= m.settings.proof() {
		m.close(fmt.Sprintf("%d of %d attempts in half-open succeeded", s.successes, s.successes))
	}
}

func (s *halfOpenState) answer(m *Machine, _ Layer1) {
	if m.rotation.allEjected() {
		m.reopen(&openState{ejected: true}, m.rotation.words(m.settings.FailureThreshold))
	}
}

// sample returns what n attempts of a report are expected to be, to the nearest whole failure.
func sample(successes, failures, n uint64) (uint64, uint64) {
	total := add(successes, failures)
	if total <= n {
		return successes, failures
	}
	hi, lo := bits.Mul64(failures, n)
	failed, rest := bits.Div64(hi, lo, total)
	if rest >= total-rest {
		failed++
	}
	return n - failed, failed
}
