package watch

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

// Policies for the tests: valid, wrong, and valid with a lint warning.
func good(service, port string) string {
	return "service: " + service + "\nupstream: http://127.0.0.1:" + port + "\n"
}

func bad(service string) string {
	return good(service, "8009") + "timeout: {connect: soon}\n"
}

func doubtful(service string) string {
	return good(service, "8008") + "retry: {methods: [GET, POST]}\n"
}

// lastGood is a LastGood in memory.
type lastGood struct {
	files            []policy.File
	loadErr, saveErr error
}

func (l *lastGood) LoadPolicies() ([]policy.File, error) { return l.files, l.loadErr }

func (l *lastGood) SavePolicies(files []policy.File) error {
	if l.saveErr == nil {
		l.files = files
	}
	return l.saveErr
}

// A harness is a Reloader in a synctest bubble, without file events: a change is
// applied within the poll's second.
type harness struct {
	*Reloader
	dir      string
	notified chan Status

	// mu guards applied and applyErr.
	mu       sync.Mutex
	applied  []*policy.Set
	applyErr error

	log      strings.Builder
	registry *prometheus.Registry
}

func newHarness(t *testing.T, dir string, change func(*Options)) *harness {
	t.Helper()
	h := &harness{dir: dir, notified: make(chan Status, 100), registry: prometheus.NewRegistry()}
	opts := Options{
		Source: &Source{Dir: dir, newHinter: pollOnly},
		Env:    func(string) (string, bool) { return "", false },
		Apply: func(_ context.Context, set *policy.Set) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.applyErr == nil {
				h.applied = append(h.applied, set)
			}
			return h.applyErr
		},
		Notify:     func(s Status) { h.notified <- s },
		Log:        hclog.New(&hclog.LoggerOptions{Output: &h.log}),
		Registerer: h.registry,
	}
	if change != nil {
		change(&opts)
	}
	r, err := NewReloader(opts)
	must(t, err)
	h.Reloader = r
	return h
}

// start loads, and then runs until the end of the test.
func (h *harness) start(t *testing.T) Status {
	t.Helper()
	must(t, h.Load(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait() // it has looked once
	return h.next(t)
}

// next waits for the next attempt.
func (h *harness) next(t *testing.T) Status {
	t.Helper()
	select {
	case s := <-h.notified:
		if diff := cmp.Diff(h.Status(), s); diff != "" {
			t.Errorf("notified of another status (-Status() +notified):\n%s", diff)
		}
		return s
	case <-time.After(deadline):
		t.Fatalf("no reload; log:\n%s", h.log.String())
		return Status{}
	}
}

func (h *harness) failApply(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.applyErr = err
}

func (h *harness) timesApplied() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.applied)
}

// served is what the last Apply has taken, as service=port.
func (h *harness) served() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.applied) == 0 {
		return ""
	}
	var names []string
	for _, svc := range h.applied[len(h.applied)-1].Services {
		names = append(names, svc.Name+"="+port(svc))
	}
	return strings.Join(names, " ")
}

func (h *harness) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := h.registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || label != "" && (len(m.GetLabel()) != 1 || m.GetLabel()[0].GetValue() != label) {
				continue
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s %q", name, label)
	return 0
}

func (h *harness) wantMetrics(t *testing.T, want map[string]float64) {
	t.Helper()
	got := map[string]float64{}
	for key := range want {
		name, label, _ := strings.Cut(key, "/")
		got[key] = h.metric(t, "breakwater_config_"+name, label)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func wantServed(t *testing.T, h *harness, want string) {
	t.Helper()
	if got := h.served(); got != want {
		t.Errorf("in force: %q, want %q; log:\n%s", got, want, h.log.String())
	}
}

// bubble runs test under synctest with a directory from outside of it.
func bubble(t *testing.T, files map[string]string, test func(t *testing.T, dir string)) {
	t.Helper()
	dir := tree(t, files)
	synctest.Test(t, func(t *testing.T) { test(t, dir) })
}

func noAttempt(t *testing.T, h *harness, d time.Duration) {
	t.Helper()
	select {
	case s := <-h.notified:
		t.Fatalf("an attempt without a change: %+v", s)
	case <-time.After(d):
	}
}

func seconds(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

// port is the first host's port.
func port(svc *policy.Service) string {
	return strconv.Itoa(int(svc.Upstream.Hosts[0].Port))
}
