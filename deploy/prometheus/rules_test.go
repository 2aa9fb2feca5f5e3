// Package prometheus tests Prometheus' configuration and rules with promtool.
package prometheus

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/test/prometheustest"
)

// promtool runs promtool, which must be content.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), prometheustest.Binary(t, "promtool"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestConfig(t *testing.T) {
	promtool(t, "check", "config", "--lint=all", "prometheus.yml")
}

func TestRules(t *testing.T) {
	promtool(t, append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, glob(t, "rules/*.yml")...)...)
	promtool(t, append([]string{"test", "rules"}, glob(t, "tests/*.yml")...)...)
}

// rule is a rule of either kind, as far as it is looked at here.
type rule struct {
	Record      string
	Alert       string
	Labels      map[string]string
	Annotations map[string]string
}

// TestRulesAreTested looks that a test says of each alert both when it fires and, later, when it does not, and of each
// recording rule what it comes to; and that an alert tells an operator what he needs, with a section of its own in docs/runbook.md.
func TestRulesAreTested(t *testing.T) {
	tested := readTests(t)
	runbook, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readRules(t) {
		if r.Record != "" {
			if !tested.exprs[r.Record] {
				t.Errorf("no test of the recording rule %s", r.Record)
			}
			continue
		}
		if !tested.fires[r.Alert] {
			t.Errorf("no test in which %s fires", r.Alert)
		}
		if !tested.clears[r.Alert] {
			t.Errorf("no test in which %s clears after it fired", r.Alert)
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
		if want := "docs/runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("the runbook of %s is %q, want %s", r.Alert, r.Annotations["runbook"], want)
		}
		if !strings.Contains(string(runbook), "\n## "+r.Alert+"\n") {
			t.Errorf("docs/runbook.md has no section %s", r.Alert)
		}
		if s := r.Labels["severity"]; s != "info" && s != "warning" && s != "critical" {
			t.Errorf("the severity of %s is %q", r.Alert, s)
		}
	}
}

func readRules(t *testing.T) []rule {
	t.Helper()
	var out []rule
	for _, path := range glob(t, "rules/*.yml") {
		var file struct{ Groups []struct{ Rules []rule } }
		read(t, path, &file)
		for _, g := range file.Groups {
			out = append(out, g.Rules...)
		}
	}
	return out
}

// tested is what the files of tests/ ask for.
type tested struct {
	fires, clears map[string]bool // by alert
	exprs         map[string]bool // names of recording rules
}

func readTests(t *testing.T) tested {
	t.Helper()
	out := tested{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	rules := readRules(t)
	for _, path := range glob(t, "tests/*.yml") {
		var file struct {
			Tests []struct {
				Exprs []struct {
					Expr    string
					Samples []struct{} `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			}
		}
		read(t, path, &file)
		for _, test := range file.Tests {
			fired := map[string]bool{}
			for _, e := range test.Exprs {
				for _, r := range rules {
					if r.Record != "" && strings.Contains(e.Expr, r.Record) && len(e.Samples) > 0 {
						out.exprs[r.Record] = true
					}
				}
				alert, ok := strings.CutPrefix(e.Expr, `ALERTS{alertname="`)
				if !ok {
					continue
				}
				alert, ok = strings.CutSuffix(alert, `", alertstate="firing"}`)
				switch {
				case !ok:
				case len(e.Samples) > 0:
					fired[alert], out.fires[alert] = true, true
				case fired[alert]:
					out.clears[alert] = true
				}
			}
		}
	}
	return out
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(paths), err)
	}
	return paths
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
