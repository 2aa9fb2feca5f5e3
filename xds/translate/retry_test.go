package translate_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// retrying is a service that may retry twice.
func retrying(name string, hosts ...policy.Host) *policy.Service {
	s := service(name, hosts...)
	s.Retry.MaxRetries = 2
	s.Breaker.FailureThreshold.N = 1000
	return s
}

func TestRetryByMethod(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	all := retrying("all", up.host(t))
	limited := retrying("limited", up.host(t))
	limited.Routes[0].Methods = []string{"POST", "GET", "PATCH"}
	none := service("none", up.host(t))
	g := startGateway(t, testGateway(), all, limited, none)

	reset := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	for _, tt := range []struct {
		method, path string
		handler      http.HandlerFunc
		status       int
		attempts     int
	}{
		{"GET", "/all", fails, 500, 3},
		{"PUT", "/all", fails, 500, 3},
		{"POST", "/all", fails, 500, 1},
		{"PATCH", "/all", fails, 500, 1},
		{"GET", "/all", reset, 503, 3},
		{"POST", "/all", reset, 503, 1},
		{"GET", "/limited", fails, 500, 3},
		{"POST", "/limited", fails, 500, 1},
		{"DELETE", "/limited", fails, 404, 0},
		{"GET", "/none", fails, 500, 1},
		{"GET", "/none", reset, 503, 1},
	} {
		up.handle(tt.handler)
		a := g.send(tt.method, tt.path)
		got := up.take()
		if a.status != tt.status || len(got) != tt.attempts {
			t.Errorf("%s %s: status %d after %d attempts, want %d after %d",
				tt.method, tt.path, a.status, len(got), tt.status, tt.attempts)
		}
		if n := len(got); n > 0 {
			want := string(rune('0' + n))
			if count := got[n-1].Header.Get("X-Envoy-Attempt-Count"); count != want {
				t.Errorf("%s %s: the last attempt says it is number %q, want %s", tt.method, tt.path, count, want)
			}
		}
	}
}

// A request that never reached a host is tried at another, whatever its method.
func TestConnectFailureIsRetriedForEveryMethod(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	closed := startUpstream(t)
	closedHost := closed.host(t)
	closed.Close()
	g := startGateway(t, testGateway(), retrying("pay", closedHost, up.host(t)))
	for range 4 {
		if a := g.send("POST", "/pay"); a.status != http.StatusOK {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	if n := len(up.take()); n != 4 {
		t.Errorf("%d requests reached the service, want 4", n)
	}
}

// Under parallel requests turn about alone would send many a retry to the bad host.
func TestRetryAvoidsTheHostThatFailed(t *testing.T) {
	t.Parallel()
	bad, good := startUpstream(t), startUpstream(t)
	bad.fail(http.StatusInternalServerError)
	s := retrying("pay", bad.host(t), good.host(t))
	s.Retry.MaxRetries = 1
	g := startGateway(t, testGateway(), s)
	// No retry may be refused for the budget's sake.
	g.setRuntime(map[string]any{"circuit_breakers.pay.default.retry_budget.min_retry_concurrency": 100})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if a, err := g.trySend("GET", "/pay"); err != nil || a.status != http.StatusOK {
					t.Errorf("status %d, error %v", a.status, err)
				}
			}
		})
	}
	wg.Wait()
	if len(bad.take()) == 0 {
		t.Error("the bad host had no attempt")
	}
}

func TestRetryOnStatusAndBackOff(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	s := retrying("pay", up.host(t))
	s.Retry.On = []string{"connect-failure", "429", "409"}
	s.Retry.BaseDelay, s.Retry.MaxDelay = 0, 0 // Envoy's least, 1 ms
	g := startGateway(t, testGateway(), s)
	for status, want := range map[int]int{429: 3, 409: 3, 500: 1, 404: 1} {
		up.fail(status)
		a := g.send("GET", "/pay")
		if n := len(up.take()); a.status != status || n != want {
			t.Errorf("%d: status %d after %d attempts, want %d attempts", status, a.status, n, want)
		}
	}
}

func TestRequestTimeoutBoundsAllAttempts(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	up.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := retrying("pay", up.host(t))
	// Wide enough for a busy machine: each attempt has to reach the service.
	s.Timeout.Request.D = 1250 * time.Millisecond
	s.Timeout.PerTry = policy.Duration{D: 500 * time.Millisecond, Set: true}
	g := startGateway(t, testGateway(), s)
	start := time.Now()
	a := g.send("GET", "/pay")
	took := time.Since(start)
	if a.status != http.StatusGatewayTimeout || took < time.Second || took > 10*time.Second {
		t.Errorf("status %d after %s", a.status, took)
	}
	if n := len(up.take()); n != 3 {
		t.Errorf("%d attempts, want 3: the third is cut short", n)
	}
	// A time for one attempt alone is not a reason to repeat what may have been done.
	if a := g.send("POST", "/pay"); a.status != http.StatusGatewayTimeout {
		t.Errorf("status %d", a.status)
	}
	if n := len(up.take()); n != 1 {
		t.Errorf("%d attempts of a POST, want 1", n)
	}
}
