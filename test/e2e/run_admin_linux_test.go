package e2e

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestRunWithAnotherAdminAddress: wherever on the loopback interface Envoy's admin API is, Breakwater and Prometheus find
// it, though Envoy connects from 127.0.0.1.
func TestRunWithAnotherAdminAddress(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.admin = net.JoinHostPort("127.77.3.1", strconv.Itoa(int(envoytest.FreePort(t))))
	r.start(envoytest.NewUpstream(t))
	r.until("the breaker is seen", func() error {
		if b := r.breaker("other"); b.State != "closed" {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	if out := r.run("proxies"); !strings.Contains(out, r.admin+"\n") {
		t.Errorf("proxies says:\n%s", out)
	}
	if out := r.run("reset", "other"); !strings.Contains(out, "proved") {
		t.Errorf("reset says:\n%s", out)
	}
	r.until("Prometheus is told where it is", func() error {
		body, err := r.fetch("http://" + r.http + "/api/v1/prometheus/targets")
		if err == nil && !strings.Contains(body, `"targets":["`+r.admin+`"]`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}
