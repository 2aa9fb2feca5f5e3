package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/prometheustest"
)

// pod is one port of a pod as Prometheus finds it in Kubernetes.
func pod(addr, app, port, name, phase string) map[string]any {
	const meta = "__meta_kubernetes_pod_"
	return map[string]any{"targets": []string{addr}, "labels": map[string]string{
		meta + "label_app_kubernetes_io_name": app, meta + "container_port_name": port, meta + "name": name, meta + "phase": phase,
	}}
}

// What deploy/prometheus/kubernetes gives a Prometheus to scrape there has the jobs, the labels and the names that the
// rules and the dashboard ask for. A real Prometheus relabels what it would have found.
func TestPrometheusInKubernetes(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(at("svc", u.Addr())))
	s.get("/svc")
	closed := closedPort(t) // a target there that is not dropped is down
	pods := []any{
		pod(s.http, "breakwater", "http", "breakwater-1", "Running"),
		pod(closed, "breakwater", "xds", "breakwater-1", "Running"),
		pod(s.envoy.AdminAddr, "envoy", "admin", "e2e", "Running"),
		pod(closed, "envoy", "gateway", "e2e", "Running"),
		pod(closed, "envoy", "admin", "ended", "Succeeded"),
		pod(closed, "fraud-service", "http", "fraud-service-1", "Running"),
	}
	data, err := os.ReadFile(filepath.Join(deployDir, "prometheus", "kubernetes", "scrape.yml"))
	var config map[string]any
	if err == nil {
		err = yaml.Unmarshal(data, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range config["scrape_configs"].([]any) {
		job := job.(map[string]any)
		if job["kubernetes_sd_configs"] == nil {
			t.Fatalf("no kubernetes_sd_configs in %v", job)
		}
		delete(job, "kubernetes_sd_configs")
		job["static_configs"] = pods
	}
	config["global"] = map[string]any{"scrape_interval": scrapeInterval.String(), "scrape_timeout": scrapeInterval.String()}
	path := filepath.Join(t.TempDir(), "prometheus.yml")
	if data, err = yaml.Marshal(config); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := prometheustest.Start(t, path)
	for _, expr := range []string{
		`breakwater_breaker_state{job="breakwater", service="svc", proxy="e2e", state="closed"} == 1`,
		`gateway_proxy_requests_total{job="envoy", service="svc", proxy="e2e", status="success"} == 1`,
		`gateway_proxy_request_duration_seconds_count{job="envoy", service="svc", proxy="e2e"}`,
		`envoy_cluster_membership_total{job="envoy", service="svc", proxy="e2e"}`,
	} {
		s.until("Prometheus has "+expr, func() error {
			series, err := p.Query(t.Context(), expr)
			if err == nil && len(series) != 1 {
				err = fmt.Errorf("%v", series)
			}
			return err
		})
	}
	targets, err := p.Targets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, target := range targets {
		got[target.Labels["job"]+" "+target.Labels["proxy"]] = target.Health
	}
	if want := map[string]string{"breakwater ": "up", "envoy e2e": "up"}; len(targets) != 2 || !maps.Equal(got, want) {
		t.Errorf("the targets are %+v", targets)
	}
}
