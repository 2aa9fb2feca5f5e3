package e2e

import (
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// BenchmarkScrapeOf1000Services is how long Prometheus waits for an Envoy with 1,000 services that have traffic, and how
// much it gets; and the same, in turns, of one that keeps all stats, as Envoy does unless it is told which.
func BenchmarkScrapeOf1000Services(b *testing.B) {
	stacks := []*stack{scraped(b), scraped(b, func(bootstrap *bootstrapv3.Bootstrap) {
		bootstrap.StatsConfig.StatsMatcher = nil
	})}
	var took [2]time.Duration
	var bytes [2]int
	scrapes := 0
	for b.Loop() {
		scrapes++
		for i, s := range stacks {
			start := time.Now()
			page := s.scrape()
			took[i] += time.Since(start)
			bytes[i] = len(page)
		}
	}
	perScrape := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(scrapes) }
	b.ReportMetric(perScrape(took[0]), "ms/scrape")
	b.ReportMetric(perScrape(took[1]), "ms-all-stats/scrape")
	b.ReportMetric(float64(took[0])/float64(took[1]), "time-ratio")
	b.ReportMetric(float64(bytes[0])/1e6, "MB/scrape")
	b.ReportMetric(float64(bytes[0])/float64(bytes[1]), "size-ratio")
	b.ReportMetric(0, "ns/op")
}
