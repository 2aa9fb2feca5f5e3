package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// reconnectTime bounds the time until a proxy is back at a Breakwater that is ready again: less than the 30 s that Envoy
// may wait between its attempts if nobody sets that.
const reconnectTime = 10 * time.Second

// untilConnected waits until n proxies are connected.
func (s *stack) untilConnected(n int) {
	s.t.Helper()
	envoytest.Eventually(s.t, reconnectTime, fmt.Sprintf("%d proxies are connected", n), func() error {
		if got := s.metric("breakwater_connected_proxies"); got != float64(n) {
			return fmt.Errorf("%v are", got)
		}
		return nil
	})
}

// ejectOne lets one of two hosts fail until Envoy has ejected it; the other is good.
func (s *stack) ejectOne(path, service string, bad *envoytest.Upstream) {
	s.t.Helper()
	bad.Behave(failing)
	s.until(bad.Addr()+" is ejected", func() error {
		s.get(path)
		if got := s.ejected(service); !slices.Equal(got, []string{bad.Addr()}) {
			return fmt.Errorf("ejected: %v", got)
		}
		return nil
	})
	bad.Behave(envoytest.Behaviour{})
}

// TestRestartReplacesNothing ends Breakwater in several ways, under load and after resets of a service and of a host.
// No request fails meanwhile, and what Envoy knows of its hosts is not touched.
func TestRestartReplacesNothing(t *testing.T) {
	t.Parallel()
	good, bad, o := envoytest.NewUpstream(t), envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{
		"svc.yaml":   twoHosts(good, bad) + "breaker: {timeout: 10m}\n",
		"other.yaml": other(o, 5),
	})
	// A generation of the cluster and one of a host, which the next life must know of.
	s.ejectOne("/svc", "svc", bad)
	s.run("reset", "svc")
	s.ejectOne("/svc", "svc", bad)
	s.run("reset", "svc", "--host", bad.Addr())
	s.ejectOne("/svc", "svc", bad)
	modified := s.modified()

	load := s.newLoad("/svc", "/other")
	seconds := 6
	for _, end := range []struct {
		how string
		do  func()
	}{{"kill -9", s.kill}, {"SIGTERM", s.stop}, {"kill -9 again", s.kill}} {
		load.more("/svc", 20)
		end.do()
		load.more("/svc", 100)
		s.start()
		s.untilConnected(1)
		s.until("the state is seen", func() error {
			if got := s.state("svc"); got != "closed" {
				return fmt.Errorf("it is %s", got)
			}
			return nil
		})
		s.write("other.yaml", other(o, seconds))
		s.live("/other", o, seconds)
		seconds++
		if got := s.modified(); got != modified {
			t.Errorf("%s: %d clusters were replaced", end.how, got-modified)
		}
		if got := s.ejected("svc"); !slices.Equal(got, []string{bad.Addr()}) {
			t.Errorf("%s: ejected: %v, want %s", end.how, got, bad.Addr())
		}
	}
	load.mustBeClean(300)

	// The generations go on from where they were.
	s.run("reset", "svc")
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("ejected after a reset: %v", got)
	}
	if got := s.modified(); got != modified+1 {
		t.Errorf("the reset replaced %d clusters, want 1", got-modified)
	}
}

// TestEnvoyIsKilled: an Envoy that is started again from the same bootstrap is served as before.
func TestEnvoyIsKilled(t *testing.T) {
	t.Parallel()
	o := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"other.yaml": other(o, 5)})
	s.live("/other", o, 5)
	s.envoy.Kill()
	s.untilConnected(0)
	if got := s.state("other"); got != "unknown" {
		t.Errorf("without a proxy the state is %s", got)
	}
	s.write("other.yaml", other(o, 6))
	s.envoy = s.startEnvoy("e2e")
	s.live("/other", o, 6)
	s.until("the state is seen", func() error {
		if got := s.state("other"); got != "closed" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}
