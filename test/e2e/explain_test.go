package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// bullets are the findings of `breakwater explain`, the gravest first.
func (s *stack) bullets(service string) []string {
	s.t.Helper()
	out, _, _ := strings.Cut(s.run("explain", service, "--server", s.grpc), "\nThe policy in force:")
	_, list, found := strings.Cut(out, "\n- ")
	if !found {
		return nil
	}
	return strings.Split(list, "\n- ")
}

// explained waits until the first bullet about a service has these words.
func (s *stack) explained(service string, words ...string) {
	s.t.Helper()
	s.until("the first bullet says why", func() error {
		bullets := s.bullets(service)
		for _, w := range words {
			if len(bullets) == 0 || !strings.Contains(bullets[0], w) {
				return fmt.Errorf("no %q in the first of %q", w, bullets)
			}
		}
		return nil
	})
}

// TestExplainKnowsWhatStatusKnows: a name that does not resolve, and a policy that Envoy has rejected, with a last good version
// and without.
func TestExplainKnowsWhatStatusKnows(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	rejected := refusables()[1]
	s := newStack(t, map[string]string{
		"nowhere.yaml":  "service: nowhere\nupstream: no-such-host.invalid:80\nroutes: [{prefix: /nowhere}]\n",
		"picky.yaml":    rejected.bad(u),
		"other.yaml":    other(u, 10),
		"left-out.yaml": "service: left-out\nupstream: " + u.Addr() + "\ntimeout: {request: soon}\n",
	})
	if _, stderr, code := s.command("explain", "left-out", "--server", s.grpc); code != 1 || !strings.Contains(stderr, "left-out: its policy has an error and no last good version: left-out.yaml:3:") {
		t.Errorf("of a service that is left out it says, with exit code %d: %s", code, stderr)
	}
	s.explained("nowhere", "the service has no hosts: its name does not resolve, so every request fails", "see that no-such-host.invalid resolves")
	s.explained("picky", "was rejected: ", rejected.text, "What to do: fix the policy at picky.yaml:5:")
	if out := s.run("status", "picky", "--server", s.grpc); !strings.Contains(out, "the proxy does not have this service: its policy at picky.yaml:5:") {
		t.Errorf("status does not say why:\n%s", out)
	}
	s.write("other.yaml", strings.Replace(rejected.bad(u), "picky", "other", 2)+"breaker: {timeout: 77s}\n")
	s.explained("other", "Envoy rejected this policy and goes on with the last good version", rejected.text)
	if out := s.run("explain", "other", "--server", s.grpc); strings.Contains(out, "1m17s") || !strings.Contains(out, "other.yaml:1:") {
		t.Errorf("it takes the rejected policy for the one in force:\n%s", out)
	}
	if out := s.run("explain", "picky", "--server", s.grpc); !strings.Contains(out, "No policy of it is in force.") {
		t.Errorf("it takes the rejected policy for one in force:\n%s", out)
	}
	s.write("other.yaml", "service: other\nupstream: "+u.Addr()+"\ntimeout: {request: soon}\n")
	s.until("the error on disk is explained", func() error {
		if got := strings.Join(s.bullets("other"), "\n"); !strings.Contains(got, "the last good version is in force") || !strings.Contains(got, "a policy error at other.yaml:3:") {
			return fmt.Errorf("it says %s", got)
		}
		return nil
	})
}

// explainBound is how long explain takes at most, whatever a proxy does (docs/runbook.md).
const explainBound = 3 * time.Second

// TestExplainBesideAFrozenEnvoy: a proxy whose admin API hangs is named, and delays the answer by a bounded time.
func TestExplainBesideAFrozenEnvoy(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, operated(u))
	frozen := s.startEnvoy("frozen")
	s.untilConnected(2)
	s.run("force-open", "svc", "--proxy", "e2e", "--ttl", "1h", "--reason", "a drill", "--server", s.grpc)
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(frozen.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	// Before Breakwater has noticed by itself, and afterwards.
	for _, want := range []string{"frozen: Envoy does not answer", "frozen: what happens there cannot be seen"} {
		s.until("it is explained", func() error {
			began := time.Now()
			bullets := s.bullets("svc")
			if took := time.Since(began); took > explainBound {
				t.Fatalf("it took %s, want at most %s", took, explainBound)
			}
			got := strings.Join(bullets, "\n")
			if !strings.Contains(got, want) || !strings.Contains(got, "e2e: an operator keeps every request from it") {
				return fmt.Errorf("no %q, or nothing of the other proxy, in %s", want, got)
			}
			return nil
		})
	}
}
