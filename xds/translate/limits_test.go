package translate_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/breakwater/breakwater/policy"
)

// The policy's limits come by runtime alone: an edit of them changes no cluster.
func TestLimitsOverrideTheCluster(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	release := make(chan struct{})
	up.handle(func(_ http.ResponseWriter, _ *http.Request) { <-release })
	s := service("pay", up.host(t))
	s.Limits = policy.Limits{MaxConnections: 100, MaxPendingRequests: 100, MaxRequests: 2}
	g := startGateway(t, testGateway(), s)
	overloaded := parallel(g, 5, "/pay", func(count int) {
		if count == 3 {
			close(release)
		}
	})
	if overloaded != 3 {
		t.Errorf("%d of 5 requests were over the limit of 2, want 3", overloaded)
	}
	if got := g.layer("breakwater-limits")["circuit_breakers.pay.default.max_requests"]; got != "2" {
		t.Errorf("runtime says max_requests %q", got)
	}

	modified := g.stat("cluster_manager.cluster_modified")
	s.Limits.MaxRequests = 1024
	s.Limits.MaxConnections = 1024
	s.Limits.MaxPendingRequests = 1024
	g.set(s)
	g.waitFor("the limits to go", func() error {
		if got := g.layer("breakwater-limits"); len(got) != 0 {
			return fmt.Errorf("limits %v", got)
		}
		return nil
	})
	g.send("GET", "/pay") // Envoy counts what remains as requests come and go
	if got := g.clusterStat("pay", "circuit_breakers.default.remaining_rq"); got != "1024" {
		t.Errorf("%s requests remain, want 1024", got)
	}
	if got := g.stat("cluster_manager.cluster_modified"); got != modified {
		t.Errorf("%s clusters modified, want %s as before", got, modified)
	}
}

// The retry budget is a runtime key too, over the budget that every cluster has.
func TestRetryBudgetOverridesTheCluster(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	g := startGateway(t, testGateway(), retrying("pay", up.host(t)))
	attempts := func() int {
		up.fail(http.StatusInternalServerError)
		g.send("GET", "/pay")
		return len(up.take())
	}
	if n := attempts(); n != 3 {
		t.Errorf("%d attempts with the built-in budget, want 3", n)
	}
	g.setRuntime(map[string]any{
		"circuit_breakers.pay.default.retry_budget.budget_percent":        0,
		"circuit_breakers.pay.default.retry_budget.min_retry_concurrency": 0,
	})
	if n := attempts(); n != 1 {
		t.Errorf("%d attempts with no budget, want 1", n)
	}
	g.setRuntime(map[string]any{
		"circuit_breakers.pay.default.retry_budget.budget_percent":        100,
		"circuit_breakers.pay.default.retry_budget.min_retry_concurrency": 0,
	})
	if n := attempts(); n != 3 {
		t.Errorf("%d attempts with a budget of 100 %%, want 3", n)
	}
}

// parallel sends n requests at once and counts the 503s. After each one the callback
// learns how many there were.
func parallel(g *gateway, n int, path string, on503 func(count int)) int {
	g.t.Helper()
	var mu sync.Mutex // guards overloaded
	overloaded := 0
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			a, err := g.trySend("GET", path)
			if err != nil {
				g.t.Error(err)
				return
			}
			if a.status != http.StatusServiceUnavailable {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			overloaded++
			on503(overloaded)
		})
	}
	wg.Wait()
	return overloaded
}
