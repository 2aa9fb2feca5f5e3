package breaker

import "time"

// Machine is the circuit breaker of one service in one proxy: a pure state machine. It has
// no lock, no clock and does no I/O; its caller serialises the calls, says what time it is, and acts on what
// the machine concludes: it enforces Permit, answers Question, and calls Tick at Wake.
//
// Each state is a type whose comments state which transitions leave it. Every call
// returns the transitions that it caused, in order: each one's From is the To of the one before.
//
// Time never runs backwards in a machine: a time before one that it was told already is taken as
// that one.
type Machine struct {
	settings   Settings
	generation uint64
	now        time.Time

	// state, since and cause are what the proxy is told, whether it can be seen or not.
	state state
	since time.Time
	cause string
	// loss is set while the proxy can not be seen.
	loss *Loss

	// reopens counts the times the breaker went back from half-open to open since it was closed.
	reopens uint32
	// window has the attempts that are looked back on, slow those of them that were
	// measured. They fill while the breaker is closed, and stand still otherwise but for the report
	// of what led to the ejections that have opened it, so that one can see what did.
	window, slow window

	// inquiries numbers the questions asked of layer 1, and with them the reports with failures.
	// question is the one that has no answer yet, or 0; answered is the last that has.
	inquiries, question, answered uint64
	// rotation is what layer 1 was last seen to do.
	rotation Rotation
	inFlight Gauge

	attempts, failures uint64

	// transitions of the call that is running.
	transitions []Transition
}

// New returns a machine that is closed and has seen nothing. The generation is that of the
// first observations.
func New(s Settings, at time.Time, generation uint64) *Machine {
	m := &Machine{settings: s, generation: generation, now: at, since: at, state: closedState{}}
	m.window.resize(s.WindowSize)
	m.slow.resize(s.WindowSize)
	return m
}

// Configure changes the settings. The state stays; what is in the window beyond a smaller
// size leaves it; a deadline that is running is moved as the new timeout says; new
// thresholds are applied to the next observation.
func (m *Machine) Configure(s Settings) {
	m.settings = s
	m.window.resize(s.WindowSize)
	m.slow.resize(s.WindowSize)
	if !s.SlowRate.Set {
		m.slow.clear()
	}
}

// Observe takes an observation in: first the time (as Tick does), then the attempts that it reports,
// then what layer 1 was seen to do. An observation of an older generation changes nothing at all;
// one of a newer generation is taken in, and the machine is of that generation
// from then on. Whatever was seen proves that the proxy can be seen; a look that failed does not.
func (m *Machine) Observe(o Observation) []Transition {
	if o.Generation < m.generation {
		return nil
	}
	if o.Generation > m.generation {
		m.generation = o.Generation
		m.rotation = Rotation{} // the cluster was replaced, and its ejections with it
	}
	m.advance(o.At)
	if o.saw() {
		m.resume()
	}
	m.state.tick(m)

	successes, failures := o.results()
	m.attempts = add(m.attempts, add(successes, failures))
	m.failures = add(m.failures, failures)
	if o.InFlight.Known {
		m.inFlight = o.InFlight
	}
	m.state.report(m, o)
	if o.Layer1.Answer != NotAsked {
		m.answer(o.Layer1)
	}
	return m.drain()
}

// Tick says that time has passed: what is due happens. Wake says when the next thing is.
func (m *Machine) Tick(at time.Time) []Transition {
	m.advance(at)
	m.state.tick(m)
	return m.drain()
}

// Reset closes the breaker, empties the window and clears an operator's order. The generation
// becomes the one given or, if that is not newer, the next, so that what was observed before
// changes nothing any more.
func (m *Machine) Reset(at time.Time, by Action, generation uint64) []Transition {
	m.advance(at)
	m.generation = max(generation, m.generation+1)
	m.restart("reset " + by.words())
	return m.drain()
}

// Lost says that the proxy can not be seen, and why. The state is Unknown until Seen or Observe.
// What the proxy is told stays, and time and operators go on changing it; these changes make no
// transitions of their own, but are told with the cause of the transition that ends Unknown.
func (m *Machine) Lost(at time.Time, cause string) []Transition {
	m.advance(at)
	if m.loss != nil {
		m.loss.Cause = cause
		return nil
	}
	from := m.state.name()
	m.loss = &Loss{Since: m.now, Cause: cause, Told: from}
	m.transitions = append(m.transitions, Transition{From: from, To: Unknown, At: m.now, Cause: cause})
	return m.drain()
}

// Seen says that the proxy can be seen, though there is nothing to report of the service.
func (m *Machine) Seen(at time.Time) []Transition {
	m.advance(at)
	m.resume()
	m.state.tick(m)
	return m.drain()
}

// Lapse says that the lease of what the proxy was told ran out there while nobody renewed it: an
// automatic state becomes closed with an empty window. An operator's order is kept, for it
// has a life of its own.
func (m *Machine) Lapse(at time.Time) []Transition {
	m.advance(at)
	if _, ordered := m.Order(); !ordered {
		m.restart("its lease in the proxy ran out while nobody renewed it")
	}
	return m.drain()
}

