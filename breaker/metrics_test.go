package breaker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// gathered are the values of a registry by name and labels: name{value,value}, counts for histograms.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func TestMetricsOfTheBoard(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := startWith(t, Options{Registerer: reg}, []*policy.Service{service("other"), layer2Service()}, "p1", "p2")
	f.Served()
	f.envoys["p2"].set("other", "e.")
	f.look(t, "other", Closed)
	if _, err := f.Order(t.Context(), OrderRequest{Service: "svc", State: ForcedOpen, Proxy: "p1", Action: Action{Actor: "ann", Reason: "drill"}}); err != nil {
		t.Fatal(err)
	}
	got := gathered(t, reg)
	// The values of labels are in the order of the labels' names.
	for series, want := range map[string]float64{
		"breakwater_breaker_state{p1,svc,forced_open}":           1,
		"breakwater_breaker_state{p2,svc,closed}":                1,
		"breakwater_breaker_ejected_hosts{p2,other}":             1,
		"breakwater_orders{forced_open}":                         1,
		"breakwater_orders{disabled}":                            0,
		"breakwater_proxy_reachable{p1}":                         1,
		"gateway_circuit_breaker_state_changes{svc,forced_open}": 1,
		"gateway_circuit_breaker_state_changes{other,open}":      0,
	} {
		if v, ok := got[series]; !ok || v != want {
			t.Errorf("%s is %v, there %t; want %v", series, v, ok, want)
		}
	}
	for _, series := range []string{
		"breakwater_breaker_state{p1,svc,closed}", "breakwater_breaker_state{p2,svc,forced_open}", "breakwater_breaker_ejected_hosts{p1,other}",
	} {
		if _, ok := got[series]; ok {
			t.Errorf("%s is there", series)
		}
	}
	if at := got["breakwater_order_start_time_seconds{p1,svc,forced_open}"]; time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the order is of %v", at)
	}
	if n := got["breakwater_envoy_admin_request_duration_seconds{/clusters,ok}"]; n < 2 {
		t.Errorf("%v questions for clusters are timed", n)
	}
	if lag := got["breakwater_load_report_lag_seconds{p1}"]; lag <= 0 {
		t.Errorf("without a report since 1970 the lag is %v s", lag)
	}

	f.envoys["p1"].setDown(true)
	f.await(t, func(map[string]ProxyHealth) bool {
		_, _ = f.Breaker(t.Context(), "svc")
		return gathered(t, reg)["breakwater_proxy_reachable{p1}"] == 0
	})
	if n := gathered(t, reg)["breakwater_envoy_admin_request_duration_seconds{/clusters,error}"]; n == 0 {
		t.Error("no failed question is counted")
	}

	// What is known of a service that went, goes; its order stands.
	f.control.serve(service("other"))
	f.Served()
	for series := range gathered(t, reg) {
		if strings.Contains(series, "svc") && !strings.HasPrefix(series, "breakwater_order_start_time_seconds{") {
			t.Errorf("svc is gone, and %s is there", series)
		}
	}
}

// The first transition to any state is an increase: its count was 0 before. What operators order is no shadow's.
func TestTransitionsAreCountedFromZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	shadow := service("shadow")
	shadow.Breaker.Shadow = true
	f := startWith(t, Options{Registerer: reg}, []*policy.Service{shadow, service("svc")}, "p1")
	f.Served()
	want := map[string]float64{}
	for _, s := range []State{Closed, Open, HalfOpen, ForcedOpen, Disabled, Unknown} {
		want[string("gateway_circuit_breaker_state_changes{svc,"+s+"}")] = 0
		want[string("gateway_circuit_breaker_state_changes{shadow,"+s+"}")] = 0
		if s != ForcedOpen && s != Disabled {
			want[string("breakwater_breaker_shadow_transitions_total{shadow,"+s+"}")] = 0
		}
	}
	is := func(what string) {
		t.Helper()
		got := map[string]float64{}
		for series, v := range gathered(t, reg) {
			if strings.HasPrefix(series, "gateway_circuit_breaker_state_changes{") || strings.HasPrefix(series, "breakwater_breaker_shadow_transitions_total{") {
				got[series] = v
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	is("at first")
	for _, name := range []string{"svc", "shadow"} {
		if _, err := f.Order(t.Context(), OrderRequest{Service: name, State: ForcedOpen, Action: Action{Actor: "ann"}}); err != nil {
			t.Fatal(err)
		}
		want["gateway_circuit_breaker_state_changes{"+name+",forced_open}"] = 1
		is("an order for " + name)
		if _, err := f.Order(t.Context(), OrderRequest{Service: name, State: Closed, Action: Action{Actor: "ann"}}); err != nil {
			t.Fatal(err)
		}
		want["gateway_circuit_breaker_state_changes{"+name+",closed}"] = 1
		is("its end")
	}
	f.control.serve(service("later"), service("shadow"), service("svc"))
	f.Served()
	f.control.serve(service("svc"))
	f.Served()
	maps.DeleteFunc(want, func(series string, _ float64) bool { return strings.Contains(series, "{shadow,") })
	is("a service went")
}

func TestStatesOfManyBreakers(t *testing.T) {
	services := []*policy.Service{service("svc")}
	for i := range maxStates {
		services = append(services, service(fmt.Sprintf("svc-%d", i)))
	}
	reg := prometheus.NewRegistry()
	f := startWith(t, Options{Registerer: reg}, services[:1], "p1")
	states := func() []string {
		var out []string
		for series := range maps.Keys(gathered(t, reg)) {
			if strings.HasPrefix(series, "breakwater_breaker_state{") {
				out = append(out, series)
			}
		}
		return out
	}
	f.look(t, "svc", Closed)
	if got := states(); len(got) != 1 {
		t.Errorf("%v", got)
	}
	f.control.serve(services...)
	f.envoys["p1"].set("svc", "ee")
	end := time.After(deadline)
	for {
		_, _ = f.Breaker(t.Context(), "svc")
		got := states()
		if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "svc}") || strings.Contains(s, "svc,") }) &&
			!slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "closed") }) {
			return
		}
		select {
		case <-end:
			t.Fatalf("%d series: %v", len(got), got[:min(len(got), 5)])
		default:
		}
	}
}
