package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/test/prometheustest"
)

// dashboardQuery is a query of the dashboard's, with the values of Grafana's variables put in.
type dashboardQuery struct {
	of, legend, expr string
	instant          bool
}

var labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// dashboardQueries are all queries of the dashboard: those of panels, annotations and variables.
func dashboardQueries(t *testing.T) []dashboardQuery {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(deployDir, "grafana", "dashboards", "circuit-breakers.json"))
	if err != nil {
		t.Fatal(err)
	}
	type target struct {
		Expr         string
		RefID        string
		LegendFormat string
		Instant      bool
	}
	var d struct {
		Panels []struct {
			Type, Title string
			Targets     []target
		}
		Annotations struct {
			List []struct {
				Name   string
				Target target
			}
		}
		Templating struct {
			List []struct{ Type, Name, Query string }
		}
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	ms := strconv.FormatInt((4 * scrapeInterval).Milliseconds(), 10)
	replace := strings.NewReplacer("$service", ".*", "$proxy", ".*", "$__rate_interval_ms", ms, "$__rate_interval", ms+"ms").Replace
	var out []dashboardQuery
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q has no query", p.Title)
		}
		for _, q := range p.Targets {
			out = append(out, dashboardQuery{"panel " + p.Title + ", query " + q.RefID, q.LegendFormat, replace(q.Expr), q.Instant})
		}
	}
	for _, a := range d.Annotations.List {
		out = append(out, dashboardQuery{"annotation " + a.Name, "", replace(a.Target.Expr), false})
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		parts := labelValues.FindStringSubmatch(replace(v.Query))
		if parts == nil {
			t.Errorf("variable %s: the query %q is not known to this test", v.Name, v.Query)
			continue
		}
		out = append(out, dashboardQuery{"variable " + v.Name, "", fmt.Sprintf("count by (%s) (%s)", parts[2], parts[1]), true})
	}
	return out
}

// TestDashboard makes all happen that the dashboard shows, and asks Prometheus for each of its queries. Without trouble
// these have nothing to show in the real world too: state changes, ejected hosts, retries, 503s and the annotations.
func TestDashboard(t *testing.T) {
	t.Parallel()
	start := time.Now()
	svc, half, f, storm, g := newScript(t), newScript(t), newScript(t), newScript(t), newGate()
	f.set(flaky)
	storm.set(bad)
	full := newBackend(t, g.handle)
	plane := newPlane(t, quiet(
		layer2("svc", svc, time.Minute), layer2("half", half, time.Second),
		at("flaky", f, "retry: {max_retries: 1, base_delay: 1ms}", "breaker: {failure_threshold: off, failure_rate: 90%}"),
		at("storm", storm, "retry: {max_retries: 1, base_delay: 300ms, max_delay: 300ms}", "breaker: {failure_threshold: 90}"),
		at("full", full, "limits: {max_requests: 1, max_pending_requests: 1}"),
		at("dead", freeAddr(t), "retry: off", "fallback: {status: 200, body: later}"),
	), jsonLog...)
	plane.envoy = plane.startEnvoy("e2e", func(b *bootstrapv3.Bootstrap) {
		// Envoy makes up its histograms at each flush, which is every 5 s otherwise.
		b.StatsFlushInterval = durationpb.New(scrapeInterval)
	})
	plane.untilReporting()
	o := observe(plane)
	stop := o.workers(1, "/flaky", 10*time.Millisecond)

	o.trip("svc", svc)
	o.mustBeOpen("svc", svc, 5)
	o.trip("half", half)
	probe := newGate()
	half.set(held(probe))
	o.untilHalfOpen("half")
	o.crowd(5, "/half", half.backend, probe)
	left := newGate()
	half.set(held(left))
	o.leave(&http.Transport{DisableKeepAlives: true}, "/half", "the request is there", half.one)
	o.send(40, "GET", "/storm", "") // more at a time than the budget allows to be tried again
	o.crowd(5, "/full", full, g)
	for range 12 {
		o.get("/dead") // the first ones eject its host, which is not there
	}
	o.run("force-open", "full", "--reason", "a drill")
	o.write("picky.yaml", refusedByEnvoy)
	o.write("broken.yaml", at("broken", "127.0.0.1:9"))
	o.until("the service is there", func() error {
		if o.state("broken") == "" {
			return errors.New("it is not")
		}
		return nil
	})
	o.write("broken.yaml", "service: broken\n") // its old version stays

	// What shows trouble by a 0.
	zero := map[string]bool{"panel Config Status, query A": true, "annotation Policies with errors": true}
	for _, q := range dashboardQueries(t) {
		o.until(q.of+" has something to show: "+q.expr, func() error {
			series, err := o.ask(q, time.Since(start))
			if err != nil {
				return err
			}
			for _, s := range series {
				if s.Value != "NaN" && (s.Value != "0") != zero[q.of] {
					return nil
				}
			}
			return fmt.Errorf("%v", series)
		})
	}
	stop()
}

