package admin_test

import (
	"strings"
	"testing"

	"github.com/breakwater/breakwater/admin"
)

// Every path of http.yaml is served: none is forgotten before the gateway.
func TestEveryRouteIsServed(t *testing.T) {
	url := start(t, admin.Options{Model: newFakeModel()}).url
	for _, r := range httpRoutes(t) {
		got := do(t, r.method, url+r.path, r.body, nil)
		if got.status == 405 || strings.Contains(got.body, "no such path") || strings.Contains(got.body, "Not Found") {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
	}
}
