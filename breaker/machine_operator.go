package breaker

import "time"

// Action is what an operator does.
type Action struct {
	// Actor is who; empty if not known.
	Actor string `json:"actor,omitempty"`
	// Reason is why; empty for none given.
	Reason string `json:"reason,omitempty"`
}

func (a Action) words() string {
	actor, reason := a.Actor, a.Reason
	if actor == "" {
		actor = "an operator"
	}
	if reason != "" {
		reason = ": " + reason
	}
	return "by " + actor + reason
}

// Order is a state that an operator has set.
type Order struct {
	Action
	// Until is when it ends by itself; zero for never.
	Until time.Time `json:"until,omitzero"`
}

// orderedState is a state that an operator has set. It takes precedence over what is observed,
// and over an earlier order. What is observed meanwhile is counted in the totals, and nothing
// else. It leaves
//   - to another operator state, by an order;
//   - to closed, with an empty window, when it is released, reset, or its time is over. Layer 1 is
//     asked then: if it has no host in rotation the breaker opens by that.
type orderedState interface {
	state
	given() Order
}

// ForceOpen lets no request through until Release, Reset or the end of the order. An order of
// the same kind that is in force is replaced, and is no transition.
func (m *Machine) ForceOpen(at time.Time, o Order) []Transition {
	m.advance(at)
	m.enter(forcedOpenState{order{o}}, "forced open "+o.words())
	return m.drain()
}

// Disable lets every request through until Release, Reset or the end of the order. An order of
// the same kind that is in force is replaced, and is no transition.
func (m *Machine) Disable(at time.Time, o Order) []Transition {
	m.advance(at)
	m.enter(disabledState{order{o}}, "disabled "+o.words())
	return m.drain()
}

// Release ends an operator's order. Without one it does nothing.
func (m *Machine) Release(at time.Time, by Action) []Transition {
	m.advance(at)
	if _, ordered := m.Order(); ordered {
		m.release("released " + by.words())
	}
	return m.drain()
}

func (m *Machine) release(cause string) {
	m.restart(cause)
	m.ask()
}

// order is what both operator states have in common.
type order struct{ Order }

func (o order) given() Order               { return o.Order }
func (order) report(*Machine, Observation) {}
func (order) answer(*Machine, Layer1)      {}
func (o order) until(*Machine) time.Time   { return o.Until }
func (o order) wake(*Machine) time.Time    { return o.Until }

func (o order) tick(m *Machine) {
	if !o.Until.IsZero() && !m.now.Before(o.Until) {
		m.release("its time is over: it was " + m.cause)
	}
}

type forcedOpenState struct{ order }

func (forcedOpenState) name() State            { return ForcedOpen }
func (forcedOpenState) permit(*Machine) Permit { return Permit{Limited: true} }

type disabledState struct{ order }

func (disabledState) name() State            { return Disabled }
func (disabledState) permit(*Machine) Permit { return Permit{} }
