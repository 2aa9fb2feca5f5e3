package breaker

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// manyProxies is a board that does not run, with proxies that were all seen.
func manyProxies(services, proxies int) *Board {
	set := make([]*policy.Service, services)
	for i := range set {
		set[i] = service(fmt.Sprintf("s%04d", i))
	}
	c := &fakeControl{}
	c.serve(set...)
	b := NewBoard(Options{Control: c, Layers: c, Proxies: &fakeProxies{}})
	for i := range proxies {
		w := newWatcher(b, xds.Proxy{ID: fmt.Sprintf("p%02d", i), Delta: true}, func() {})
		w.err, w.machines, w.acting = nil, map[string]*Machine{}, map[string]bool{}
		for _, svc := range set {
			w.machine(svc, time.Now())
			w.services[svc.Name] = &seen{ProxyBreaker{State: Closed}}
		}
		b.watchers[w.proxy.ID] = w
	}
	return b
}

// BenchmarkQuestions is for which share of the time the board can not be had at most in one piece, so that reports wait, while
// somebody asks for all breakers or for the metrics of a large fleet.
func BenchmarkQuestions(b *testing.B) {
	board := manyProxies(2000, 50)
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{board})
	for name, ask := range map[string]func(){
		"metrics": func() {
			if _, err := reg.Gather(); err != nil {
				b.Error(err)
			}
		},
		"breakers": func() { board.Breakers(b.Context()) },
	} {
		b.Run(name, func(b *testing.B) {
			share := 1.0
			for b.Loop() {
				longest, whole := board.withheld(ask)
				share = min(share, longest.Seconds()/whole.Seconds())
			}
			b.ReportMetric(share, "withheld/whole")
		})
	}
}

// withheld returns for how long the board can not be had at most while something is asked, and how long that takes.
func (b *Board) withheld(ask func()) (longest, whole time.Duration) {
	began, ended := time.Now(), make(chan struct{})
	go func() {
		defer close(ended)
		ask()
	}()
	for {
		select {
		case <-ended:
			return longest, time.Since(began)
		default:
		}
		before := time.Now()
		b.mu.Lock()
		longest = max(longest, time.Since(before))
		b.mu.Unlock()
	}
}
