// Package grafana tests what Grafana is provisioned with. That the dashboard has only fields
// that Grafana knows is what its generator, tools/grafana, looks to; that its queries have
// something to show is proved on a real Prometheus in test/e2e.
package grafana

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr string }
}

type dashboard struct {
	UID, Title string
	Panels     []panel
	Templating struct {
		List []struct {
			Name, Type string
			Current    struct{ Value any }
		}
	}
	Annotations struct {
		List []struct {
			Name, Step string
			Target     struct{ Interval string }
		}
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	data, err := os.ReadFile("dashboards/circuit-breakers.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// original are the panels of the dashboard that users had before.
var original = []string{
	"Circuit Breaker States", "Request Success Rate by Service", "Retry Attempts by Service", "Request Latency p95",
	"Breaker State Changes", "Error Rate by Service", "Request Volume by Service",
}

func TestPanels(t *testing.T) {
	d := readDashboard(t)
	titles, ids := map[string]bool{}, map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q: the id %d is not its own", p.Title, p.ID)
		}
		if titles[p.Title] {
			t.Errorf("two panels are called %q", p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is not on the grid: %+v", p.Title, p.GridPos)
		}
		for _, q := range d.Panels[:i] {
			if p.overlaps(q) {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" {
			t.Errorf("panel %q has no description", p.Title)
		}
		if p.Datasource.Type != "prometheus" || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q: the data source is %+v, not the chosen one", p.Title, p.Datasource)
		}
		p.checkTargets(t)
	}
	for _, title := range original {
		if !titles[title] {
			t.Errorf("no panel %q", title)
		}
	}
}

func (p panel) overlaps(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

// ofServices are metrics that the variables choose from; gateway_circuit_breaker_state_changes knows no proxy.
var ofServices = regexp.MustCompile(`(?:gateway_proxy_\w+|breakwater_breaker_state\S*|envoy_cluster_\w+)(?:\{[^}]*\})?`)

func (p panel) checkTargets(t *testing.T) {
	t.Helper()
	if len(p.Targets) == 0 {
		t.Errorf("panel %q has no query", p.Title)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		if refs[q.RefID] || q.RefID == "" {
			t.Errorf("panel %q: the name %q of a query is not its own", p.Title, q.RefID)
		}
		refs[q.RefID] = true
		for _, m := range ofServices.FindAllString(q.Expr, -1) {
			if !strings.Contains(m, `service=~"$service"`) || !strings.Contains(m, `proxy=~"$proxy"`) {
				t.Errorf("panel %q: %s is not of the services and proxies that are chosen", p.Title, m)
			}
		}
		if strings.Contains(strings.ReplaceAll(q.Expr, "[$__rate_interval]", ""), "[") {
			t.Errorf("panel %q: a rate over a fixed time: %s", p.Title, q.Expr)
		}
	}
}

func TestVariablesAndAnnotations(t *testing.T) {
	d := readDashboard(t)
	var variables, annotations []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
		if v.Name == "datasource" && v.Current.Value != dataSource(t).UID {
			t.Errorf("the data source is %v, and %q is provisioned", v.Current.Value, dataSource(t).UID)
		}
	}
	if want := []string{"datasource", "service", "proxy"}; !slices.Equal(variables, want) {
		t.Errorf("variables %v, want %v", variables, want)
	}
	for _, a := range d.Annotations.List {
		annotations = append(annotations, a.Name)
		// Older versions of Grafana read the one, newer ones the other. Without it they look at each minute, and do not
		// see what was over sooner.
		if want := dataSource(t).JSONData.TimeInterval; a.Step != want || a.Target.Interval != want {
			t.Errorf("annotation %s looks each %q and %q, want the scrape interval, %s", a.Name, a.Step, a.Target.Interval, want)
		}
	}
	if want := []string{"Breakers open", "Forced and disabled", "Alerts", "Policies with errors"}; !slices.Equal(annotations, want) {
		t.Errorf("annotations %v, want %v", annotations, want)
	}
}

type source struct {
	UID, Type, URL string
	JSONData       struct {
		TimeInterval string `yaml:"timeInterval"`
	} `yaml:"jsonData"`
}

func dataSource(t *testing.T) source {
	t.Helper()
	var file struct{ Datasources []source }
	readYAML(t, "provisioning/datasources/prometheus.yml", &file)
	if len(file.Datasources) != 1 {
		t.Fatalf("%d data sources, want 1", len(file.Datasources))
	}
	return file.Datasources[0]
}

// TestProvisioning looks that what names the same thing in different files does so.
func TestProvisioning(t *testing.T) {
	var prometheus struct {
		Global struct {
			ScrapeInterval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "../prometheus/prometheus.yml", &prometheus)
	if got, want := dataSource(t).JSONData.TimeInterval, prometheus.Global.ScrapeInterval; got != want {
		t.Errorf("Grafana takes the scrape interval for %s; it is %s", got, want)
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
