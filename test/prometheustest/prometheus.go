// Package prometheustest runs the real Prometheus in tests, and asks it.
//
// It knows nothing of what is scraped. A Prometheus ends with its test.
package prometheustest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
)

const (
	startTimeout = 20 * time.Second
	stopGrace    = 5 * time.Second
	callTimeout  = 10 * time.Second
)

// Binary returns the path of prometheus or promtool, from the directory that the environment
// variable PROMETHEUS names. Without it the test fails.
func Binary(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("PROMETHEUS")
	if dir == "" {
		t.Fatal("PROMETHEUS is not set: run `make prometheus` or `make test`")
	}
	path := filepath.Join(dir, name)
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("PROMETHEUS: %v: run `make prometheus` or `make test`", err)
	}
	return path
}

// Process is one real Prometheus.
type Process struct {
	url     string
	logPath string
	process *child.Process
	client  *http.Client
}

// Start starts Prometheus on a configuration file and returns once it is ready. If the test failed, the end of
// its log is printed.
func Start(t testing.TB, config string) *Process {
	t.Helper()
	dir := t.TempDir()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t))))
	p := &Process{
		url: "http://" + addr, logPath: filepath.Join(dir, "prometheus.log"),
		client: &http.Client{Timeout: callTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	log, err := os.Create(p.logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(Binary(t, "prometheus"),
		"--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	if p.process, err = child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.process.Stop(stopGrace)
		if t.Failed() {
			t.Logf("Prometheus' log:\n%s", p.log())
		}
	})
	envoytest.Eventually(t, startTimeout, "Prometheus is ready", func() error {
		select {
		case <-p.process.Done():
			t.Fatalf("Prometheus ended: %v", p.process.Err())
		default:
		}
		_, err := p.get(t.Context(), "/-/ready", nil)
		return err
	})
	return p
}

func (p *Process) log() string {
	const shown = 8 << 10
	log, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-shown):])
}

func (p *Process) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d: %s", req.URL, resp.StatusCode, body)
	}
	return body, err
}

// api decodes the data of an answer of the API.
func (p *Process) api(ctx context.Context, path string, query url.Values, data any) error {
	body, err := p.get(ctx, path, query)
	if err != nil {
		return err
	}
	answer := struct {
		Data any `json:"data"`
	}{data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("GET %s: %w: %s", path, err, body)
	}
	return nil
}

// Series is one series of a query's result, with a value as Prometheus writes it: a number, NaN, +Inf or -Inf.
type Series struct {
	Labels map[string]string
	Value  string
}

// Query asks for an expression's value now.
func (p *Process) Query(ctx context.Context, expr string) ([]Series, error) {
	var data struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	}
	if err := p.api(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	if data.Type != "vector" {
		return nil, fmt.Errorf("%s: the result is a %s, not a vector", expr, data.Type)
	}
	var vector []struct {
		Metric map[string]string `json:"metric"`
		Value  [2]any            `json:"value"`
	}
	if err := json.Unmarshal(data.Result, &vector); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	out := make([]Series, len(vector))
	for i, v := range vector {
		out[i] = Series{v.Metric, fmt.Sprint(v.Value[1])}
	}
	return out, nil
}

// Range asks for an expression's values in the time up to now, and returns each series with the highest of its values,
// or with "NaN" where none is a number.
func (p *Process) Range(ctx context.Context, expr string, span, step time.Duration) ([]Series, error) {
	var data struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		} `json:"result"`
	}
	now := time.Now()
	unix := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64) }
	err := p.api(ctx, "/api/v1/query_range", url.Values{
		"query": {expr}, "start": {unix(now.Add(-span))}, "end": {unix(now)},
		"step": {strconv.FormatFloat(step.Seconds(), 'f', 3, 64)},
	}, &data)
	if err != nil {
		return nil, err
	}
	out := make([]Series, len(data.Result))
	for i, r := range data.Result {
		out[i] = Series{r.Metric, "NaN"}
		highest := math.Inf(-1)
		for _, v := range r.Values {
			n, err := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", expr, err)
			}
			if n > highest { // NaN is not
				highest, out[i].Value = n, fmt.Sprint(v[1])
			}
		}
	}
	return out, nil
}

// Alert is an alert that is pending or firing.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts returns the alerts of a name that are pending or firing.
func (p *Process) Alerts(ctx context.Context, name string) ([]Alert, error) {
	var data struct {
		Alerts []Alert `json:"alerts"`
	}
	if err := p.api(ctx, "/api/v1/alerts", nil, &data); err != nil {
		return nil, err
	}
	var out []Alert
	for _, a := range data.Alerts {
		if a.Labels["alertname"] == name {
			out = append(out, a)
		}
	}
	return out, nil
}

// Target is what Prometheus says of one that it scrapes.
type Target struct {
	Labels map[string]string `json:"labels"`
	URL    string            `json:"scrapeUrl"`
	Health string            `json:"health"` // up, down or unknown
	Error  string            `json:"lastError"`
}

// Targets returns what is scraped.
func (p *Process) Targets(ctx context.Context) ([]Target, error) {
	var data struct {
		Targets []Target `json:"activeTargets"`
	}
	return data.Targets, p.api(ctx, "/api/v1/targets", url.Values{"state": {"active"}}, &data)
}
