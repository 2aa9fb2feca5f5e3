package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/breakwater/breakwater/test/envoytest"
)

// families are the metrics of a page, by its TYPE lines.
func families(page string) []string {
	var out []string
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			out = append(out, name)
		}
	}
	return out
}

// withoutCluster drops the series of one cluster, and the TYPE lines that are left with none.
func withoutCluster(page, cluster string) string {
	var b strings.Builder
	var head string
	for line := range strings.Lines(page) {
		switch {
		case strings.HasPrefix(line, "# TYPE "):
			head = line
		case strings.HasPrefix(line, "#") || strings.Contains(line, `envoy_cluster_name="`+cluster+`"`):
		default:
			b.WriteString(head)
			b.WriteString(line)
			head = ""
		}
	}
	return b.String()
}

// documented are the metrics in the tables of docs/metrics.md.
func documented(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], "_") && m[1] != "circuit_open" {
			out = append(out, m[1])
		}
	}
	return out
}

// docs/metrics.md has every metric that is exposed, and no other; and Breakwater's own have proper names and help.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	b, shadow, flaky := newScript(t), newScript(t), newScript(t)
	u := envoytest.NewUpstream(t)
	u.Behave(failing)
	s := newLayer2(t,
		layer2("svc", b, time.Minute),
		layer2("shadow", shadow, time.Minute, "shadow: true"),
		at("flaky", flaky, "retry: {max_retries: 1, base_delay: 1ms, max_delay: 2ms, budget: 100%}"),
		at("ejected", u.Addr(), "retry: off", "breaker: {failure_threshold: 1}"),
		at("checked", u.Addr(), "health_check: {path: /, interval: 1s, timeout: 1s}"),
	)
	s.trip("svc", b)
	shadow.set(alternating)
	flaky.set(alternating)
	for range 10 {
		s.get("/shadow")
		s.get("/flaky")
	}
	s.get("/ejected")
	s.run("force-open", "checked", "--reason", "a test")
	g := newGate()
	shadow.set(held(g))
	s.leave(&http.Transport{DisableKeepAlives: true}, "/shadow", "the request is there", shadow.one)

	var page string
	s.until("all of Breakwater's metrics are there", func() error {
		var err error
		if page, err = s.fetch("http://" + s.http + "/metrics"); err != nil {
			return err
		}
		if missing := slices.DeleteFunc(documented(t), func(name string) bool {
			return strings.HasPrefix(name, "envoy_") || slices.Contains(families(page), name)
		}); len(missing) > 0 {
			return fmt.Errorf("there is no %v", missing)
		}
		return nil
	})
	known := map[string]bool{}
	for _, name := range documented(t) {
		known[name] = true
	}
	for _, name := range families(page) {
		if !known[name] && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// The name is that of the original dashboards.
		if p.Metric != "gateway_circuit_breaker_state_changes" {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}

	var envoys string
	s.until("all of Envoy's metrics are there", func() error {
		all, err := s.fetch("http://" + s.envoy.AdminAddr + "/stats/prometheus")
		if err != nil {
			return err
		}
		envoys = withoutCluster(all, "breakwater_xds")
		if missing := slices.DeleteFunc(documented(t), func(name string) bool {
			return !strings.HasPrefix(name, "envoy_") || slices.Contains(families(envoys), name)
		}); len(missing) > 0 {
			return fmt.Errorf("there is no %v", missing)
		}
		return nil
	})
	whole := []string{"envoy_http_", "envoy_cluster_manager_", "envoy_listener_manager_", "envoy_control_plane_", "envoy_load_reporter_", "envoy_runtime_", "envoy_server_"}
	unknown := map[string]bool{}
	for _, name := range families(envoys) {
		if !known[name] && !slices.ContainsFunc(whole, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			unknown[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		t.Errorf("%s is not in docs/metrics.md", name)
	}
}
