package translate_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/envoy"
)

// TestCallersDoNotSpeakForTheGateway: no service sees a header of a caller's that has the name of one of the gateway's own, and
// every other header stays.
func TestCallersDoNotSpeakForTheGateway(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, testGateway(), service("pay", up.host(t)))
	up.handle(func(w http.ResponseWriter, r *http.Request) {
		var names []string
		for name := range r.Header {
			if name = strings.ToLower(name); strings.Contains(name, "circuit") || strings.Contains(name, "breakwater") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		w.Write([]byte(strings.Join(names, " ")))
	})
	a := g.send(http.MethodPost, "/pay", "x-circuit-breaker", "open", "X-Circuit-Breaker-Attempts", "7", "x-circuit-breaker-new", "1",
		"x_circuit_breaker", "open", envoy.GatewayProof, "a guess", "x-breakwater-new", "1",
		"x-circuit", "its own", "my-x-circuit-breaker", "its own")
	if want := "my-x-circuit-breaker x-circuit"; a.status != http.StatusOK || a.body != want {
		t.Errorf("%d, the service sees %q, want %q", a.status, a.body, want)
	}
}
