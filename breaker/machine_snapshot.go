package breaker

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Snapshot is all that a machine knows beside its settings. A machine that is restored from it goes on
// as the one it was taken of would have. It keeps its meaning through JSON.
type Snapshot struct {
	Generation uint64 `json:"generation"`
	// Now is the latest time that the machine was told.
	Now time.Time `json:"now"`
	// State is what the proxy is told: never Unknown.
	State State     `json:"state"`
	Since time.Time `json:"since"`
	Cause string    `json:"cause,omitempty"`
	// Loss is set while the proxy can not be seen.
	Loss *Loss `json:"loss,omitempty"`
	// Reopens counts the consecutive re-openings.
	Reopens uint32 `json:"reopens,omitempty"`
	// LookAt is set while an open breaker waits for a host in rotation.
	LookAt time.Time `json:"look_at,omitzero"`
	// Ejected is true for an open breaker that opened because every host was ejected, and Reported once it has heard of
	// the attempts that led to that.
	Ejected  bool `json:"ejected,omitempty"`
	Reported bool `json:"reported,omitempty"`
	// Probes is set in half-open.
	Probes *Probes `json:"probes,omitempty"`
	// Order is set in an operator's state.
	Order *Order `json:"order,omitempty"`
	// Window and Slow are the attempts looked back on, from the oldest to the newest.
	Window []Batch `json:"window,omitempty"`
	Slow   []Batch `json:"slow,omitempty"`
	// Inquiries, Question and Answered number what is asked of layer 1.
	Inquiries uint64   `json:"inquiries,omitempty"`
	Question  uint64   `json:"question,omitempty"`
	Answered  uint64   `json:"answered,omitempty"`
	Rotation  Rotation `json:"rotation,omitzero"`
	InFlight  Gauge    `json:"in_flight,omitzero"`
	// Attempts and Failures are the totals.
	Attempts uint64 `json:"attempts,omitempty"`
	Failures uint64 `json:"failures,omitempty"`
}

// Probes is how far half-open has come.
type Probes struct {
	Successes uint64 `json:"successes,omitempty"`
	// Before and Doubtful are the requests from before that can still be in flight, and the successes that
	// can still be theirs.
	Before   uint64 `json:"before,omitempty"`
	Doubtful uint64 `json:"doubtful,omitempty"`
}

// Snapshot returns what the machine knows. It shares nothing with the machine.
func (m *Machine) Snapshot() Snapshot {
	s := Snapshot{
		Generation: m.generation,
		Now:        m.now,
		State:      m.state.name(),
		Since:      m.since,
		Cause:      m.cause,
		Reopens:    m.reopens,
		Window:     cloneBatches(m.window.batches),
		Slow:       cloneBatches(m.slow.batches),
		Inquiries:  m.inquiries,
		Question:   m.question,
		Answered:   m.answered,
		Rotation:   m.rotation,
		InFlight:   m.inFlight,
		Attempts:   m.attempts,
		Failures:   m.failures,
	}
	if m.loss != nil {
		loss := *m.loss
		s.Loss = &loss
	}
	switch state := m.state.(type) {
	case *openState:
		s.LookAt, s.Ejected, s.Reported = state.lookAt, state.ejected, state.reported
	case *halfOpenState:
		s.Probes = &Probes{Successes: state.successes, Before: state.before, Doubtful: state.doubtful}
	case orderedState:
		given := state.given()
		s.Order = &given
	}
	return s
}

// Restore returns a machine that goes on from a snapshot at a time, with settings that may be
// others than it was taken with. What is due by then happens at the next call. If the snapshot is of a later
// time the clock was set back since: all its times are then moved back by as much, so that what
// remained of each remains. A snapshot that no machine can have made is an error.
func Restore(settings Settings, s Snapshot, at time.Time) (*Machine, error) {
	if err := s.checkTimes(); err != nil {
		return nil, err
	}
	if back := s.Now.Sub(at); back > 0 {
		s = s.earlier(back)
	}
	m := &Machine{
		settings:   settings,
		generation: s.Generation,
		now:        s.Now,
		since:      s.Since,
		cause:      s.Cause,
		reopens:    s.Reopens,
		inquiries:  s.Inquiries,
		question:   s.Question,
		answered:   s.Answered,
		rotation:   s.Rotation,
		inFlight:   s.InFlight,
		attempts:   s.Attempts,
		failures:   s.Failures,
	}
	m.advance(at)
	if s.Loss != nil {
		loss := *s.Loss
		m.loss = &loss
	}
	var err error
	if m.state, err = s.restoreState(); err != nil {
		return nil, err
	}
	if s.Answered > s.Inquiries || s.Question > s.Inquiries {
		return nil, fmt.Errorf("snapshot: question %d and answer %d of %d inquiries", s.Question, s.Answered, s.Inquiries)
	}
	if m.window, err = restoreWindow(s.Window); err != nil {
		return nil, fmt.Errorf("snapshot: window: %w", err)
	}
	if m.slow, err = restoreWindow(s.Slow); err != nil {
		return nil, fmt.Errorf("snapshot: slow: %w", err)
	}
	m.Configure(settings)
	return m, nil
}

