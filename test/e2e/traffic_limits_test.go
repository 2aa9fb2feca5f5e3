package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// gate is a handler that holds every request until the gate is open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // guarded by mu
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) handle(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		w.WriteHeader(http.StatusOK)
	case <-r.Context().Done():
	}
}

// release lets out the requests that are held; those that come later are held again.
func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
	g.open = make(chan struct{})
}

// crowd sends requests at once, lets those that reach the backend go when all have either reached it or been
// answered, and returns how many reached it and all replies.
func (s *stack) crowd(n int, path string, b *backend, g *gate) (reached int, replies []reply) {
	s.t.Helper()
	b.take()
	done := make(chan reply, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { done <- s.send(1, http.MethodGet, path, "")[0] })
	}
	s.until(fmt.Sprintf("%d requests are answered or held", n), func() error {
		if a, h := len(done), len(b.got()); a+h != n {
			return fmt.Errorf("%d answered, %d held", a, h)
		}
		return nil
	})
	reached = len(b.got())
	g.release()
	wg.Wait()
	close(done)
	for r := range done {
		replies = append(replies, r)
	}
	return reached, replies
}

// atMost counts a crowd's replies against a limit.
func atMost(t *testing.T, limit, reached int, replies []reply) {
	t.Helper()
	// Workers that decide in the same instant may each exceed the limit by one.
	if reached < limit || reached > limit+2 {
		t.Errorf("%d requests reached the service, want %d", reached, limit)
	}
	overloaded := 0
	for _, r := range replies {
		switch {
		case r.status == http.StatusOK:
		case r.status == http.StatusServiceUnavailable && r.header.Get("X-Circuit-Breaker") == "overloaded" &&
			r.header.Get("Retry-After") != "" && strings.Contains(r.body, `"overloaded"`):
			overloaded++
		default:
			t.Errorf("%d %v %s; want 200, or 503 of an overload", r.status, r.header, r.body)
		}
	}
	if overloaded != len(replies)-reached {
		t.Errorf("%d of %d reached the service and %d were told of an overload", reached, len(replies), overloaded)
	}
}

func TestLimitsOverloadAndDoNotOpen(t *testing.T) {
	t.Parallel()
	g := newGate()
	u := newBackend(t, g.handle)
	s := newStack(t, policies(
		at("requests", u, "limits: {max_requests: 3}"),
		at("connections", u, "limits: {max_connections: 3, max_pending_requests: 1}"),
	))
	for range 3 {
		reached, replies := s.crowd(15, "/requests", u, g)
		atMost(t, 3, reached, replies)
	}
	if got := s.ejected("requests"); len(got) != 0 {
		t.Errorf("%v ejected by an overload", got)
	}
	if got := s.state("requests"); got != "closed" {
		t.Errorf("after overloads alone it is %s, want closed", got)
	}

	// Take the connections one after the other, for a request waits while its connection is made. Then
	// one more may wait, and is neither answered nor held.
	u.take()
	const first, more = 3, 12
	replies := make(chan []reply, first+1)
	for i := range first {
		go func() { replies <- s.send(1, http.MethodGet, "/connections", "") }()
		s.until("the service has the request", func() error {
			if n := len(u.got()); n != i+1 {
				return fmt.Errorf("%d held", n)
			}
			return nil
		})
	}
	go func() { replies <- s.send(more, http.MethodGet, "/connections", "") }()
	s.until("all that can not wait are answered", func() error {
		overflow := s.stat(s.envoy, "cluster.connections.upstream_rq_pending_overflow")
		// A worker without a connection is given one beyond the limit.
		if n := len(u.got()); n+int(overflow) < first+more-2 {
			return fmt.Errorf("%d held, %d overflows", n, overflow)
		}
		return nil
	})
	var got []reply
	s.until("all are answered", func() error {
		g.release()
		select {
		case r := <-replies:
			got = append(got, r...)
		default:
		}
		if len(got) != first+more {
			return fmt.Errorf("%d are", len(got))
		}
		return nil
	})
	statuses := byStatus(got)
	if n := statuses[http.StatusOK]; n < first+1 || n > first+3 || n+statuses[http.StatusServiceUnavailable] != first+more {
		t.Errorf("with 3 connections and one that may wait: replies by status %v", statuses)
	}
	for _, r := range got {
		if r.status == http.StatusServiceUnavailable && r.header.Get("X-Circuit-Breaker") != "overloaded" {
			t.Errorf("%v %s, want an overload", r.header, r.body)
		}
	}
	if got := s.state("connections"); got != "closed" {
		t.Errorf("after overloads alone it is %s, want closed", got)
	}
}

// An edit of limits goes by runtime: the cluster stays, and with it the ejection of a host.
func TestEditOfLimitsKeepsEjections(t *testing.T) {
	t.Parallel()
	g := newGate()
	good, bad := newBackend(t, g.handle), envoytest.NewUpstream(t)
	bad.Behave(failing)
	policy := func(limit int) string {
		return at("svc", hosts(good.addr, bad.Addr()), "retry: off", fmt.Sprintf("limits: {max_requests: %d}", limit))
	}
	s := newStack(t, map[string]string{"svc.yaml": policy(2)})
	for len(s.ejected("svc")) == 0 {
		if t.Context().Err() != nil || bad.Requests() > 20 {
			t.Fatalf("not ejected after %d failures", bad.Requests())
		}
		before := len(good.got())
		done := make(chan struct{})
		go func() { s.send(1, http.MethodGet, "/svc", ""); close(done) }()
		s.until("the request is answered", func() error {
			if len(good.got()) > before {
				g.release()
			}
			select {
			case <-done:
				return nil
			default:
				return fmt.Errorf("not yet")
			}
		})
	}
	reached, replies := s.crowd(12, "/svc", good, g)
	atMost(t, 2, reached, replies)

	failures, modified := bad.Requests(), s.modified()
	for _, limit := range []int{6, 1024, 1} {
		s.write("svc.yaml", policy(limit))
		s.until(fmt.Sprintf("the limit is %d", limit), func() error {
			if reached, _ := s.crowd(12, "/svc", good, g); reached < min(limit, 12) || reached > limit+2 {
				return fmt.Errorf("%d reached the service", reached)
			}
			return nil
		})
		reached, replies := s.crowd(12, "/svc", good, g)
		atMost(t, min(limit, 12), reached, replies)
	}
	if got := s.ejected("svc"); len(got) != 1 || got[0] != bad.Addr() {
		t.Errorf("ejected after the edits: %v, want %s still", got, bad.Addr())
	}
	if n := bad.Requests() - failures; n != 0 {
		t.Errorf("%d requests reached the ejected host", n)
	}
	if n := s.modified() - modified; n != 0 {
		t.Errorf("%d clusters were replaced", n)
	}
}
