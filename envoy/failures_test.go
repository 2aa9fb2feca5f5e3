package envoy_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// TestFailureCounts: a real Envoy has every counter, and each kind of failure raises its own.
func TestFailureCounts(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name      string
		behaviour envoytest.Behaviour
		refused   bool
		want      map[string]uint64
	}{
		{"ok", envoytest.Behaviour{}, false, map[string]uint64{}},
		{"error", envoytest.Behaviour{Status: 500}, false, map[string]uint64{}},
		{"timeout", envoytest.Behaviour{Hang: true}, false, map[string]uint64{"upstream_rq_timeout": 1}},
		{"reset", envoytest.Behaviour{Reset: true}, false, map[string]uint64{"upstream_cx_destroy_remote_with_active_rq": 1}},
		{"refused", envoytest.Behaviour{}, true, map[string]uint64{"upstream_cx_connect_fail": 1, "upstream_rq_pending_failure_eject": 1}},
	}
	var clusters []cluster
	for _, k := range kinds {
		clusters = append(clusters, behaving(t, k.name, k.behaviour, k.refused))
	}
	g := startGateway(t, clusters...)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			if _, err := g.get(t.Context(), "/"+k.name); err != nil {
				t.Fatal(err)
			}
			got, err := g.Admin().FailureCounts(t.Context(), k.name)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range envoy.FailureStats {
				if _, ok := got[s.Name]; !ok {
					t.Errorf("Envoy has no counter %s", s.Name)
				}
			}
			maps.DeleteFunc(got, func(_ string, n uint64) bool { return n == 0 })
			if diff := cmp.Diff(k.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := g.Admin().FailureCounts(t.Context(), "o"); err != nil || len(got) > 0 {
		t.Errorf("counts of a cluster that is not there: %v, %v", got, err)
	}
}
