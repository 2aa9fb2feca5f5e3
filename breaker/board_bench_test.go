package breaker

import (
	"fmt"
	"runtime"
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
		w := newWatcher(b, xds.Proxy{ID: fmt.Sprintf("p%02d", i)}, func() {})
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
		"breakers": func() {
			for range board.Breakers(b.Context(), Query{Proxies: true}) { // each is composed as it is yielded
			}
		},
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

// BenchmarkOverviews measures what a list of 1,000 services over 200 proxies costs that shows one line of each.
func BenchmarkOverviews(b *testing.B) {
	board := manyProxies(1000, 200)
	b.ReportAllocs()
	for b.Loop() {
		for range board.Breakers(b.Context(), Query{From: "s"}) {
		}
	}
}

// A list of overviews takes memory for each service, however many proxies there are.
func TestOverviewsCopyNoProxies(t *testing.T) {
	const services, perService = 200, 1024 // bytes
	for _, proxies := range []int{1, 50, 500} {
		board := manyProxies(services, proxies)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n := 0
		for x := range board.Breakers(t.Context(), Query{From: "s"}) {
			if n++; x.Proxies != nil || x.Overview.Proxies != proxies {
				t.Errorf("%d proxies: %+v", proxies, x)
			}
		}
		runtime.ReadMemStats(&after)
		if n != services {
			t.Errorf("%d of %d services are listed", n, services)
		}
		got := after.TotalAlloc - before.TotalAlloc
		t.Logf("%d proxies: %d bytes for %d services", proxies, got, services)
		if got > services*perService+uint64(64*proxies) {
			t.Errorf("%d proxies: a list of %d overviews takes %d bytes", proxies, services, got)
		}
	}
}
