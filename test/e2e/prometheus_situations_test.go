package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// repeatedly does something until stop is called.
func repeatedly(t *testing.T, do func()) (stop func()) {
	t.Helper()
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				do()
			}
		}
	})
	stop = sync.OnceFunc(func() {
		close(end)
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// What callers meet: retries over the budget, in one burst that Prometheus does not see begin; limits; clients that leave;
// a breaker that an operator keeps open.
func TestPrometheusAlertsOnRequests(t *testing.T) {
	t.Parallel()
	storm, slow, g := newScript(t), newScript(t), newGate()
	storm.set(bad)
	full := newBackend(t, g.handle)
	o := observe(newLayer2(t,
		at("storm", storm, "retry: {max_retries: 1, base_delay: 300ms, max_delay: 300ms}", "breaker: {failure_threshold: 90}"),
		at("full", full, "limits: {max_requests: 1, max_pending_requests: 1}"),
		at("slow", slow, "retry: off"),
	))
	o.send(40, "GET", "/storm", "")
	o.untilFires("RetryBudgetExhausted", map[string]string{"service": "storm"})
	o.untilClears("RetryBudgetExhausted")

	stop := repeatedly(t, func() { o.crowd(5, "/full", full, g) })
	o.untilFires("ServiceOverloaded", map[string]string{"service": "full"})
	stop()
	o.untilClears("ServiceOverloaded")

	held := newGate()
	slow.set(func(_ int, w http.ResponseWriter, r *http.Request) { held.handle(w, r) })
	transport := &http.Transport{DisableKeepAlives: true}
	stop = repeatedly(t, func() {
		o.leave(transport, "/slow", "the request is there", slow.one)
		o.until("the request has gone", func() error {
			if n := slow.there(); n != 0 {
				return fmt.Errorf("%d are there", n)
			}
			return nil
		})
	})
	o.untilFires("ClientsLeave", map[string]string{"service": "slow"})
	o.mustNotFire("HighErrorRate", map[string]string{"service": "slow"})
	stop()
	o.untilClears("ClientsLeave")

	o.run("force-open", "full", "--reason", "a drill")
	o.untilFires("ForcedOpen", map[string]string{"service": "full", "severity": "info"})
	o.run("release", "full")
	o.untilClears("ForcedOpen")
}

// What Breakwater can not do: a policy that Envoy refuses, an Envoy that hangs.
func TestPrometheusAlertsOnAnEnvoyThatHangs(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	o := observe(newLayer2(t, layer2("svc", b, time.Minute)))
	o.write("picky.yaml", refusedByEnvoy)
	o.untilFires("ConfigNacked", map[string]string{"type": "route"})
	o.remove("picky.yaml")
	o.untilClears("ConfigNacked")

	signal := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(o.envoy.Pid(), s); err != nil {
			t.Fatal(err)
		}
	}
	proxy := map[string]string{"proxy": "e2e"}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	o.untilFires("EnvoyDown", proxy)
	o.untilFires("LoadReportsLate", proxy)
	o.untilFires("BreakerStateUnknown", proxy)
	o.mustNotFire("ProxyGone", proxy)
	signal(syscall.SIGCONT)
	for _, name := range []string{"EnvoyDown", "LoadReportsLate", "BreakerStateUnknown"} {
		o.untilClears(name)
	}
}

// Panic mode is off in what Breakwater sends, and a runtime key of Envoy's own switches it on.
func TestPrometheusAlertsOnPanicMode(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	b.set(bad)
	plane := newPlane(t, quiet(at("svc", b, "retry: off", "breaker: {failure_threshold: 2}")), jsonLog...)
	plane.envoy = plane.startEnvoy("e2e", func(bootstrap *bootstrapv3.Bootstrap) {
		panics, err := structpb.NewStruct(map[string]any{"upstream.healthy_panic_threshold": 50})
		if err != nil {
			t.Fatal(err)
		}
		bootstrap.LayeredRuntime.Layers = append(bootstrap.LayeredRuntime.Layers, &bootstrapv3.RuntimeLayer{
			Name: "changed", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: panics},
		})
	})
	plane.untilReporting()
	o := observe(plane)
	o.get("/svc")
	o.get("/svc")
	if r := o.get("/svc"); strings.Contains(r.body, "circuit_open") {
		t.Fatalf("Envoy is not in panic mode: %d %s", r.status, r.body)
	}
	stop := o.workers(1, "/svc", 20*time.Millisecond)
	o.untilFires("PanicMode", map[string]string{"service": "svc"})
	stop()
	o.untilClears("PanicMode")
}

// mustNotFire fails if an alert with these labels is firing.
func (o *observed) mustNotFire(name string, labels map[string]string) {
	o.t.Helper()
	alerts, err := o.prometheus.Alerts(o.t.Context(), name)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, a := range alerts {
		if a.State == "firing" && has(a.Labels, labels) {
			o.t.Errorf("%s is firing: %+v", name, a)
		}
	}
}
