package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// clientOf is a client whose one connection ends at that Envoy: all listen on the same address. service is one that
// nobody else asks meanwhile.
func (s *stack) clientOf(e *envoytest.Process, service string) *stack {
	s.t.Helper()
	transport := &http.Transport{MaxConnsPerHost: 1}
	s.t.Cleanup(transport.CloseIdleConnections)
	one := *s
	one.envoy = e
	one.client = &http.Client{Timeout: 30 * time.Second, Transport: transport}
	s.until("a connection to that proxy", func() error {
		requests := "cluster." + service + ".upstream_rq_total"
		before := s.stat(e, requests)
		one.get("/" + service)
		if s.stat(e, requests) == before {
			transport.CloseIdleConnections()
			return errors.New("it went to another")
		}
		return nil
	})
	return &one
}

// fails lets requests with this header fail in turn with others.
const failsHeader = "X-Fails"

func TestLayer2OnOneOfTwoProxies(t *testing.T) {
	t.Parallel()
	b, other := newScript(t), newScript(t)
	b.set(func(n int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(failsHeader) != "" {
			alternating(n, w, r)
			return
		}
		good(n, w, r)
	})
	s := newPlane(t, quiet(layer2("svc", b, 2*time.Second), at("other", other)), jsonLog...)
	one, two := s.startEnvoy("one"), s.startEnvoy("two")
	s.untilReporting(one, two)
	viaOne, viaTwo := s.clientOf(one, "other"), s.clientOf(two, "other")
	fails := http.Header{failsHeader: {"1"}}

	// 1. It is bad as seen from one proxy: its breaker opens there only.
	for range 9 {
		viaOne.do(http.MethodGet, "/svc", fails)
	}
	s.untilState("svc", "open", map[string]string{"one": "open", "two": "closed"})
	viaOne.untilOpen("svc")
	if got := s.breaker("svc").Summary; got != "open on 1 of 2 proxies" {
		t.Errorf("summary %q", got)
	}
	viaOne.mustBeOpen("svc", b, 5)
	for range 5 {
		if r := viaTwo.get("/svc"); r.status != http.StatusOK {
			t.Errorf("through the other proxy: %d %s", r.status, r.body)
		}
	}

	// 2. The other's own breaker opens by its own errors.
	b.set(alternating)
	for range 9 {
		viaTwo.get("/svc")
	}
	viaTwo.until("it is open on both", func() error {
		if got := s.breaker("svc").Summary; got != "open on 2 of 2 proxies" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})

	// 3. Each recovers by its own probes.
	b.set(good)
	viaOne.untilEnforced("circuit_breakers.svc.default.max_requests", true)
	viaTwo.untilEnforced("circuit_breakers.svc.default.max_requests", true)
	s.untilState("svc", "half_open", map[string]string{"one": "half_open", "two": "half_open"})
	s.until("it is closed on one", func() error {
		viaOne.get("/svc")
		if got := s.breaker("svc").Summary; got != "half_open on 1 of 2 proxies" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	viaTwo.untilCloses("svc")
	s.untilState("svc", "closed", map[string]string{"one": "closed", "two": "closed"})
}

// A proxy that was lost with an open breaker and is back within the lease has it still: an Envoy that was replaced
// under its name must not flood the service.
func TestLayer2OutlivesEnvoy(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, layer2("svc", b, time.Minute))
	s.trip("svc", b)
	s.envoy.Kill()
	s.untilConnected(0)
	s.envoy = s.startEnvoy("e2e")
	s.mustBeOpen("svc", b, 10)
	s.untilIs("svc", "open")
}
