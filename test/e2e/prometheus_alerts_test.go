package e2e

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// flaky answers two of three requests with 500. With one retry half of what callers send fails, and no host fails so
// often in a row that it is ejected.
func flaky(n int, w http.ResponseWriter, r *http.Request) {
	if n%3 != 0 {
		bad(n, w, r)
		return
	}
	good(n, w, r)
}

func TestPrometheusAlerts(t *testing.T) {
	t.Parallel()
	b, f := newScript(t), newScript(t)
	f.set(flaky)
	o := observe(newLayer2(t, layer2("svc", b, time.Minute), at("flaky", f,
		"retry: {max_retries: 1, base_delay: 1ms}", "breaker: {failure_threshold: off, failure_rate: 90%}")))
	stop := o.workers(1, "/flaky", 20*time.Millisecond)

	o.trip("svc", b)
	a := o.untilFires("CircuitBreakerOpen", map[string]string{"service": "svc"})
	if got, want := a.Annotations["summary"], "The circuit breaker of svc is open."; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if got := a.Annotations["description"]; !strings.Contains(got, "in 1 of the proxies") {
		t.Errorf("description %q", got)
	}
	o.untilFires("CircuitBreakerOpenLong", map[string]string{"service": "svc", "severity": "critical"})
	o.untilFires("HighErrorRate", map[string]string{"service": "flaky"})
	o.untilFires("HighRetryRate", map[string]string{"service": "flaky"})
	// What Envoy says has the service and the name that Breakwater has for the proxy.
	for _, metric := range []string{"gateway_proxy_requests_total", "envoy_cluster_upstream_rq_total", "breakwater_breaker_state"} {
		o.until(metric+" of the service in the proxy is there", func() error {
			series, err := o.prometheus.Query(t.Context(), `count(`+metric+`{proxy="e2e", service="flaky"})`)
			if err == nil && len(series) == 0 {
				err = errors.New("it is not")
			}
			return err
		})
	}
	stop()
	o.untilClears("HighErrorRate")
	o.untilClears("HighRetryRate")

	o.run("reset", "svc", "--reason", "it is back")
	o.untilClears("CircuitBreakerOpen")
	o.untilClears("CircuitBreakerOpenLong")

	o.run("disable", "svc", "--reason", "a drill")
	o.untilFires("ForcedStateForgotten", map[string]string{"service": "svc", "state": "disabled"})
	o.run("release", "svc")
	o.untilClears("ForcedStateForgotten")

	good, err := os.ReadFile(filepath.Join(o.dir, "services.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	o.write("services.yaml", "service: svc\nupstraem: nowhere\n")
	o.untilFires("ConfigRejected", nil)
	o.write("services.yaml", string(good))
	o.untilClears("ConfigRejected")

	// Of Envoy's metrics only the gateway's have lost the prefix.
	names, err := o.metricNames()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gateway_proxy_requests_total", "gateway_proxy_request_duration_seconds_bucket", "envoy_cluster_upstream_rq_total"} {
		if !slices.Contains(names, name) {
			t.Errorf("no metric %s in %v", name, names)
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "envoy_gateway_") {
			t.Errorf("%s has its prefix still", name)
		}
	}

	o.stop()
	o.untilFires("BreakwaterDown", nil)
	o.start()
	o.untilClears("BreakwaterDown")
}
