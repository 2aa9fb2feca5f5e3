package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakwater/breakwater/xds"
)

// leakPolicy is a service with the thresholds that are built in, which stays open until it is reset.
func leakPolicy(b *script) string {
	return at("svc", b, "retry: off", "breaker: {failure_threshold: 5, timeout: 1h}")
}

// death counts what reaches a service after its fifth failure.
type death struct {
	failures, leaked atomic.Int64
	// fifth is when the fifth failure was answered, in nanoseconds of the Unix time.
	fifth atomic.Int64
}

// dying answers with failures: all of the requests, or every second one, which layer 1 never ejects.
func (d *death) dying(every int) answer {
	return func(n int, w http.ResponseWriter, r *http.Request) {
		if d.failures.Load() >= 5 {
			d.leaked.Add(1)
		}
		if n%every != 0 {
			good(n, w, r)
			return
		}
		if d.failures.Add(1) == 5 {
			defer func() { d.fifth.Store(time.Now().UnixNano()) }()
		}
		bad(n, w, r)
	}
}

// trial sends requests at a rate, however slowly they are answered, until one is refused and 200 ms more, and returns when
// that was.
func (s *stack) trial(b *testing.B, rate int) time.Time {
	b.Helper()
	var refused atomic.Int64
	var requests sync.WaitGroup
	defer requests.Wait()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for sent := 0; ; <-tick.C {
		for due := int(time.Since(start) * time.Duration(rate) / time.Second); sent < due; sent++ {
			requests.Go(func() {
				r, err := s.try(http.MethodGet, "/svc", nil)
				if err != nil {
					b.Error(err)
				} else if r.isOpen() == nil {
					refused.CompareAndSwap(0, time.Now().UnixNano())
				}
			})
		}
		at := time.Unix(0, refused.Load())
		switch {
		case refused.Load() != 0 && time.Since(at) > 200*time.Millisecond:
			return at
		case time.Since(start) > 20*time.Second:
			b.Fatal("the breaker does not open")
		}
	}
}

// BenchmarkLeak is how many requests still reach a service after its fifth failure, at steady rates: with layer 1, which
// sees five failures in a row at once, and with layer 2 alone, which sees every second request fail at the next report.
// It is also the time from the answer that was the fifth failure to the first request that is refused.
func BenchmarkLeak(b *testing.B) {
	for _, layer := range []struct {
		name  string
		every int
	}{{"layer1", 1}, {"layer2", 2}} {
		for _, rate := range []int{20, 100, 500} {
			b.Run(fmt.Sprintf("%s/%d-per-second", layer.name, rate), func(b *testing.B) {
				u := newScript(b)
				s := newLayer2(b, leakPolicy(u))
				s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
				b.Cleanup(s.client.CloseIdleConnections)
				var leaks []int64
				var took []time.Duration
				for b.Loop() {
					b.StopTimer()
					s.run("reset", "svc")
					u.set(good)
					s.get("/svc")
					s.untilReporting()
					// The fifth failure is to be at another time between two reports in each trial.
					<-time.After(time.Duration(len(leaks)) * 37 * time.Millisecond % xds.ReportInterval(1))
					d := &death{}
					u.set(d.dying(layer.every))
					b.StartTimer()
					refused := s.trial(b, rate)
					leaks = append(leaks, d.leaked.Load())
					took = append(took, refused.Sub(time.Unix(0, d.fifth.Load())))
				}
				slices.Sort(leaks)
				slices.Sort(took)
				b.ReportMetric(float64(leaks[len(leaks)/2]), "leaked-median/trip")
				b.ReportMetric(float64(leaks[len(leaks)-1]), "leaked-max/trip")
				b.ReportMetric(float64(took[len(took)/2])/1e6, "ms-median/trip")
				b.ReportMetric(float64(took[len(took)-1])/1e6, "ms-max/trip")
			})
		}
	}
}

// BenchmarkEffect is the time from the conclusion that a service is to be closed off to the first request that Envoy refuses:
// what the runtime layer takes to be sent, accepted and asked.
func BenchmarkEffect(b *testing.B) {
	u := newScript(b)
	s := newLayer2(b, leakPolicy(u))
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	b.Cleanup(s.client.CloseIdleConnections)
	var refused []time.Time
	for b.Loop() {
		b.StopTimer()
		s.run("reset", "svc")
		u.set(good)
		s.get("/svc")
		s.untilReporting()
		u.set(alternating)
		b.StartTimer()
		deadline := time.Now().Add(10 * time.Second)
		for s.get("/svc").isOpen() != nil {
			if time.Now().After(deadline) {
				b.Fatal("the breaker does not open")
			}
		}
		refused = append(refused, time.Now())
	}
	var took []time.Duration
	for _, t := range s.transitions("svc") {
		if t.To == "open" && len(took) < len(refused) {
			took = append(took, refused[len(took)].Sub(t.At))
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "ms-median/trip")
	b.ReportMetric(float64(took[len(took)*95/100])/1e6, "ms-p95/trip")
}
