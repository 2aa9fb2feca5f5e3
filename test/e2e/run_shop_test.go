package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// shopPaths are the paths of the example's services, by the port that each listens on.
var shopPaths = map[int]string{
	8001: "/api/v1/recommendations/for/7",
	8002: "/api/v1/search?q=tea",
	8003: "/api/v1/pricing/tea-042",
	8004: "/api/v1/chatbot",
	8005: "/api/v1/fraud/score",
	8006: "/api/v1/forecast",
	8007: "/api/v1/vision",
}

// shopPorts are those that the demo takes: of the services and of their control.
func shopPorts() []string {
	var addrs []string
	for port := 8000; port <= 8007; port++ {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return addrs
}

// TestRunShop is what a newcomer does: run without policies of one's own, break a service, see it, and reset it. It
// is not parallel, for the demo's ports are fixed.
func TestRunShop(t *testing.T) {
	for _, addr := range shopPorts() {
		if err := envoy.CheckFree(addr, "this test"); err != nil {
			t.Fatal(err)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t)

	// A port of the demo's that is taken is named like any other.
	taken, err := net.Listen("tcp", "127.0.0.1:8003")
	if err != nil {
		t.Fatal(err)
	}
	refused := invoke(t, invocation{args: r.args(), dir: root})
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	refused.mustFail(t, 1, "127.0.0.1:8003", "pricing-service")

	r.launch(root, invocation{args: r.args()})
	for _, path := range shopPaths {
		r.untilServed(path, startTimeout)
	}
	r.until("it says what to try", func() error {
		if log := r.log.String(); !strings.Contains(log, "7 services") || !strings.Contains(log, "http://"+r.gateway+"/api/v1/fraud/score") {
			return fmt.Errorf("%s", envoytest.LastLines(log, 20))
		}
		return nil
	})

	const fraud = "/api/v1/fraud/score"
	r.run("demo", "fail", "fraud-service")
	r.until("the breaker is open", func() error {
		reply := r.get(fraud)
		if got := r.state("fraud-service"); got != "open" {
			return fmt.Errorf("it is %s, and the service answers %d", got, reply.status)
		}
		return nil
	})
	reply := r.get(fraud)
	if reply.status != http.StatusOK || !strings.Contains(reply.body, `"fallback": true`) {
		t.Errorf("an open breaker answers %d: %s, want the policy's fallback", reply.status, reply.body)
	}
	if got := r.get(shopPaths[8002]).status; got != http.StatusOK {
		t.Errorf("another service answers %d meanwhile", got)
	}
	if out := r.run("status"); !strings.Contains(out, "open on 1 of 1 proxy") {
		t.Errorf("status says:\n%s", out)
	}
	r.run("demo", "heal", "fraud-service")
	r.run("reset", "fraud-service")
	if reply := r.get(fraud); reply.status != http.StatusOK || strings.Contains(reply.body, "fallback") {
		t.Errorf("after the reset the service answers %d: %s", reply.status, reply.body)
	}

	r.mustEnd(syscall.SIGINT)
	r.untilNothingIsLeft()
	envoytest.Eventually(t, 5*time.Second, "the demo's ports are free", func() error {
		for _, addr := range shopPorts() {
			if err := envoy.CheckFree(addr, "this test"); err != nil {
				return err
			}
		}
		return nil
	})
}
