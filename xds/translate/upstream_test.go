package translate_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// upstream is an HTTP server that keeps what it was sent.
type upstream struct {
	*httptest.Server
	mu       sync.Mutex // guards the following
	requests []*http.Request
	handler  http.HandlerFunc
}

// startUpstream serves 200 "ok" until it is told otherwise by handle.
func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	u.handle(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) })
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.requests = append(u.requests, r)
		h := u.handler
		u.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) handle(h http.HandlerFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handler = h
}

// fail answers every request with the status.
func (u *upstream) fail(status int) {
	u.handle(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// take returns the requests since the last call.
func (u *upstream) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.requests
	u.requests = nil
	return r
}

func (u *upstream) host(t *testing.T) policy.Host {
	t.Helper()
	return hostOf(t, u.Listener.Addr().String())
}

func hostOf(t testing.TB, hostPort string) policy.Host {
	t.Helper()
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Host{Name: host, Port: uint16(n)}
}

// service is a policy with the built-in values, a route at its own prefix and no retry.
func service(name string, hosts ...policy.Host) *policy.Service {
	return &policy.Service{
		Name:     name,
		Upstream: policy.Upstream{Scheme: policy.SchemeHTTP, Hosts: hosts},
		Routes:   []policy.Route{{Match: policy.MatchPrefix, Value: "/" + name}},
		Timeout: policy.Timeout{
			Connect: 5 * time.Second,
			Request: policy.Duration{D: 30 * time.Second, Set: true},
			Idle:    policy.Duration{D: 5 * time.Minute, Set: true},
		},
		Retry: policy.Retry{
			BaseDelay: time.Millisecond, MaxDelay: 10 * time.Millisecond,
			On:      []string{"5xx", "reset", "connect-failure"},
			Methods: []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"},
			Budget:  0.2,
		},
		Breaker: policy.Breaker{
			FailureThreshold:    policy.Count{N: 5, Set: true},
			SuccessThreshold:    2,
			Timeout:             time.Minute,
			WindowSize:          100,
			HalfOpenMaxRequests: 1,
			Backoff:             1,
			MaxTimeout:          time.Minute,
		},
		Limits: policy.Limits{MaxConnections: 1024, MaxPendingRequests: 1024, MaxRequests: 1024},
	}
}

// testGateway listens on a free port of loopback.
func testGateway() *policy.Gateway {
	return &policy.Gateway{Host: "127.0.0.1", MaxHeadersKB: 60, MaxHeaders: 100}
}
