package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// A service whose hosts come from DNS works as any other; only the reset of one host is not to be had.
func TestUpstreamByName(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, policies(
		at("svc", fmt.Sprintf("http://localhost:%d", u.Port()), "retry: off"),
		at("nowhere", "http://no-such-host.invalid:80", "retry: off"),
	))
	if r := s.get("/svc"); r.status != http.StatusOK || r.body != u.Addr() {
		t.Errorf("%d from %q", r.status, r.body)
	}
	// A name that nobody knows has no host in rotation, and keeps nothing else from serving.
	if r := s.get("/nowhere"); r.status != http.StatusServiceUnavailable {
		t.Errorf("a name that does not resolve: %d %s", r.status, r.body)
	}

	u.Behave(failing)
	for range 5 {
		s.get("/svc")
	}
	s.untilAllEjected("svc", 1)
	if err := s.get("/svc").isOpen(); err != nil {
		t.Error(err)
	}
	if got := s.state("svc"); got != "open" {
		t.Errorf("it is %s, want open", got)
	}
	u.Behave(envoytest.Behaviour{})

	for host, why := range map[string]string{
		u.Addr():                              "only in a service whose hosts are all IP addresses: svc",
		fmt.Sprintf("localhost:%d", u.Port()): "is not of the form ip:port",
	} {
		stdout, stderr, code := s.command("reset", "svc", "--host", host)
		if code != 1 || stdout != "" || !strings.Contains(stderr, why) {
			t.Errorf("reset of %s alone: exit code %d, %q%q; want 1 and %q", host, code, stdout, stderr, why)
		}
	}
	if err := s.get("/svc").isOpen(); err != nil {
		t.Errorf("after resets that were refused: %v", err)
	}

	s.run("reset", "svc", "--reason", "it is back")
	for range 3 {
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("after the reset: %d %s", r.status, r.body)
		}
	}
	if got := s.state("svc"); got != "closed" {
		t.Errorf("after the reset it is %s, want closed", got)
	}
}
