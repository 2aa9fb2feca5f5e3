package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// untilMetrics waits until Breakwater's series have these values; -1 stands for none.
func (s *stack) untilMetrics(what string, want map[string]float64) {
	s.t.Helper()
	s.until(what+" is in the metrics", func() error {
		page, err := s.fetch("http://" + s.http + "/metrics")
		if err != nil {
			return err
		}
		got := parseSeries(s.t, page)
		var errs []error
		for name, v := range want {
			if have, ok := got[name]; ok && have != v || !ok && v != -1 {
				errs = append(errs, fmt.Errorf("%s is %v, there %t; want %v", name, have, ok, v))
			}
		}
		return errors.Join(errs...)
	})
}

// What alerts on the control plane ask for changes with what it is about, and clears again.
func TestMetricsTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	picky := refusables()[0]
	s := newStrict(t, map[string]string{
		"picky.yaml": goodPicky(u, 10), "other.yaml": other(u, 10), "gateway.yaml": "access_log: off\n",
	})
	healthy := map[string]float64{
		"breakwater_config_last_reload_successful":                             1,
		"breakwater_config_services":                                           2,
		"breakwater_config_stale_services":                                     0,
		`breakwater_config_problems{severity="error"}`:                         0,
		`breakwater_xds_rejected_resources{type="route"}`:                      0,
		`breakwater_orders{state="forced_open"}`:                               0,
		`breakwater_connected_proxies`:                                         1,
		`breakwater_proxy_reachable{proxy="e2e"}`:                              1,
		`breakwater_breaker_state{proxy="e2e",service="other",state="closed"}`: 1,
	}
	s.untilMetrics("a healthy system", healthy)
	if hash := s.metric("breakwater_config_hash"); hash == 0 {
		t.Error("there is no hash of what is in force")
	}
	if at := time.Unix(int64(s.metric("breakwater_config_last_reload_success_timestamp_seconds")), 0); time.Since(at) > time.Minute {
		t.Errorf("the last success is of %s", at)
	}
	s.until("load reports come", func() error {
		if lag := s.metric(`breakwater_load_report_lag_seconds{proxy="e2e"}`); lag > 1 {
			return fmt.Errorf("the last is %v s old", lag)
		}
		return nil
	})

	s.write("other.yaml", strings.ReplaceAll(other(u, 10), "timeout", "timeuot"))
	s.untilMetrics("a fault", map[string]float64{
		"breakwater_config_last_reload_successful": 0, "breakwater_config_stale_services": 1, "breakwater_config_services": 2,
		`breakwater_config_problems{severity="error"}`: 1, `breakwater_config_reloads_total{result="partial"}`: 1,
	})
	s.write("other.yaml", other(u, 10))
	s.untilMetrics("its end", healthy)

	s.write("picky.yaml", picky.bad(u))
	s.untilMetrics("a rejection", map[string]float64{
		`breakwater_xds_rejected_resources{type="route"}`: 1, `breakwater_xds_nacks_total{type="route"}`: 1,
	})
	s.write("picky.yaml", goodPicky(u, 11))
	s.untilMetrics("its end", healthy)

	s.run("force-open", "other", "--reason", "a drill")
	s.untilMetrics("an order", map[string]float64{
		`breakwater_orders{state="forced_open"}`:                                     1,
		`breakwater_breaker_state{proxy="e2e",service="other",state="forced_open"}`:  1,
		`breakwater_breaker_state{proxy="e2e",service="other",state="closed"}`:       -1,
		`gateway_circuit_breaker_state_changes{service="other",state="forced_open"}`: 1,
	})
	since := s.metric(`breakwater_order_start_time_seconds{proxy="",service="other",state="forced_open"}`)
	if at := time.Unix(int64(since), 0); time.Since(at) > time.Minute {
		t.Errorf("the order is of %s", at)
	}
	s.run("release", "other")
	s.untilMetrics("its end", healthy)

	s.envoy.Kill()
	s.untilMetrics("that a proxy is gone", map[string]float64{
		"breakwater_connected_proxies":                                         0,
		`breakwater_proxy_reachable{proxy="e2e"}`:                              -1,
		`breakwater_breaker_state{proxy="e2e",service="other",state="closed"}`: -1,
	})
}
