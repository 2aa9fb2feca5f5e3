package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// untilDisconnected waits for the proxies that are disconnected and not replaced, in the API and in the metrics.
func (s *stack) untilDisconnected(want ...string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%v are disconnected", want), func() error {
		got := s.proxyLists().disconnected
		metrics, err := s.fetch("http://" + s.http + "/metrics")
		if err != nil {
			return err
		}
		var counted []string
		for line := range strings.Lines(metrics) {
			if rest, ok := strings.CutPrefix(line, `breakwater_proxy_connected{proxy="`); ok && strings.HasSuffix(rest, `"} 0`+"\n") {
				counted = append(counted, strings.TrimSuffix(rest, `"} 0`+"\n"))
			}
		}
		if !slices.Equal(got, want) || !slices.Equal(counted, want) {
			return fmt.Errorf("%v, and %v in the metrics", got, counted)
		}
		return nil
	})
}

// TestForgetProxy: an Envoy that was ended for good is forgotten, over a crash of Breakwater too, and back once it runs.
func TestForgetProxy(t *testing.T) {
	t.Parallel()
	s := newPlane(t, policies(layer2("svc", newScript(t), time.Minute)))
	s.startEnvoy("one")
	two := s.startEnvoy("two")
	s.untilConnected(2)
	if _, stderr, code := s.command("forget", "two"); code != 1 || !strings.Contains(stderr, "the proxy is connected: cannot forget two before it disconnects: end that Envoy first") {
		t.Errorf("one that is connected: exit code %d, %q", code, stderr)
	}

	two.Stop()
	s.untilDisconnected("two")
	if _, stderr, code := s.command("forget", "three"); code != 1 || !strings.Contains(stderr, "unknown proxy three: it is neither connected nor disconnected") {
		t.Errorf("one that is unknown: exit code %d, %q", code, stderr)
	}
	if out := s.run("proxies"); !strings.Contains(out, "\ntwo ") {
		t.Errorf("proxies says:\n%s", out)
	}
	if out := s.run("forget", "two", "--reason", "scaled down", "--actor", "ann"); !strings.HasPrefix(out, "two: forgotten") {
		t.Errorf("forget says %q", out)
	}
	s.untilDisconnected()
	if _, stderr, code := s.command("forget", "two"); code != 1 || !strings.Contains(stderr, "unknown proxy two") {
		t.Errorf("again: exit code %d, %q", code, stderr)
	}
	s.untilSaid("two", "ann", "scaled down")

	s.kill()
	s.start()
	s.untilConnected(1)
	s.untilDisconnected()
	s.untilSaid("two", "ann", "scaled down")

	two = s.startEnvoy("two")
	s.untilConnected(2)
	s.untilDisconnected()
	two.Kill()
	s.untilDisconnected("two")
}

// untilSaid waits until an event tells who has forgotten a proxy, and why.
func (s *stack) untilSaid(proxy, actor, reason string) {
	s.t.Helper()
	s.until("an event tells of it", func() error {
		var reply struct {
			Events []json.RawMessage `json:"events"`
		}
		s.api("/api/v1/events", &reply)
		for _, data := range reply.Events {
			var e struct{ Kind, Service, Proxy, Actor, Cause string }
			if err := json.Unmarshal(data, &e); err != nil {
				return err
			}
			if e.Kind == "forget" && e.Service == "" && e.Proxy == proxy && e.Actor == actor && e.Cause == reason {
				return nil
			}
		}
		return fmt.Errorf("%s", reply.Events)
	})
}
