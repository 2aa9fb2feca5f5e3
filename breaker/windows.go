package breaker

import "time"

// ProxyWindow is what one proxy's breaker judges a service by: the last attempts, and the criteria in force.
type ProxyWindow struct {
	Proxy string
	Window
}

// Window is what a machine looks back on.
type Window struct {
	// Settings are those in force; WindowSize is the number of attempts that there is room for.
	Settings
	// Batches from the oldest to the newest; none is empty.
	Batches []WindowBatch
	// Measured are the attempts in the window whose duration is known, and Slow those of them that were slow.
	Measured, Slow uint64
}

// WindowBatch is a number of attempts that came at once, as far as they are in the window.
type WindowBatch struct{ Attempts, Failures uint64 }

// Windows returns what is in each proxy's window, in ascending order of proxy, or ErrUnknownService.
func (b *Board) Windows(service string) ([]ProxyWindow, error) {
	svc, err := b.lookup(service)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []ProxyWindow
	for _, w := range b.sorted() {
		m := w.machines[service]
		if m == nil { // nothing was reported yet
			m = New(SettingsOf(svc), time.Time{}, 0)
		}
		out = append(out, ProxyWindow{Proxy: w.proxy.ID, Window: m.Window()})
	}
	return out, nil
}

// Window is what the machine looks back on.
func (m *Machine) Window() Window {
	w := Window{
		Settings: m.settings,
		Batches:  make([]WindowBatch, len(m.window.batches)),
		Measured: m.slow.attempts, Slow: m.slow.failures,
	}
	for i, b := range m.window.batches {
		w.Batches[i] = WindowBatch{b.Attempts, b.Failures}
	}
	return w
}
