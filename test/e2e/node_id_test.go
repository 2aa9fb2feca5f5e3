package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/breakwater/breakwater/test/envoytest"
)

// untilStreams waits until the proxy has a number of configuration streams.
func (s *stack) untilStreams(want float64) {
	s.t.Helper()
	s.until(fmt.Sprintf("the proxy has %v streams", want), func() error {
		if got := s.metric(`breakwater_proxy_streams{proxy="e2e"}`); got != want {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// mustBeShut fails unless a service is forced open in an Envoy.
func (s *stack) mustBeShut(e *envoytest.Process, service string) {
	s.t.Helper()
	keys, err := e.Admin().Runtime(s.t.Context())
	if key := "upstream.maintenance_mode." + service; err != nil || keys[key] != "100" {
		s.t.Errorf("Envoy's runtime has %s = %q: %v", key, keys[key], err)
	}
}

// TestTwoEnvoysOfOneNodeID: whichever of two Envoys with one node id ends, the other one stays the proxy: with its overrides
// and with what its breakers know, and new overrides and edits reach it.
func TestTwoEnvoysOfOneNodeID(t *testing.T) {
	t.Parallel()
	for _, leaves := range []string{"newer", "older"} {
		t.Run(leaves, func(t *testing.T) {
			t.Parallel()
			b, other := newScript(t), newScript(t)
			s := newPlane(t, quiet(layer2("svc", b, time.Minute), at("drill", other)))
			envoys := []*envoytest.Process{s.startEnvoy("e2e")}
			s.untilConnected(1)
			client := func(args ...string) string { return s.run(append(args, "--server", s.grpc)...) }
			client("force-open", "drill", "--reason", "drill")
			envoys = append(envoys, s.startEnvoy("e2e"))
			s.untilStreams(2)
			for _, e := range envoys {
				s.mustBeShut(e, "drill")
			}
			client("force-open", "drill", "--reason", "the same again")
			if leaves == "older" {
				slices.Reverse(envoys)
			}
			s.envoy = envoys[0]
			envoys[1].Stop()
			s.untilStreams(1)
			s.mustBeShut(s.envoy, "drill")
			if out := client("proxies"); strings.Contains(out, "no proxy is connected") || strings.Contains(out, "DISCONNECTED") {
				t.Errorf("proxies says:\n%s", out)
			}
			client("release", "drill")
			if r := s.get("/drill"); r.status != 200 {
				t.Errorf("after the release it answers %d", r.status)
			}
			client("force-open", "drill", "--reason", "another drill")
			s.mustBeShut(s.envoy, "drill")
			s.untilReporting()
			s.trip("svc", b)
			s.untilIs("svc", "open")
			s.mustBeOpen("svc", b, 5)
			s.write("services.yaml", policies(layer2("svc", b, time.Minute), at("drill", other), at("new", other))["services.yaml"])
			s.until("an edit reaches it", func() error {
				if r := s.get("/new"); r.status != 200 {
					return fmt.Errorf("it answers %d", r.status)
				}
				return nil
			})
		})
	}
}

// TestReportsOfTwoEnvoysOfOneNodeID: what either of them reports is evidence of the one breaker.
func TestReportsOfTwoEnvoysOfOneNodeID(t *testing.T) {
	t.Parallel()
	b, other := newScript(t), newScript(t)
	s := newPlane(t, quiet(layer2("svc", b, time.Minute), at("other", other)))
	one := s.startEnvoy("e2e")
	s.untilConnected(1)
	two := s.startEnvoy("e2e")
	s.untilStreams(2)
	s.untilReporting(one, two)
	viaOne, viaTwo := s.clientOf(one, "other"), s.clientOf(two, "other")
	b.set(alternating)
	for i := range 9 {
		if i < 4 {
			viaOne.get("/svc")
		} else {
			viaTwo.get("/svc")
		}
	}
	s.untilIs("svc", "open")
	viaOne.untilOpen("svc")
	viaTwo.untilOpen("svc")
}

// TestHotRestart: an Envoy that is hot-restarted keeps its open breaker and its override, in both of its processes, and is
// connected all the time.
func TestHotRestart(t *testing.T) {
	t.Parallel()
	b, other := newScript(t), newScript(t)
	s := newPlane(t, quiet(layer2("svc", b, time.Minute), at("drill", other)))
	bootstrap := s.bootstrap("e2e")
	epoch := func(n int) *envoytest.Process {
		return s.startEpoch(bootstrap, n)
	}
	s.envoy = epoch(0)
	s.untilReporting()
	s.run("force-open", "drill", "--reason", "drill", "--server", s.grpc)
	s.trip("svc", b)
	old := s.envoy
	s.envoy = epoch(1)
	s.untilStreams(2)
	s.mustBeShut(s.envoy, "drill")
	s.mustBeShut(s.envoy, "svc")
	s.until("the old process has ended", func() error {
		if !old.Exited() {
			return errors.New("it has not")
		}
		return nil
	})
	s.untilStreams(1)
	s.mustBeShut(s.envoy, "drill")
	s.mustBeOpen("svc", b, 5)
	s.untilIs("svc", "open")
	s.run("release", "drill", "--server", s.grpc)
	if r := s.get("/drill"); r.status != 200 {
		t.Errorf("after the release it answers %d", r.status)
	}
	if got := s.metric(`breakwater_proxy_connected{proxy="e2e"}`); got != 1 {
		t.Errorf("the proxy is connected: %v", got)
	}
}

// startEpoch starts the nth process of an Envoy that is hot-restarted, and waits until it serves. Its predecessor then
// drains for a second and ends.
func (s *stack) startEpoch(b *bootstrapv3.Bootstrap, n int) *envoytest.Process {
	s.t.Helper()
	e := envoytest.StartWith(s.t, b, envoytest.Options{Epoch: n, HotRestart: true, Args: []string{"--drain-time-s", "1", "--parent-shutdown-time-s", "3"}})
	e.WaitReady(s.t, startTimeout)
	return e
}