// latestTime bounds the times that are believed: a span that reaches beyond what a Duration holds could not be
// moved back.
var latestTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

func (s Snapshot) checkTimes() error {
	switch {
	case s.Now.After(latestTime):
		return fmt.Errorf("snapshot: its time is %s", s.Now)
	case s.Since.After(s.Now), s.LookAt.After(s.Now.Add(lookAgain)), s.Loss != nil && s.Loss.Since.After(s.Now):
		return fmt.Errorf("snapshot: since %s, look at %s, loss %+v are after its own time %s", s.Since, s.LookAt, s.Loss, s.Now)
	}
	return nil
}

func (s Snapshot) restoreState() (state, error) {
	if (s.Order != nil) != (s.State == ForcedOpen || s.State == Disabled) || (s.Probes != nil) != (s.State == HalfOpen) {
		return nil, fmt.Errorf("snapshot: state %q does not go with its order or its probes", s.State)
	}
	switch s.State {
	case Closed:
		return closedState{}, nil
	case Open:
		return &openState{lookAt: s.LookAt, ejected: s.Ejected, reported: s.Reported}, nil
	case HalfOpen:
		return &halfOpenState{successes: s.Probes.Successes, before: s.Probes.Before, doubtful: s.Probes.Doubtful}, nil
	case ForcedOpen:
		return forcedOpenState{order{*s.Order}}, nil
	case Disabled:
		return disabledState{order{*s.Order}}, nil
	}
	return nil, fmt.Errorf("snapshot: unknown state %q", s.State)
}

// earlier is the snapshot with all of its times moved back.
func (s Snapshot) earlier(back time.Duration) Snapshot {
	for _, t := range []*time.Time{&s.Now, &s.Since, &s.LookAt} {
		if !t.IsZero() {
			*t = t.Add(-back)
		}
	}
	if s.Loss != nil {
		loss := *s.Loss
		loss.Since = loss.Since.Add(-back)
		s.Loss = &loss
	}
	if s.Order != nil && !s.Order.Until.IsZero() {
		given := *s.Order
		given.Until = given.Until.Add(-back)
		s.Order = &given
	}
	return s
}

// restoreWindow returns a window that is as large as what is in it.
func restoreWindow(batches []Batch) (window, error) {
	w := window{batches: cloneBatches(batches)}
	for i, b := range batches {
		if err := b.check(); err != nil {
			return window{}, fmt.Errorf("batch %d: %w", i, err)
		}
		if i > 0 && b.Number < batches[i-1].Number {
			return window{}, fmt.Errorf("batch %d: number %d after %d", i, b.Number, batches[i-1].Number)
		}
		w.attempts += b.Attempts
		w.failures += b.Failures
	}
	w.size = w.attempts
	return w, nil
}

var errBatch = errors.New("counts do not go together")

// check returns an error if no window can have come to have the batch.
func (b *Batch) check() error {
	var sum uint64
	for _, h := range b.Hosts {
		if h.Failures > b.Failures {
			return errBatch
		}
		sum = add(sum, h.Failures)
	}
	// No window is as large as maxCount, so sums over all batches do not overflow either.
	if b.Attempts == 0 || b.Attempts > maxCount || b.Attempts > b.WholeAttempts || b.Failures > b.Attempts ||
		b.Failures > b.WholeFailures || b.WholeFailures > b.WholeAttempts || sum != b.Failures {
		return errBatch
	}
	return nil
}

func cloneBatches(batches []Batch) []Batch {
	out := slices.Clone(batches)
	for i := range out {
		out[i].Hosts = slices.Clone(out[i].Hosts)
	}
	return out
}
