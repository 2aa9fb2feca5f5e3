package breaker

import "time"

// The states that only a Machine concludes, beside Closed, Open and Unknown.
const (
	// HalfOpen: a few requests at a time are let through as probes.
	HalfOpen State = "half_open"
	// ForcedOpen: an operator lets no request through.
	ForcedOpen State = "forced_open"
	// Disabled: an operator lets every request through, whatever fails.
	Disabled State = "disabled"
)

// Transition is one change of a machine's state.
type Transition struct {
	From, To State
	// At is the time of the call that caused it.
	At time.Time
	// Cause in words.
	Cause string
}

// ordered reports whether an operator's order began or ended with it. It is enforced in shadow too.
func (t Transition) ordered() bool {
	return t.From == ForcedOpen || t.From == Disabled || t.To == ForcedOpen || t.To == Disabled
}

// Permit is how many requests at a time may be at the service. The zero value is no bound.
type Permit struct {
	// Limited is false if there is no bound.
	Limited bool
	// Max is the bound if Limited; 0: none may be.
	Max uint64
}

// Loss says that a proxy can not be seen.
type Loss struct {
	Since time.Time `json:"since"`
	// Cause in words.
	Cause string `json:"cause"`
	// Told is what the proxy was told when it was lost.
	Told State `json:"told"`
}

// state is what differs between the states. All times come from the machine's now.
type state interface {
	name() State
	// tick makes happen what is due.
	tick(m *Machine)
	// report takes in the attempts and the gauge of an observation, which may be none.
	report(m *Machine, o Observation)
	// answer takes in what was seen of layer 1, or that it could not be seen.
	answer(m *Machine, l Layer1)
	permit(m *Machine) Permit
	// until as in Machine.Until.
	until(m *Machine) time.Time
	// wake is when tick is needed next; zero for never.
	wake(m *Machine) time.Time
}
