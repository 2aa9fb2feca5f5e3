package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/breakwater/breakwater/test/prometheustest"
)

// deployDir is what is deployed beside Breakwater.
const deployDir = "../../deploy"

// The times of Prometheus in tests. An alert waits for alertDelay, what rules look at for minutes is alertRange, and an
// hour is forgetHour seconds.
const (
	scrapeInterval = 500 * time.Millisecond
	alertDelay     = "1s"
	alertRange     = "4s"
	forgetHour     = "0.1"
)

var (
	delays = regexp.MustCompile(`(?m)^( +for:) \w+$`)
	hours  = regexp.MustCompile(`\b3600\b`)
	ranges = regexp.MustCompile(`(\[|offset )\d+m\b`)
	starts = regexp.MustCompile(`(uptime <) \d+`)
	lags   = regexp.MustCompile(`(lag_seconds\) >) \d+`)
)

// observed is a stack that a Prometheus looks at, configured by deploy/prometheus but for addresses and times.
type observed struct {
	*stack
	prometheus *prometheustest.Process
}

// observe starts Prometheus on a stack and waits until it scrapes both processes.
func observe(s *stack) *observed {
	s.t.Helper()
	dir := s.t.TempDir()
	o := &observed{stack: s}
	o.copyRules(dir)
	config := o.configure(dir)
	o.prometheus = prometheustest.Start(s.t, config)
	s.until("Prometheus scrapes Breakwater and Envoy", func() error {
		targets, err := o.prometheus.Targets(s.t.Context())
		if err != nil {
			return err
		}
		up := 0
		for _, target := range targets {
			if target.Health != "up" {
				return fmt.Errorf("%+v", target)
			}
			up++
		}
		if up != 2 {
			return fmt.Errorf("%d targets, want 2", up)
		}
		return nil
	})
	return o
}

// copyRules copies the rules, with their times cut.
func (o *observed) copyRules(dir string) {
	o.t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "rules"), 0o700); err != nil {
		o.t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(deployDir, "prometheus", "rules", "*.yml"))
	if err != nil || len(paths) == 0 {
		o.t.Fatalf("%d files of rules: %v", len(paths), err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil {
			data = delays.ReplaceAll(data, []byte("$1 "+alertDelay))
			data = hours.ReplaceAll(data, []byte(forgetHour))
			data = ranges.ReplaceAll(data, []byte("${1}"+alertRange))
			data = starts.ReplaceAll(data, []byte("$1 1"))
			data = lags.ReplaceAll(data, []byte("$1 2"))
			err = os.WriteFile(filepath.Join(dir, "rules", filepath.Base(path)), data, 0o600)
		}
		if err != nil {
			o.t.Fatal(err)
		}
	}
}

// configure writes the configuration, with the address of this Breakwater and short times, and returns its path.
func (o *observed) configure(dir string) string {
	o.t.Helper()
	data, err := os.ReadFile(filepath.Join(deployDir, "prometheus", "prometheus.yml"))
	if err != nil {
		o.t.Fatal(err)
	}
	const compose = "breakwater:8081" // Breakwater's address in the file
	if n := bytes.Count(data, []byte(compose)); n != 2 {
		o.t.Fatalf("%s is in the configuration %d times, want 2", compose, n)
	}
	var config map[string]any
	if err := yaml.Unmarshal(bytes.ReplaceAll(data, []byte(compose), []byte(o.http)), &config); err != nil {
		o.t.Fatal(err)
	}
	config["global"] = map[string]any{
		"scrape_interval": scrapeInterval.String(), "scrape_timeout": scrapeInterval.String(), "evaluation_interval": scrapeInterval.String(),
	}
	if n := refresh(config); n != 1 {
		o.t.Fatalf("%d lists of targets are asked for, want 1", n)
	}
	path := filepath.Join(dir, "prometheus.yml")
	if data, err = yaml.Marshal(config); err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return path
}

// refresh has the lists of targets asked for as often as all else, and returns their number.
func refresh(config map[string]any) int {
	n := 0
	for _, job := range config["scrape_configs"].([]any) {
		lists, _ := job.(map[string]any)["http_sd_configs"].([]any)
		for _, l := range lists {
			l.(map[string]any)["refresh_interval"] = scrapeInterval.String()
			n++
		}
	}
	return n
}

// untilFires waits until an alert with these labels is firing, and returns it.
func (o *observed) untilFires(name string, labels map[string]string) prometheustest.Alert {
	o.t.Helper()
	var fired prometheustest.Alert
	o.until(name+" is firing", func() error {
		alerts, err := o.prometheus.Alerts(o.t.Context(), name)
		if err != nil {
			return err
		}
		for _, a := range alerts {
			if a.State == "firing" && has(a.Labels, labels) {
				fired = a
				return nil
			}
		}
		return fmt.Errorf("%+v", alerts)
	})
	return fired
}

// untilClears waits until no alert of a name is firing or pending.
func (o *observed) untilClears(name string) {
	o.t.Helper()
	o.until(name+" has cleared", func() error {
		alerts, err := o.prometheus.Alerts(o.t.Context(), name)
		if err == nil && len(alerts) != 0 {
			err = fmt.Errorf("%+v", alerts)
		}
		return err
	})
}

// has reports whether all of some labels are there.
func has(labels, some map[string]string) bool {
	for name, value := range some {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// metricNames returns the names of all metrics that Prometheus has got from the jobs.
func (o *observed) metricNames() ([]string, error) {
	series, err := o.prometheus.Query(o.t.Context(), `count by (__name__) ({job=~"breakwater|envoy"})`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range series {
		names = append(names, s.Labels["__name__"])
	}
	if len(names) == 0 {
		return nil, errors.New("no metrics")
	}
	slices.Sort(names)
	return names, nil
}