// What half-open refuses is no limit's, though Envoy counts both as overflows.
func TestDashboardTellsHalfOpenFromLimits(t *testing.T) {
	t.Parallel()
	start := time.Now()
	b := newScript(t)
	o := observe(newLayer2(t, layer2("svc", b, time.Second)))
	o.trip("svc", b)
	g := newGate()
	b.set(held(g))
	o.untilHalfOpen("svc")
	o.crowd(8, "/svc", b.backend, g)
	causes := map[string]dashboardQuery{}
	for _, q := range dashboardQueries(t) {
		causes[q.legend] = q
	}
	highest := func(legend string) float64 {
		q, ok := causes[legend]
		if !ok {
			t.Fatalf("no query is called %q", legend)
		}
		series, err := o.ask(q, time.Since(start))
		if err != nil {
			t.Fatal(err)
		}
		high := 0.0
		for _, s := range series {
			if v, err := strconv.ParseFloat(s.Value, 64); err == nil && v > high {
				high = v
			}
		}
		return high
	}
	o.until("half-open's refusals are shown", func() error {
		if highest("breaker half-open, probes taken") == 0 {
			return errors.New("they are not")
		}
		return nil
	})
	if got := highest("a limit"); got != 0 {
		t.Errorf("%v a second are said to be a limit's", got)
	}
	if all, explained := highest("all"), highest("breaker half-open, probes taken"); all > explained {
		t.Errorf("%v a second of %v are said to be the service's own", all-explained, all)
	}
}

// The first request of a service that fails, and no other: what is counted once appears in Prometheus with its value, in
// which a rate sees no step.
func TestDashboardShowsFirstFailure(t *testing.T) {
	t.Parallel()
	start := time.Now()
	b := newScript(t)
	b.set(bad)
	o := observe(newLayer2(t, at("svc", b, "retry: {max_retries: 1, base_delay: 1ms}")))
	if r := o.get("/svc"); r.status != http.StatusInternalServerError {
		t.Fatalf("status %d, want the service's own 500: %s", r.status, r.body)
	}
	asked := 0
	for _, q := range dashboardQueries(t) {
		switch q.of {
		case "panel Request Volume by Service, query A", "panel Error Rate by Service, query A", "panel Retry Attempts by Service, query A",
			"panel Request Latency p95, query A":
		default:
			continue
		}
		asked++
		o.until(q.of+" shows it", func() error {
			series, err := o.ask(q, time.Since(start))
			if err != nil {
				return err
			}
			for _, s := range series {
				if v, err := strconv.ParseFloat(s.Value, 64); err == nil && v > 0 {
					return nil
				}
			}
			return fmt.Errorf("%v", series)
		})
	}
	if asked != 4 {
		t.Errorf("%d queries, want 4", asked)
	}
}

// refusedByEnvoy is a policy that Breakwater takes for valid.
const refusedByEnvoy = "service: picky\nupstream: 127.0.0.1:9\nroutes:\n  - prefix: /picky\n  - regex: '/picky/\\pL{1000}\\pL{1000}\\pL{1000}\\pL{1000}\\pL{1000}'\n"

func (o *observed) ask(q dashboardQuery, span time.Duration) ([]prometheustest.Series, error) {
	if q.instant {
		return o.prometheus.Query(o.t.Context(), q.expr)
	}
	return o.prometheus.Range(o.t.Context(), q.expr, span, scrapeInterval)
}
