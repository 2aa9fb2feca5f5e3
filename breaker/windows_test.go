package breaker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

func TestWindow(t *testing.T) {
	s := Settings{WindowSize: 10, FailureThreshold: policy.Count{N: 9, Set: true}, SlowRate: policy.Ratio{Share: 0.9, Set: true}, SlowMinRequests: 100}
	m := New(s, time.Unix(0, 0), 0)
	for i, r := range [][2]uint64{{3, 0}, {2, 0}, {2, 2}, {0, 1}, {3, 0}} {
		m.Observe(Observation{
			At: time.Unix(int64(i), 0), Hosts: []HostResults{{Address: "h", Successes: r[0], Failures: r[1]}},
			Slow: SlowCalls{Measured: 1, Slow: uint64(i % 2)},
		})
	}
	// Five and four and one and three: three of the first have left the window.
	want := Window{Settings: s, Batches: []WindowBatch{{Attempts: 2}, {Attempts: 4, Failures: 2}, {Attempts: 1, Failures: 1}, {Attempts: 3}}, Measured: 5, Slow: 2}
	if diff := cmp.Diff(want, m.Window()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// It is a copy.
	m.Window().Batches[0].Attempts = 99
	if got := m.Window().Batches[0].Attempts; got != 2 {
		t.Errorf("the machine was changed: %d", got)
	}
	m.Reset(time.Unix(9, 0), Action{}, 0)
	if w := m.Window(); len(w.Batches) != 0 || w.Measured != 0 || w.WindowSize != 10 {
		t.Errorf("after a reset: %+v", w)
	}
}

func TestWindowsOfProxies(t *testing.T) {
	f := start(t, []*policy.Service{service("svc")}, "p2", "p1")
	got, err := f.Windows("svc")
	if err != nil || len(got) != 2 || got[0].Proxy != "p1" || got[1].Proxy != "p2" {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, w := range got {
		if w.WindowSize != 10 || len(w.Batches) != 0 {
			t.Errorf("nothing was reported of %s: %+v", w.Proxy, w)
		}
	}
	for i, r := range []xds.LoadReport{attempts(3, 0), attempts(1, 1)} {
		f.Report(r)
		until(t, "p1's window has it", func() string {
			if got, err = f.Windows("svc"); err != nil || len(got[0].Batches) != i+1 {
				return fmt.Sprintf("%+v, %v", got, err)
			}
			return ""
		})
	}
	if diff := cmp.Diff([]WindowBatch{{Attempts: 3}, {Attempts: 2, Failures: 1}}, got[0].Batches); diff != "" || len(got[1].Batches) != 0 {
		t.Errorf("p2 has %v, and p1 (-want +got):\n%s", got[1].Batches, diff)
	}
	if _, err := f.Windows("nobody"); !errors.Is(err, ErrUnknownService) {
		t.Errorf("of nobody: %v", err)
	}
}
