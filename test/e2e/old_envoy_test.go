package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestOldEnvoyIsNamed: an Envoy that is too old is named with its version wherever somebody looks who asks why it refuses
// its configuration, and what it says is short enough to be read.
func TestOldEnvoyIsNamed(t *testing.T) {
	t.Parallel()
	old := os.Getenv("OLD_ENVOY")
	if old == "" {
		t.Fatal("OLD_ENVOY is not set: run `make test`, or set it to $(tools/get-envoy envoy-old)")
	}
	s := newPlane(t, quiet(at("svc", newScript(t))))
	s.envoy = s.startEnvoy("edge-2")
	envoytest.StartWith(t, s.bootstrap("edge-1"), envoytest.Options{Binary: old})
	const fault = "edge-1 runs Envoy 1.38.3; Breakwater needs 1.39 or later"
	for _, command := range []string{"proxies", "status"} {
		s.until(command+" names it", func() error {
			out := s.run(command, "--server", s.grpc)
			if !strings.Contains(out, "\n"+fault+"\n") {
				return fmt.Errorf("it says:\n%s", out)
			}
			if !strings.Contains(out, "refused") {
				return fmt.Errorf("it tells of no refusal:\n%s", out)
			}
			return nil
		})
		for line := range strings.Lines(s.run(command, "--server", s.grpc)) {
			if len(line) > 1000 {
				t.Errorf("%s prints a line of %d bytes: %s", command, len(line), line)
			}
		}
	}
	if log := s.log.String(); !strings.Contains(log, "runs Envoy 1.38.3; Breakwater needs 1.39 or later") {
		t.Errorf("the log does not name it:\n%s", log)
	}
	// An Envoy that is new enough has no fault, and what the old one refuses stays with that.
	if r := s.get("/svc"); r.status != 200 {
		t.Errorf("through the other Envoy: %d %s", r.status, r.body)
	}
	if out := s.run("proxies", "--server", s.grpc); strings.Contains(out, "edge-2 runs") {
		t.Errorf("proxies says:\n%s", out)
	}
}
