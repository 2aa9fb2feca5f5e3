package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// BenchmarkSummaries measures what one message of summaries costs when each of 1,000 services on 12 proxies has changed:
// as often as once a second for each who watches.
func BenchmarkSummaries(b *testing.B) {
	const services, proxies = 1000, 12
	all := make([][]breaker.ProxyBreaker, services)
	for i := range all {
		for j := range proxies {
			all[i] = append(all[i], breaker.ProxyBreaker{
				Proxy: fmt.Sprintf("gateway-%02d", j), State: breaker.Closed, Since: time.Unix(1_700_000_000, 0), TotalHosts: 3, Attempts: 1_234_567,
			})
		}
	}
	told := summaries{}
	bytes := 0
	for b.Loop() {
		m := &adminpb.WatchBreakersResponse{}
		for i, proxies := range all {
			proxies[0].Attempts++
			x := breaker.NewBreaker(fmt.Sprintf("some-service-%03d", i), proxies)
			x.Proxies = nil
			if told.learn(x) {
				m.Breakers = append(m.Breakers, breakerProto(x))
			}
		}
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
