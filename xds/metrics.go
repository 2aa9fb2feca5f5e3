package xds

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

type serverMetrics struct {
	responses, acks, nacks *prometheus.CounterVec
}

func newServerMetrics(s *Server, reg prometheus.Registerer) *serverMetrics {
	vec := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"type"})
		for _, t := range typeNames {
			c.WithLabelValues(t)
		}
		return c
	}
	m := &serverMetrics{
		responses: vec("breakwater_xds_responses_total", "Discovery responses sent to proxies, by resource type."),
		acks:      vec("breakwater_xds_acks_total", "Discovery responses that a proxy accepted, by resource type."),
		nacks:     vec("breakwater_xds_nacks_total", "Discovery responses that a proxy rejected, by resource type."),
	}
	if reg != nil {
		reg.MustRegister(m.responses, m.acks, m.nacks, rejectedCollector{s.publisher}, rosterCollector{s.roster}, streamsCollector{s.ledger},
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "breakwater_connected_proxies",
				Help: "Proxies that are connected now.",
			}, func() float64 { return float64(s.ledger.count()) }))
	}
	return m
}

var rejectedDesc = prometheus.NewDesc("breakwater_xds_rejected_resources",
	"Resources that a proxy has rejected or that could not be made of a policy, until they change, by type.", []string{"type"}, nil)

// untranslatedType is the type of a Rejection without a resource.
const untranslatedType = "translation"

// rejectedCollector counts the rejections that there are when it is asked.
type rejectedCollector struct{ publisher *Publisher }

func (c rejectedCollector) Describe(ch chan<- *prometheus.Desc) { ch <- rejectedDesc }

func (c rejectedCollector) Collect(ch chan<- prometheus.Metric) {
	count := map[string]int{untranslatedType: 0}
	for _, t := range typeNames {
		count[t] = 0
	}
	for _, r := range c.publisher.Rejections() {
		count[r.Type]++
	}
	for _, t := range slices.Sorted(maps.Keys(count)) {
		ch <- prometheus.MustNewConstMetric(rejectedDesc, prometheus.GaugeValue, float64(count[t]), t)
	}
}

var connectedDesc = prometheus.NewDesc("breakwater_proxy_connected",
	"1 for a proxy that is connected, 0 for one that disconnected within the last hour and has been neither replaced nor forgotten.", []string{"proxy"}, nil)

// rosterCollector tells the proxies that are connected from those that are disconnected and not replaced.
type rosterCollector struct{ roster *Roster }

func (c rosterCollector) Describe(ch chan<- *prometheus.Desc) { ch <- connectedDesc }

func (c rosterCollector) Collect(ch chan<- prometheus.Metric) {
	members, err := c.roster.Members()
	if err != nil {
		return // it is not known yet which proxies there are
	}
	for _, m := range members {
		if m.ReplacedBy != "" {
			continue
		}
		connected := 0.0
		if m.Disconnected.IsZero() {
			connected = 1
		}
		ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, connected, m.ID)
	}
}

var streamsDesc = prometheus.NewDesc("breakwater_proxy_streams",
	"Configuration streams of a connected proxy: more than 1 for more than a minute is that several proxies have one id.", []string{"proxy"}, nil)

// streamsCollector tells how many streams each proxy has.
type streamsCollector struct{ ledger *Ledger }

func (c streamsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- streamsDesc }

func (c streamsCollector) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.ledger.Connected() {
		ch <- prometheus.MustNewConstMetric(streamsDesc, prometheus.GaugeValue, float64(p.Streams), p.ID)
	}
}
