package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestRunReplacesAnEnvoyThatHangs: and neither Envoy has the secrets of Breakwater's environment.
func TestRunReplacesAnEnvoyThatHangs(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	r := newRunner(t)
	r.dir = policyDir(t, map[string]string{"other.yaml": other(u, 5)})
	r.launch("", invocation{args: append(r.args(), "--policies", r.dir), env: []string{"DB_PASSWORD=hunter2", "TZ=UTC"}})
	r.untilServed("/other", startTimeout)
	first := r.envoys()[0]
	r.must(syscall.Kill(first, syscall.SIGSTOP))

	const within = 40 * time.Second
	envoytest.Eventually(t, within, "another Envoy", func() error {
		if pids := r.envoys(); len(pids) != 2 {
			return fmt.Errorf("Envoys %v", pids)
		}
		return running(first)
	})
	// Not untilServed: a request to the one that hangs would wait for long.
	r.client = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r.untilServed("/other", within)
	for _, want := range []string{
		fmt.Sprintf("envoy hangs: its admin API does not answer; it is replaced: pid=%d", first),
		fmt.Sprintf("Envoy (pid %d) does not answer any more and is replaced.\n", first),
	} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", r.envoys()[1]))
	r.must(err)
	if has := string(environ); strings.Contains(has, "DB_PASSWORD") || !strings.Contains(has, "TZ=UTC") {
		t.Errorf("Envoy's environment: %q", has)
	}
	r.mustEnd(syscall.SIGTERM)
	r.untilNothingIsLeft()
}
