package translate_test

import (
	"fmt"
	"testing"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

// manyUnits are services with the built-in retries and a route each.
func manyUnits(t testing.TB, n int) []*translate.Unit {
	t.Helper()
	services := make([]*policy.Service, n)
	for i := range services {
		s := service(fmt.Sprintf("service-%d", i), policy.Host{Name: "10.0.0.1", Port: 8080}, policy.Host{Name: "10.0.0.2", Port: 8080})
		s.Routes[0].Value = "/api/v1/" + s.Name
		s.Retry.MaxRetries = 3
		services[i] = s
	}
	return unitsOf(t, services...)
}

func BenchmarkRouteTable(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			units := manyUnits(b, n)
			var size int
			for b.Loop() {
				bytes, err := translate.Marshal(translate.RouteTable(units, testGateway()))
				if err != nil {
					b.Fatal(err)
				}
				size = len(bytes)
			}
			b.ReportMetric(float64(size)/float64(n), "bytes/service")
		})
	}
}

func BenchmarkService(b *testing.B) {
	s := service("pay", policy.Host{Name: "10.0.0.1", Port: 8080}, policy.Host{Name: "10.0.0.2", Port: 8080})
	s.Retry.MaxRetries = 3
	for b.Loop() {
		if _, err := translate.Service(s, translate.Generation{}); err != nil {
			b.Fatal(err)
		}
	}
}
