package e2e

import (
	"net/http"
	"testing"
	"time"
)

// A probe at a host that lets connections hang waits for its timeout; nobody else does.
func TestLayer2ProbesAHostThatSwallowsConnections(t *testing.T) {
	t.Parallel()
	const connect, requests = 2 * time.Second, 40
	s := newLayer2(t, at("svc", swallow(t), "retry: off", "timeout: {connect: 2s, request: 20s}",
		"breaker: {failure_threshold: off, failure_rate: 50%, min_requests: 3, timeout: 1s}"))
	// 1. Three failures to connect open it, which are too few for layer 1.
	s.send(3, http.MethodGet, "/svc", "")
	s.untilOpen("svc")
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("layer 1 has ejected %v", got)
	}
	// 2. Half-open: one waits.
	s.untilHalfOpen("svc")
	waited := 0
	for _, r := range s.send(requests, http.MethodGet, "/svc", "") {
		if r.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s, want 503", r.status, r.body)
		}
		if r.took > connect/2 {
			waited++
		}
	}
	// Two workers that decide in the same instant may exceed the limit by one.
	if waited < 1 || waited > 2 {
		t.Errorf("%d of %d requests waited for a connection, want 1", waited, requests)
	}
	// 3. Its failure opens again.
	s.untilOpen("svc")
	s.mustHaveGone("svc", "closed→open", "open→half_open", "half_open→open")
}
