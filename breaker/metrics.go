package breaker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// metrics of the breakers. The first has the name that the original system's dashboards expect.
type metrics struct {
	changes, shadow *prometheus.CounterVec
}

func newMetrics(b *Board, reg prometheus.Registerer) *metrics {
	m := &metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_circuit_breaker_state_changes",
			Help: "Transitions of circuit breakers, by service and the state that was entered.",
		}, []string{"service", "state"}),
		shadow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "breakwater_breaker_shadow_transitions_total",
			Help: "Transitions that a breaker in shadow would have made, by service and the state that it would have entered.",
		}, []string{"service", "state"}),
	}
	if reg != nil {
		reg.MustRegister(m.changes, m.shadow, stateCollector{b})
	}
	return m
}

// count counts a transition.
func (m *metrics) count(service string, to State, shadow bool) {
	if shadow {
		m.shadow.WithLabelValues(service, string(to)).Inc()
	} else {
		m.changes.WithLabelValues(service, string(to)).Inc()
	}
}

var stateDesc = prometheus.NewDesc("breakwater_breaker_state",
	"1 for the state that a service's circuit breaker has in a proxy.", []string{"service", "proxy", "state"}, nil)

// stateCollector reads the states when they are asked for.
type stateCollector struct{ board *Board }

func (c stateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- stateDesc }

func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	set := c.board.opts.Control.Set()
	if set == nil {
		return
	}
	c.board.mu.Lock()
	watchers := c.board.sorted()
	c.board.mu.Unlock()
	states := make([]State, len(set.Services))
	for _, w := range watchers {
		c.states(w, set, states)
		for i, svc := range set.Services {
			ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, 1, svc.Name, w.proxy.ID, string(states[i]))
		}
	}
}

// states notes the states in one proxy, for no report is to wait until all metrics are made.
func (c stateCollector) states(w *watcher, set *policy.Set, out []State) {
	c.board.mu.Lock()
	defer c.board.mu.Unlock()
	for i, svc := range set.Services {
		out[i] = w.view(svc.Name).State
	}
}