// State is Unknown while the proxy can not be seen, otherwise what it is told.
func (m *Machine) State() State {
	if m.loss != nil {
		return Unknown
	}
	return m.state.name()
}

// Told is the state that the proxy is told: never Unknown.
func (m *Machine) Told() State { return m.state.name() }

// Since is when State became what it is.
func (m *Machine) Since() time.Time {
	if m.loss != nil {
		return m.loss.Since
	}
	return m.since
}

// Until is when an open breaker may let requests through again, or an operator's order ends. It is zero
// where there is no such time, and while the state is Unknown.
func (m *Machine) Until() time.Time {
	if m.loss != nil {
		return time.Time{}
	}
	return m.state.until(m)
}

// Cause is why State is what it is, in words. It is empty for a breaker that never opened.
func (m *Machine) Cause() string {
	if m.loss != nil {
		return m.loss.Cause
	}
	return m.cause
}

// Permit is what the proxy may send to the service now. While the proxy can not be seen it is what
// it was told last, or is to be told when it comes back.
func (m *Machine) Permit() Permit { return m.state.permit(m) }

// Question is the number of what is asked of layer 1 now: which of the service's hosts are ejected. 0: nothing.
// It stands until an observation answers it; the look must begin after the question was read.
func (m *Machine) Question() uint64 { return m.question }

// Wake is when Tick is needed next; zero if only observations can change anything.
func (m *Machine) Wake() time.Time { return m.state.wake(m) }

// Rotation is what layer 1 was last seen to do; unknown if the last look failed, and after
// a reset, the end of an order or a lapse.
func (m *Machine) Rotation() Rotation { return m.rotation }

// Generation is that of the newest observation or reset.
func (m *Machine) Generation() uint64 { return m.generation }

// Order is the operator's order that is in force, if there is one.
func (m *Machine) Order() (Order, bool) {
	if s, ok := m.state.(orderedState); ok {
		return s.given(), true
	}
	return Order{}, false
}

// Waiting reports whether the breaker is half-open and waits for traffic.
func (m *Machine) Waiting() bool {
	s, ok := m.state.(*halfOpenState)
	return ok && s.waiting(m)
}

// Counts are what the machine has counted.
func (m *Machine) Counts() Counts {
	c := Counts{
		Attempts: m.window.attempts, Failures: m.window.failures,
		Measured: m.slow.attempts, Slow: m.slow.failures,
		TotalAttempts: m.attempts, TotalFailures: m.failures,
	}
	if s, ok := m.state.(*halfOpenState); ok {
		c.Successes = s.successes
	}
	return c
}

// Counts of a machine.
type Counts struct {
	// Attempts in the window, and those of them that failed. They stand still while the breaker is not closed.
	Attempts, Failures uint64
	// Measured are the attempts in the window whose duration is known, and Slow those of them that
	// were slow.
	Measured, Slow uint64
	// Successes of probes in half-open; 0 in every other state.
	Successes uint64
	// TotalAttempts and TotalFailures are all that were ever observed, in any state.
	TotalAttempts, TotalFailures uint64
}

func (m *Machine) advance(at time.Time) {
	if at.After(m.now) {
		m.now = at
	}
}

// answer takes in what was seen of layer 1.
func (m *Machine) answer(l Layer1) {
	q := min(l.Question, m.inquiries)
	m.answered = max(m.answered, q)
	if q >= m.question {
		m.question = 0
	}
	m.rotation = l.rotation()
	m.state.answer(m, l)
}

// ask asks layer 1; an answer to an earlier question does not answer this one.
func (m *Machine) ask() {
	m.inquiries++
	m.question = m.inquiries
}

// enter makes a state the current one.
func (m *Machine) enter(next state, cause string) {
	from, to := m.state.name(), next.name()
	m.state, m.cause, m.question = next, cause, 0
	if from == to {
		return
	}
	m.since = m.now
	if m.loss == nil {
		m.transitions = append(m.transitions, Transition{From: from, To: to, At: m.now, Cause: cause})
	}
}

// close enters closed with an empty window. A breaker that is closed keeps its cause.
func (m *Machine) close(cause string) {
	m.window.clear()
	m.slow.clear()
	m.reopens, m.question = 0, 0
	if m.state.name() != Closed {
		m.enter(closedState{}, cause)
	}
}

// restart closes, and forgets what was seen of layer 1.
func (m *Machine) restart(cause string) {
	m.close(cause)
	m.rotation = Rotation{}
}

// resume ends Unknown.
func (m *Machine) resume() {
	if m.loss == nil {
		return
	}
	cause := "the proxy can be seen again"
	if (m.since.After(m.loss.Since) || m.state.name() != m.loss.Told) && m.cause != "" {
		cause += "; meanwhile: " + m.cause
	}
	m.loss = nil
	m.transitions = append(m.transitions, Transition{From: Unknown, To: m.state.name(), At: m.now, Cause: cause})
}

func (m *Machine) drain() []Transition {
	out := m.transitions
	m.transitions = nil
	return out
}
