package breaker

import (
	"time"

	"github.com/breakwater/breakwater/policy"
)

// Foresight is what another policy would make at once of a service's breaker in one proxy.
// It is of Breakwater's own decisions, and nothing of Envoy's.
type Foresight struct {
	Proxy string
	// Before is the breaker as it is, and After as it would be.
	Before, After Outlook
}

// Outlook is what a breaker is about to do.
type Outlook struct {
	// State that is decided: what the proxy is told, unless it is Shadow.
	State State
	// Shadow is true if the proxy is told nothing of it.
	Shadow bool
	// Until is as Machine.Until.
	Until time.Time
	// Attempts in the window, and Failures among them.
	Attempts, Failures uint64
	// Opens is the criterion that the window reaches, in words, so that a closed breaker opens at the next report; empty
	// for none.
	Opens string
}

// Foresee says what a policy would make of the breakers of the service of its name, if it were
// served now, in ascending order of proxy. A proxy in which the service has none yet is left out.
func (b *Board) Foresee(svc *policy.Service, now time.Time) []Foresight {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Foresight
	for _, w := range b.sorted() {
		m := w.machines[svc.Name]
		if m == nil {
			continue
		}
		after, err := Restore(SettingsOf(svc), m.Snapshot(), now)
		if err != nil { // not of a snapshot that was just taken
			continue
		}
		out = append(out, Foresight{Proxy: w.proxy.ID, Before: m.outlook(), After: after.outlook()})
	}
	return out
}

func (m *Machine) outlook() Outlook {
	o := Outlook{
		State: m.Told(), Until: m.state.until(m),
		Attempts: m.window.attempts, Failures: m.window.failures,
	}
	if _, ordered := m.Order(); !ordered {
		o.Shadow = m.settings.Shadow
	}
	if o.State == Closed {
		o.Opens = m.tripped()
	}
	return o
}
