package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/breaker"
)

// BenchmarkSummaries measures what one message of summaries costs when each of 1,000 services on 12 proxies has changed:
// as often as once a second for each who watches.
func BenchmarkSummaries(b *testing.B) {
	const services, proxies = 1000, 12
	all := make([]breaker.Breaker, services)
	for i := range all {
		all[i] = breaker.Breaker{Service: fmt.Sprintf("some-service-%03d", i), State: breaker.Closed, Summary: "closed on 12 of 12 proxies"}
		for j := range proxies {
			all[i].Proxies = append(all[i].Proxies, breaker.ProxyBreaker{
				Proxy: fmt.Sprintf("gateway-%02d", j), State: breaker.Closed, Since: time.Unix(1_700_000_000, 0), TotalHosts: 3, Attempts: 1_234_567,
			})
		}
	}
	told := summaries{}
	bytes := 0
	for b.Loop() {
		for i := range all {
			all[i].Proxies[0].Attempts++
		}
		m := changeProto(all, false, summaryProto)
		told.reduce(m)
		if len(m.GetBreakers()) != services {
			b.Fatalf("%d are told", len(m.GetBreakers()))
		}
		data, err := marshalJSON(m)
		if err != nil {
			b.Fatal(err)
		}
		bytes = len(data)
	}
	b.ReportMetric(float64(bytes), "bytes/message")
}
