package envoy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/envoy"
)

func TestTraffic(t *testing.T) {
	const page = `# TYPE envoy_gateway_proxy_requests_total counter
envoy_gateway_proxy_requests_total{service="svc",method="GET",status="success"} 9007199254740991
envoy_gateway_proxy_requests_total{service="svc",method="POST",status="success"} 5
envoy_gateway_proxy_requests_total{service="svc-b",method="POST",status="success"} 50
envoy_gateway_proxy_requests_total{service="svc",method="POST",status="fallback"} 3
# TYPE envoy_gateway_proxy_retries_total counter
envoy_gateway_proxy_retries_total{service="svc"} 7
# TYPE envoy_gateway_proxy_request_duration_seconds histogram
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="GET",le="0.015625"} 1
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="GET",le="10"} 2
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="GET",le="+Inf"} 3
envoy_gateway_proxy_request_duration_seconds_sum{service="svc",method="GET"} 99.5
envoy_gateway_proxy_request_duration_seconds_count{service="svc",method="GET"} 3
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="POST",le="0.015625"} 0
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="POST",le="10"} 10
envoy_gateway_proxy_request_duration_seconds_bucket{service="svc",method="POST",le="+Inf"} 10
`
	none := map[string]uint64{"success": 0, "error": 0, "circuit_open": 0, "overloaded": 0, "fallback": 0}
	for _, tt := range []struct {
		name, page string
		want       envoy.Traffic
		err        string
	}{
		{
			name: "all methods together", page: page,
			want: envoy.Traffic{
				Requests: map[string]uint64{"success": 9007199254740996, "error": 0, "circuit_open": 0, "overloaded": 0, "fallback": 3}, Retries: 7,
				Latency: []envoy.LatencyBucket{{Upper: 15625 * time.Microsecond, Count: 1}, {Upper: 10 * time.Second, Count: 12}, {Count: 13}},
			},
		},
		{name: "no request yet", page: "", want: envoy.Traffic{Requests: none}},
		{name: "what is no such page", page: "{\n", err: "GET /stats/prometheus: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) {
				const filter = `^gateway\.(proxy_requests_total|proxy_retries_total|proxy_request_duration_seconds)\.service\.svc(\.|$)`
				if r.URL.Path != "/stats/prometheus" || r.URL.Query().Get("filter") != filter || !r.URL.Query().Has("usedonly") {
					t.Errorf("it asks for %s", r.URL)
				}
				_, _ = w.Write([]byte(tt.page))
			})
			got, err := admin.Traffic(t.Context(), "svc")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
