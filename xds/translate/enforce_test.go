package translate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/xds/translate"
)

func TestEnforce(t *testing.T) {
	if got := translate.Enforce(nil, "lease", 7).AsMap(); len(got) > 0 {
		t.Errorf("nothing to enforce: %v", got)
	}
	got := translate.Enforce([]translate.Enforcement{
		{Service: "a"},
		{Service: "b", Fallback: true},
		{Service: "c", Max: 3, MaxPending: 2, Fallback: true},
	}, "lease", 7).AsMap()
	want := map[string]any{
		"lease":                                           7.0,
		"breakwater.half_open.c":                          100.0,
		"upstream.maintenance_mode.a":                     100.0,
		"upstream.maintenance_mode.b":                     100.0,
		"breakwater.fallback.b":                           100.0,
		"circuit_breakers.c.default.max_requests":         3.0,
		"circuit_breakers.c.default.max_pending_requests": 2.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
