package e2e

import (
	"errors"
	"net/http"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// resetBound is how long a reset takes at most, whatever a proxy does (docs/runbook.md).
const resetBound = 9 * time.Second

// TestResetBesideAFrozenEnvoy: a proxy that is stopped, and says so by nothing, delays the answer to a reset, with its proof of
// the others, by a bounded time.
func TestResetBesideAFrozenEnvoy(t *testing.T) {
	t.Parallel()
	bad := newCounted(t, always(http.StatusInternalServerError))
	s := newStack(t, map[string]string{"svc.yaml": "service: svc\nupstream: " + bad.String() + "\nroutes: [{prefix: /svc}]\nretry: off\nbreaker: {timeout: 10m}\n"})
	frozen := s.startEnvoy("frozen")
	s.untilConnected(2)
	s.until("its host is ejected", func() error {
		if s.get("/svc"); len(s.ejected("svc")) != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(frozen.Pid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	began := time.Now()
	out, _, code := s.command("reset", "svc", "--server", s.grpc)
	if took := time.Since(began); took > resetBound || code != 1 {
		t.Errorf("it took %s, want at most %s; exit code %d", took, resetBound, code)
	}
	for proxy, want := range map[string]string{"e2e": "cleared: " + bad.String(), "frozen": "could not be seen"} {
		if !regexp.MustCompile(`(?m)^\s*` + proxy + `\s.*` + regexp.QuoteMeta(want)).MatchString(out) {
			t.Errorf("it does not say of %s that it is %q:\n%s", proxy, want, out)
		}
	}
	if got := s.ejected("svc"); len(got) != 0 {
		t.Errorf("ejected in the proxy that answers: %v", got)
	}
}
