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

// Who asks for all breakers or for the metrics of a large fleet holds up no report.
func TestQuestionsHoldUpNoReport(t *testing.T) {
	b := manyProxies(2000, 50)
	reg := prometheus.NewRegistry()
	reg.MustRegister(stateCollector{b})
	for name, ask := range map[string]func(){
		"metrics": func() {
			if _, err := reg.Gather(); err != nil {
				t.Error(err)
			}
		},
		"breakers": func() { b.Breakers(t.Context()) },
	} {
		// Against the whole, for machines differ; the best of several, for others work on them.
		var longest, whole time.Duration
		for range 10 {
			if longest, whole = b.withheld(ask); longest < whole/4 {
				break
			}
		}
		if longest >= whole/4 {
			t.Errorf("%s: the board is not to be had for %s of %s", name, longest, whole)
		}
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
