package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/admin"
)

// Each request is counted; timed are those alone that end by themselves, and no client makes a label up.
func TestHTTPMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	run := start(t, admin.Options{Model: newFakeModel(), Registerer: reg, Gatherer: reg, Version: "v1.2.3"})
	for _, path := range []string{"/api/v1/breakers", "/api/v1/breakers/pay-service/explain", "/nobody/knows"} {
		get(t, run.url+path)
	}
	req, err := http.NewRequestWithContext(t.Context(), "BREW", run.url+"/api/v1/breakers", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	watch, err := http.NewRequestWithContext(t.Context(), http.MethodHead, run.url+"/api/v1/breakers:watch", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = http.DefaultClient.Do(watch); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	page := get(t, run.url+"/metrics").body
	for _, want := range []string{
		`breakwater_http_request_duration_seconds_count{method="get"} 3`,
		`breakwater_http_request_duration_seconds_count{method="unknown"} 1`,
		`breakwater_build_info{goversion="go`,
	} {
		if !strings.Contains(page, "\n"+want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, not := range []string{`duration_seconds_count{method="head"}`, "nobody", "brew"} {
		if strings.Contains(page, not) {
			t.Errorf("/metrics has %s", not)
		}
	}
}
