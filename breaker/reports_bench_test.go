package breaker

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// BenchmarkReport is the cost of one load report of 5,000 services: all idle, all with traffic, and with one that fails. The last must
// cost about as much as the second.
func BenchmarkReport(b *testing.B) {
	const n = 5000
	var services []*policy.Service
	for i := range n {
		svc := layer2Service()
		svc.Name = fmt.Sprintf("svc-%d", i)
		services = append(services, svc)
	}
	control := &fakeControl{breakerLayers: map[string]told{}, operatorLayers: map[string]told{}}
	control.set = &policy.Set{Services: services}
	report := func(hosts, failures int) xds.LoadReport {
		r := xds.LoadReport{Proxy: "p1"}
		for i := range n {
			load := xds.ServiceLoad{Service: services[i].Name}
			for h := range hosts {
				load.Hosts = append(load.Hosts, xds.HostLoad{Address: fmt.Sprintf("127.0.0.1:%d", 8001+h), Successes: 10, Issued: 10})
			}
			if i == n/2 && failures > 0 {
				load.Hosts[0].Errors = uint64(failures)
			}
			r.Services = append(r.Services, load)
		}
		return r
	}
	for _, bb := range []struct {
		name   string
		report xds.LoadReport
	}{
		{"idle", report(0, 0)}, {"traffic", report(2, 0)}, {"failing", report(2, 1)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			board := NewBoard(Options{Control: control, Proxies: &fakeProxies{}, Layers: control})
			w := newWatcher(board, xds.Proxy{ID: "p1", Since: time.Now()}, func() {})
			w.machines, w.acting = map[string]*Machine{}, map[string]bool{}
			for b.Loop() {
				w.take(b.Context(), arrived{bb.report, time.Now()})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/service")
		})
	}
}
