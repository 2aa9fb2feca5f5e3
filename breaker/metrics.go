package breaker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// metrics of the breakers. The first has the name that the original system's dashboards expect.
type metrics struct {
	changes, shadow *prometheus.CounterVec
	admin           *prometheus.HistogramVec
	// services are those whose transitions are counted, and whether they are counted in shadow; guarded by Board.mu.
	services map[string]bool
}

// The values of the label result of the questions to proxies.
const (
	resultOK    = "ok"
	resultError = "error"
)

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
		admin: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "breakwater_envoy_admin_request_duration_seconds",
			Help: "Time that the breakers' questions to the admin APIs of proxies took, by path and result (ok or error).",
			// Envoy takes 5 ms for a few clusters, 0.2 s for 5,000, and is given up after 5 s.
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"path", "result"}),
		services: map[string]bool{},
	}
	if reg != nil {
		reg.MustRegister(m.changes, m.shadow, m.admin, &collector{board: b})
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

// asked records a question to a proxy's admin API.
func (m *metrics) asked(path string, took time.Duration, err error) {
	result := resultOK
	if err != nil {
		result = resultError
	}
	m.admin.WithLabelValues(path, result).Observe(took.Seconds())
}

// follow has counts of 0 for each service, so that its first transition to any state is an increase to Prometheus, and
// none of services that went. The caller must hold Board.mu.
func (m *metrics) follow(set *policy.Set) {
	served := make(map[string]bool, len(set.Services))
	for _, svc := range set.Services {
		shadow, known := m.services[svc.Name]
		served[svc.Name] = shadow || svc.Breaker.Shadow
		if !known {
			for _, state := range []State{Closed, Open, HalfOpen, ForcedOpen, Disabled, Unknown} {
				m.changes.WithLabelValues(svc.Name, string(state))
			}
		}
		if served[svc.Name] && !shadow {
			for _, state := range []State{Closed, Open, HalfOpen, Unknown} {
				m.shadow.WithLabelValues(svc.Name, string(state))
			}
		}
	}
	for name := range m.services {
		if _, ok := served[name]; !ok {
			m.changes.DeletePartialMatch(prometheus.Labels{"service": name})
			m.shadow.DeletePartialMatch(prometheus.Labels{"service": name})
		}
	}
	m.services = served
}

// maxStates bounds the series of breakwater_breaker_state: with more breakers (services times proxies), those that are
// closed are left out. All of them would be 5,000,000 for 5,000 services in 1,000 proxies.
const maxStates = 50_000

var (
	stateDesc = prometheus.NewDesc("breakwater_breaker_state",
		"1 for the state that a service's circuit breaker has in a proxy. With more than 50,000 breakers the closed ones are left out.",
		[]string{"service", "proxy", "state"}, nil)
	ejectedDesc = prometheus.NewDesc("breakwater_breaker_ejected_hosts",
		"Hosts of a service that a proxy has ejected; absent where there are none.", []string{"service", "proxy"}, nil)
	reachableDesc = prometheus.NewDesc("breakwater_proxy_reachable",
		"Whether a connected proxy's admin API answered when it was asked last.", []string{"proxy"}, nil)
	lagDesc = prometheus.NewDesc("breakwater_load_report_lag_seconds",
		"Time since the last load report of a connected proxy, or since it connected if none has come.", []string{"proxy"}, nil)
	ordersDesc = prometheus.NewDesc("breakwater_orders",
		"Orders of operators that stand, by the state that they set.", []string{"state"}, nil)
	orderDesc = prometheus.NewDesc("breakwater_order_start_time_seconds",
		"When an order that stands was given, by service, state, and the proxy that it is for; empty for all.",
		[]string{"service", "proxy", "state"}, nil)
)

// collector reads what the board knows when it is asked for.
type collector struct{ board *Board }

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{stateDesc, ejectedDesc, reachableDesc, lagDesc, ordersDesc, orderDesc} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	// Nobody waits for the reader of the channel with the lock held.
	for _, m := range c.board.collect(time.Now()) {
		ch <- m
	}
}

func (b *Board) collect(now time.Time) []prometheus.Metric {
	var out []prometheus.Metric
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	set := b.opts.Control.Set()
	b.mu.Lock()
	watchers := b.sorted()
	standing := map[State]int{ForcedOpen: 0, Disabled: 0}
	for key, o := range b.orders {
		if o.over(now) {
			continue
		}
		standing[o.State]++
		gauge(orderDesc, float64(o.Since.UnixNano())/1e9, key.service, key.proxy, string(o.State))
	}
	b.mu.Unlock()
	for state, n := range standing {
		gauge(ordersDesc, float64(n), string(state))
	}
	all := set != nil && len(set.Services)*len(watchers) <= maxStates
	for _, w := range watchers {
		w.collect(gauge, set, all, now)
	}
	return out
}

// collect adds the gauges of one proxy; closed breakers only if all are wanted. One proxy at a time holds the lock, for no
// report is to wait until all metrics are made.
func (w *watcher) collect(gauge func(*prometheus.Desc, float64, ...string), set *policy.Set, all bool, now time.Time) {
	w.board.mu.Lock()
	defer w.board.mu.Unlock()
	id, reachable, last := w.proxy.ID, 0.0, w.reported
	if w.err == nil {
		reachable = 1
	}
	gauge(reachableDesc, reachable, id)
	if last.IsZero() {
		last = w.proxy.Since
	}
	gauge(lagDesc, max(0, now.Sub(last).Seconds()), id)
	if set == nil {
		return
	}
	for _, svc := range set.Services {
		v := w.view(svc.Name)
		if all || v.State != Closed {
			gauge(stateDesc, 1, svc.Name, id, string(v.State))
		}
		if v.EjectedHosts > 0 {
			gauge(ejectedDesc, float64(v.EjectedHosts), svc.Name, id)
		}
	}
}
