package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// actionBound is how soon an action reaches an Envoy that answers, whatever another does.
const actionBound = time.Second

// frozenPair is a stack of two Envoys of which one is to be stopped, seen through the other.
type frozenPair struct {
	*stack
	frozen  *envoytest.Process
	actions sync.WaitGroup
}

// newFrozenPair starts two Envoys. The stack's requests go through the one that will answer.
func newFrozenPair(t *testing.T, docs ...string) *frozenPair {
	t.Helper()
	s := newPlane(t, quiet(append(docs, at("other", newScript(t)))...), jsonLog...)
	healthy, frozen := s.startEnvoy("healthy"), s.startEnvoy("frozen")
	s.untilReporting(healthy, frozen)
	f := &frozenPair{stack: s.clientOf(healthy, "other"), frozen: frozen}
	t.Cleanup(f.actions.Wait)
	return f
}

// freeze stops the other Envoy until the test ends.
func (f *frozenPair) freeze() {
	f.t.Helper()
	signal := func(sig syscall.Signal) {
		if err := syscall.Kill(f.frozen.Pid(), sig); err != nil {
			f.t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	f.t.Cleanup(func() { signal(syscall.SIGCONT) })
}

// begin asks for an action and does not wait for its answer, which closes the channel.
func (f *frozenPair) begin(action, service, body string) <-chan struct{} {
	done := make(chan struct{})
	f.actions.Go(func() {
		defer close(done)
		url := fmt.Sprintf("http://%s/api/v1/breakers/%s/%s", f.http, service, action)
		resp, err := http.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			f.t.Errorf("%s %s: %v", action, service, err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			f.t.Errorf("%s %s: %s", action, service, resp.Status)
		}
	})
	return done
}

// soon waits no longer than an action may take.
func (f *frozenPair) soon(what string, look func() error) {
	f.t.Helper()
	envoytest.Eventually(f.t, actionBound, what, look)
}

// answers is nil if a request through the Envoy that answers has this status.
func (f *frozenPair) answers(path string, status int) func() error {
	return func() error {
		r, err := f.try(http.MethodGet, path, nil)
		if err == nil && r.status != status {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	}
}

// TestActionsBesideAFrozenEnvoy: while a reset waits for a proxy that is stopped, every other action reaches the proxy that
// answers at once, and so does the reset itself.
func TestActionsBesideAFrozenEnvoy(t *testing.T) {
	t.Parallel()
	scripts := map[string]*script{"a": newScript(t), "b": newScript(t), "c": newScript(t), "d": newScript(t)}
	var docs []string
	for name, b := range scripts {
		docs = append(docs, layer2(name, b, 10*time.Minute))
	}
	f := newFrozenPair(t, docs...)
	for _, name := range []string{"a", "c", "d"} {
		f.trip(name, scripts[name])
	}
	f.freeze()
	waiting := f.begin("reset", "a", `{}`)
	f.soon("a is reset", f.answers("/a", http.StatusOK))

	f.begin("force-open", "b", `{"reason":"a drill"}`)
	f.soon("b is forced open", f.answers("/b", http.StatusServiceUnavailable))
	f.begin("disable", "c", `{"reason":"a drill","ttl":"2s"}`)
	f.soon("c is disabled", f.answers("/c", http.StatusOK))
	f.begin("release", "b", `{}`)
	f.soon("b is released", f.answers("/b", http.StatusOK))
	f.begin("reset", "d", `{}`)
	f.soon("d is reset", f.answers("/d", http.StatusOK))
	select {
	case <-waiting:
		t.Error("the reset of a does not wait for the proxy that is stopped")
	default:
	}
	envoytest.Eventually(t, 2*time.Second+actionBound, "c's override expires", func() error {
		enforces, err := f.envoy.Admin().Enforces(t.Context(), "c")
		if err == nil && !enforces {
			err = errors.New("its hosts are not ejected")
		}
		return err
	})
}
