package prometheus

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// relabeling is a rule of Prometheus' or, by the names that the operator has for its fields, of a PodMonitor's.
type relabeling struct {
	Source      []string `yaml:"source_labels"`
	Regex       string
	Target      string `yaml:"target_label"`
	Replacement string
	Action      string
}

// scrape is a job, without where its targets come from.
type scrape struct {
	Job     string              `yaml:"job_name"`
	Path    string              `yaml:"metrics_path"`
	Params  map[string][]string `yaml:"params"`
	Relabel []relabeling        `yaml:"relabel_configs"`
	Metrics []relabeling        `yaml:"metric_relabel_configs"`
}

func readScrapes(t *testing.T, path string) []scrape {
	t.Helper()
	var file struct {
		Scrapes []scrape `yaml:"scrape_configs"`
	}
	read(t, path, &file)
	return file.Scrapes
}

// promtool takes the file for Kubernetes as its comment says to include it.
func TestKubernetesConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "breakwater"), os.DirFS("kubernetes")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("scrape_config_files: [breakwater/scrape.yml]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "config", "--lint=all", config)
}

// In Kubernetes the same jobs ask for the same paths and come to the same names as with docker-compose.yml.
func TestKubernetesScrapesTheSame(t *testing.T) {
	want := readScrapes(t, "prometheus.yml")
	for name, got := range map[string][]scrape{"scrape.yml": readScrapes(t, "kubernetes/scrape.yml"), "podmonitors.yaml": podMonitors(t)} {
		for i := range got {
			got[i].Relabel = nil // of targets, which are found in another way
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not as prometheus.yml (-), but (+):\n%s", name, diff)
		}
	}
}

// podMonitors reads the PodMonitors as the jobs that the operator makes of them.
func podMonitors(t *testing.T) []scrape {
	t.Helper()
	data, err := os.ReadFile("kubernetes/podmonitors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The operator's names of fields, which are Prometheus' in another spelling.
	data = []byte(strings.NewReplacer(
		"sourceLabels", "source_labels", "targetLabel", "target_label", "metricRelabelings", "metric_relabel_configs",
		"relabelings", "relabel_configs", "path:", "metrics_path:",
	).Replace(string(data)))
	var out []scrape
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var m struct {
			Kind string
			Spec struct {
				Endpoints []scrape `yaml:"podMetricsEndpoints"`
			}
		}
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		if m.Kind != "PodMonitor" || len(m.Spec.Endpoints) != 1 {
			t.Fatalf("%+v", m)
		}
		s := m.Spec.Endpoints[0]
		for _, r := range s.Relabel {
			if r.Target == "job" {
				s.Job = r.Replacement
			}
		}
		for i := range s.Metrics {
			if s.Metrics[i].Action == "replace" {
				s.Metrics[i].Action = "" // by default
			}
		}
		out = append(out, s)
	}
}
