package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestSlowCallsOpen: requests that succeed and take too long. Envoy makes up its histograms every 5 s, so it takes that long.
func TestSlowCallsOpen(t *testing.T) {
	t.Parallel()
	u, quick := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	const policy = `service: %s
upstream: %s
routes: [{prefix: /%[1]s}]
breaker: {failure_threshold: off, slow_call: {duration: 100ms, rate: 50%%, min_requests: 20}}
`
	s := newStack(t, map[string]string{"svc.yaml": fmt.Sprintf(policy, "svc", u.Addr()), "quick.yaml": fmt.Sprintf(policy, "quick", quick.Addr())})
	u.Behave(envoytest.Behaviour{Delay: 150 * time.Millisecond})
	send := func() {
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { _, _ = s.try(http.MethodGet, "/svc", nil) })
			all.Go(func() { _, _ = s.try(http.MethodGet, "/quick", nil) })
		}
		all.Wait()
	}
	envoytest.Eventually(t, 30*time.Second, "slow answers open svc", func() error {
		send()
		b := s.breaker("svc")
		if b.State != "open" {
			return fmt.Errorf("%+v", b)
		}
		if cause := b.Proxies[0].Cause; !strings.Contains(cause, "attempts were slow: slow_call.rate is 50%") {
			t.Errorf("the cause is %q", cause)
		}
		return nil
	})
	if b := s.breaker("quick"); b.State != "closed" {
		t.Errorf("a service that answers in time is %+v", b)
	}
	before := u.Requests()
	if err := s.get("/svc").isOpen(); err != nil || u.Requests() != before {
		t.Errorf("%v, and %d requests reached the service", err, u.Requests()-before)
	}
}

// TestEnvoyJoinsWhileForcedOpen: it is told before it takes traffic.
func TestEnvoyJoinsWhileForcedOpen(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{"svc.yaml": fmt.Sprintf("service: svc\nupstream: %s\nroutes: [{prefix: /svc}]\n", u.Addr())})
	if out, _, code := s.command("force-open", "svc", "--reason", "not ready"); code != 1 || !strings.Contains(out, "it holds for those that connect") {
		t.Fatalf("exit code %d, want 1 of an override that reached no proxy yet:\n%s", code, out)
	}
	var load sync.WaitGroup
	defer load.Wait()
	done := make(chan struct{})
	defer close(done)
	for range 4 { // requests from before the Envoy is there
		load.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-done:
					return
				case <-tick.C:
					_, _ = s.try(http.MethodGet, "/svc", nil)
				}
			}
		})
	}
	s.startEnvoy("late")
	s.until("it answers in the service's place", func() error {
		r, err := s.try(http.MethodGet, "/svc", nil)
		if err != nil {
			return err
		}
		return r.isOpen()
	})
	s.untilState("svc", "forced_open", map[string]string{"late": "forced_open"})
	s.kill() // what it was told holds
	s.start()
	s.untilState("svc", "forced_open", map[string]string{"late": "forced_open"})
	if n := u.Requests(); n != 0 {
		t.Errorf("%d requests reached the service", n)
	}
	s.run("release", "svc")
	if r := s.get("/svc"); r.status != http.StatusOK {
		t.Errorf("after the release: %d %s", r.status, r.body)
	}
}
