package envoy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

func TestClusterStats(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	g := startGateway(t, cluster{name: "a", port: u.Port()}, cluster{name: "b", port: u.Port()}, cluster{name: "cab", port: u.Port()})
	for path, status := range map[string]int{"/a": 500, "/cab": 404} {
		u.Behave(envoytest.Behaviour{Status: status, Delay: 20 * time.Millisecond})
		if got, err := g.get(t.Context(), path); err != nil || got != status {
			t.Fatalf("%s: %d, %v", path, got, err)
		}
	}
	counters, err := g.Admin().ClusterCounters(t.Context(), []string{"a", "b", "nobody"}, "upstream_rq_[0-9]{3}|upstream_rq_timeout")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]uint64{"a": {"upstream_rq_500": 1, "upstream_rq_timeout": 0}, "b": {"upstream_rq_timeout": 0}}
	if diff := cmp.Diff(want, counters); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	envoytest.Eventually(t, 15*time.Second, "Envoy flushes its histograms", func() error {
		times, err := g.Admin().ClusterHistograms(t.Context(), []string{"a", "b"}, "upstream_rq_time")
		if err != nil {
			return err
		}
		if all, above := times["a"].Above(10); len(times) != 1 || all != 1 || above != 1 {
			return fmt.Errorf("%v", times)
		}
		return nil
	})
}

func TestHistogram(t *testing.T) {
	before := envoy.Histogram{{0, 10, 5}, {10, 20, 1}}
	now := envoy.Histogram{{0, 10, 7}, {10, 20, 11}, {20, 40, 3}}
	since := now.Since(before)
	if diff := cmp.Diff(envoy.Histogram{{0, 10, 2}, {10, 20, 10}, {20, 40, 3}}, since); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// A bin that has nothing new is left out, and one that was not there is new.
	if diff := cmp.Diff(envoy.Histogram{{5, 6, 1}}, envoy.Histogram{{5, 6, 1}, {9, 10, 4}}.Since(envoy.Histogram{{9, 10, 4}})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, tt := range []struct {
		bound float64
		above uint64
	}{{0, 15}, {10, 13}, {15, 8}, {20, 3}, {30, 2}, {40, 0}, {100, 0}} {
		if all, above := since.Above(tt.bound); all != 15 || above != tt.above {
			t.Errorf("%d of %d are above %v, want %d of 15", above, all, tt.bound, tt.above)
		}
	}
	// A counter that went back has begun anew.
	if diff := cmp.Diff(before, before.Since(now)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// So has a histogram that has lost a bin.
	if diff := cmp.Diff(envoy.Histogram{{10, 20, 9}}, envoy.Histogram{{10, 20, 9}}.Since(before)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(now, now.Since(nil)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The answers are those of Envoy 1.40; test/e2e asks the real one.
func TestRuntimeAndEnforces(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/runtime":
			fmt.Fprint(w, `{"layers": ["x", "admin"], "entries": {"a.b": {"final_value": "100", "layer_values": ["100", ""]}}}`)
		case "/config_dump":
			if r.URL.Query().Get("name_regex") != `^a\.b$` || r.URL.Query().Get("resource") != "dynamic_active_clusters" {
				fmt.Fprint(w, `{}`)
				return
			}
			fmt.Fprint(w, `{"configs": [{"cluster": {"name": "a.b", "outlier_detection": {"enforcing_consecutive_5xx": 100}}}]}`)
		}
	}))
	defer server.Close()
	a := envoy.NewAdmin(server.Listener.Addr().String())
	defer a.Close()
	if got, err := a.Runtime(t.Context()); err != nil || len(got) != 1 || got["a.b"] != "100" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := a.Enforces(t.Context(), "a.b"); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := a.Enforces(t.Context(), "nobody"); err == nil {
		t.Error("an unknown cluster: no error")
	}
}
