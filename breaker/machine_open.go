package breaker

import (
	"fmt"
	"time"
)

// lookAgain is the time between two looks for a host in rotation once the timeout is over. Envoy takes hosts
// back at a sweep each second or more often.
const lookAgain = 250 * time.Millisecond

// openState lets no request through and judges no attempt: what ends now was sent before, or,
// in shadow, is what would not have been sent. It leaves
//   - to half-open, once the timeout (times the back-off) is over and layer 1, asked then, has
//     a host in rotation. If it has none, it is asked again until it has. If it can not be
//     seen, half-open is entered all the same: that lets no more than the probes through, and an open breaker
//     must not depend on the admin API to end;
//   - to half-open before that, if every host was ejected and a passing health check has brought one back.
type openState struct {
	// lookAt is when layer 1 may be asked again; zero for at the deadline.
	lookAt time.Time
	// ejected is true if it opened because every host was ejected. Then the report of what led to that is still to come:
	// its attempts enter the window, for one to see, until reported is true.
	ejected, reported bool
}

func (*openState) name() State                { return Open }
func (*openState) permit(*Machine) Permit     { return Permit{Limited: true} }
func (*openState) until(m *Machine) time.Time { return m.since.Add(m.settings.openFor(m.reopens)) }
func (s *openState) due(m *Machine) bool      { return !m.now.Before(s.until(m)) }
func (s *openState) wake(m *Machine) time.Time {
	if u := s.until(m); u.After(s.lookAt) {
		return u
	}
	return s.lookAt
}

func (s *openState) report(m *Machine, o Observation) {
	if successes, failures := o.results(); s.ejected && !s.reported && add(successes, failures) > 0 {
		m.window.add(m.inquiries, o.Hosts)
		s.reported = true
	}
}

func (s *openState) tick(m *Machine) {
	if m.question == 0 && !m.now.Before(s.wake(m)) {
		m.ask()
	}
}

func (s *openState) answer(m *Machine, l Layer1) {
	switch {
	case s.ejected && m.settings.Unejects && m.rotation.in() > 0:
		m.probe("a host has passed its health check")
	case !s.due(m):
		// Whatever layer 1 does, the timeout holds. A question is none before the deadline, but a longer
		// timeout can have moved it since: it is asked again then.
	case l.Answer == Looked && m.rotation.in() <= 0:
		s.lookAt = m.now.Add(lookAgain)
	case l.Answer == Unavailable:
		m.probe(m.timedOut() + " (layer 1 could not be asked)")
	default:
		m.probe(m.timedOut())
	}
}

func (m *Machine) timedOut() string {
	return fmt.Sprintf("it was open for its timeout of %s", m.settings.openFor(m.reopens))
}

// probe enters half-open.
func (m *Machine) probe(cause string) {
	s := &halfOpenState{}
	if !m.settings.Shadow {
		s.before, s.doubtful = m.inFlight.N, m.inFlight.N
	}
	m.enter(s, cause)
}

// reopen goes back from half-open to open.
func (m *Machine) reopen(next *openState, cause string) {
	m.reopens++
	m.enter(next, cause)
}
