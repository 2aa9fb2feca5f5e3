package breaker

import (
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// TestNearMisses: whoever misspells a service or a proxy is told which there is.
func TestNearMisses(t *testing.T) {
	f := start(t, []*policy.Service{service("fraud-service"), service("search-service")}, "edge-1", "edge-2")
	ctx := t.Context()
	for name, tt := range map[string]struct {
		ask  func() error
		want string
	}{
		"a breaker": {
			func() error { _, err := f.Breaker(ctx, "fraud-servic"); return err }, "unknown service: fraud-servic; did you mean fraud-service?",
		},
		"a reset": {
			func() error { _, err := f.Reset(ctx, ResetRequest{Service: "saerch-service"}); return err }, "unknown service: saerch-service; did you mean search-service?",
		},
		"an order": {
			func() error {
				_, err := f.Order(ctx, OrderRequest{Service: "fraud-service", State: ForcedOpen, Proxy: "edg-1", Action: Action{Reason: "a drill"}})
				return err
			},
			"unknown proxy: edg-1; did you mean edge-1?",
		},
		"nothing near": {func() error { _, err := f.Breaker(ctx, "xyz"); return err }, "unknown service: xyz"},
	} {
		if err := tt.ask(); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}
