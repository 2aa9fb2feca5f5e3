package xds

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// BenchmarkPlan is the time of a plan among 1,000 services: of one edit of a route or of a cluster, and of
// one that concerns all.
func BenchmarkPlan(b *testing.B) {
	const services = 1000
	for _, bench := range []struct {
		name   string
		edited int
		edit   func(*policy.Service)
	}{
		{"nothing", 0, nil},
		{"route", 1, func(s *policy.Service) { s.Retry.MaxRetries = 1 }},
		{"cluster", 1, slow},
		{"all", services, func(s *policy.Service) { s.Retry.MaxRetries = 1; slow(s) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := newFleet(services, 0)
			all := make([]*policy.Service, services)
			copy(all, p.set.Services)
			for i := range bench.edited {
				all[i] = service(fmt.Sprintf("s%04d", i), bench.edit)
			}
			candidate := set(all...)
			var resources, size int
			for b.Loop() {
				plan, err := p.Plan(b.Context(), candidate)
				if err != nil {
					b.Fatal(err)
				}
				if len(plan.Services) != bench.edited {
					b.Fatalf("%d services change, want %d", len(plan.Services), bench.edited)
				}
				resources, size = len(plan.Resources), 0
				for _, r := range plan.Resources {
					size += len(r.Diff)
				}
			}
			b.ReportMetric(float64(resources), "resources")
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
