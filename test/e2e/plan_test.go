package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// planned is service svc.
func planned(extra string, hosts ...fmt.Stringer) string {
	list := make([]string, len(hosts))
	for i, h := range hosts {
		list[i] = h.String()
	}
	return "service: svc\nupstream: [" + strings.Join(list, ", ") + "]\nroutes: [{prefix: /svc}]\nretry: off\n" + extra
}

const (
	planRoutes  = "- routes only: no connection is touched and no ejection cleared; requests under way end by the old routes"
	planHosts   = "; the cluster stays, and ejections of the other hosts with it"
	planBegins  = "- requests under way end on the old connections; failures in a row and the counts by host begin at 0, those of the cluster go on"
	planBreaker = "- breaker settings only: no resource of Envoy's changes, and states stay"
	planDrained = "connections from before keep the old settings, are told to close by and by and are closed after Envoy's drain time (--drain-time-s, 600 s unless set)"
)

// TestPlans plans edits, carries each out, and looks whether Envoy does what was told: which resources it has anew, and
// what becomes of ejections, connections and requests under way.
func TestPlans(t *testing.T) {
	t.Parallel()
	hold := newGate()
	answer := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/svc/held" {
			hold.handle(w, r)
		}
	}
	bad, b, c := newCounted(t, always(http.StatusInternalServerError)), newCounted(t, answer), newCounted(t, answer)
	s := newPlanner(t, map[string]string{"svc.yaml": planned("breaker: {timeout: 10m}\ntimeout: {connect: 250ms}\n", bad, b), "gateway.yaml": "access_log: off\n"})
	call := s.newCaller()
	get := func() { call.get("/svc") }
	s.until("a host is ejected", func() error {
		if get(); len(s.ejected("svc")) != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	// untouched fails unless what an edit is not to touch is as it was.
	untouched := func(modified uint64, conns int, stays *counted) {
		t.Helper()
		if _, reused, _ := call.get("/svc"); !reused {
			t.Error("the caller's connection was closed")
		}
		if opened, open := stays.connections(); opened != conns || open != 1 {
			t.Errorf("%d connections were opened to the service and %d are open, want %d and 1", opened, open, conns)
		}
		if got := s.ejected("svc"); len(got) != 1 || s.modified() != modified {
			t.Errorf("ejected %v; %d clusters were replaced, want %d", got, s.modified(), modified)
		}
	}

	// underWay sends a request that a host holds, until the end that is returned: then it must be answered.
	underWay := func(at *counted) (end func()) {
		t.Helper()
		before := len(at.got())
		held := make(chan int, 1)
		go func() {
			r, err := s.try(http.MethodGet, "/svc/held", nil)
			if err != nil {
				t.Error(err)
			}
			held <- r.status
		}()
		s.until("a request is under way", func() error {
			if len(at.got()) == before {
				return errors.New("it has not arrived")
			}
			return nil
		})
		return func() {
			t.Helper()
			hold.release()
			if got := <-held; got != http.StatusOK {
				t.Errorf("the request under way ended with %d", got)
			}
		}
	}

	live := s.config().Digest
	p := s.plan("svc.yaml", "# the same\n"+planned("breaker:\n  timeout: 600s\ntimeout:\n  connect: 0.25\n", bad, b))
	if !p.OK || len(p.Services)+len(p.Resources) > 0 || p.Digest != live {
		t.Errorf("what is only reformatted would change %+v", p)
	}

	modified := s.modified()
	edit := func(extra string, hosts ...fmt.Stringer) (planJSON, func()) {
		text := planned("breaker: {timeout: 10m"+extra, hosts...)
		return s.plan("svc.yaml", text), func() { s.write("svc.yaml", text) }
	}
	end := underWay(b)
	conns, _ := b.connections()
	p, do := edit("}\ntimeout: {connect: 250ms, request: 300ms}\n", bad, b)
	p.expect(t, "svc", planRoutes)
	s.carryOut(p, do)
	if opened, open := b.connections(); opened != conns || open != conns || s.modified() != modified || len(s.ejected("svc")) != 1 {
		t.Errorf("an edit of routes: of %d connections %d are open, before %d; ejected %v", opened, open, conns, s.ejected("svc"))
	}
	if r := s.get("/svc/held"); r.status != http.StatusGatewayTimeout {
		t.Errorf("by the new routes a request ends with %d", r.status)
	}
	end()
	s.write("svc.yaml", planned("breaker: {timeout: 10m}\ntimeout: {connect: 250ms, request: 7s}\n", bad, b))
	s.until("the timeout is longer", func() error {
		get()
		if got := b.got()[len(b.got())-1].Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != "7000" {
			return errors.New(got)
		}
		return nil
	})
	end = underWay(b)
	p, do = edit("}\ntimeout: {connect: 250ms, request: 7s}\n", bad, c)
	p.expect(t, "svc", "- endpoints only: adds "+c.String()+"; removes "+b.String()+", whose connections are drained"+planHosts)
	s.carryOut(p, do)
	end()
	s.untilClosed("the connections to the host that went are closed", b)
	get()
	untouched(modified, 1, c)

	for range 20 {
		get()
	}
	s.untilReporting() // of all of them
	window := 0
	s.until("its window has as many, and no more come", func() error {
		last := window
		if window = s.window("svc"); window < 20 || window != last {
			return fmt.Errorf("%d after %d", window, last)
		}
		return nil
	})
	p, do = edit(", window_size: 10}\ntimeout: {connect: 250ms, request: 7s}\n", bad, c)
	if got := p.effects("svc"); len(got) != 2 || got[0] != planBreaker || !strings.HasPrefix(got[1], fmt.Sprintf("- its window keeps the newest 10 of %d attempts, with ", window)) {
		t.Errorf("effects %q", got)
	}
	s.carryOut(p, do)
	if got := s.window("svc"); got != 10 {
		t.Errorf("the window has %d attempts", got)
	}
	untouched(modified, 1, c)

	p, do = edit(", window_size: 10}\ntimeout: {connect: 250ms, request: 7s}\nlimits: {max_requests: 77}\n", bad, c)
	p.expect(t, "svc", "- limits go by runtime, so that nothing is replaced; requests beyond them get 503 (overloaded) at once")
	s.carryOut(p, do)
	s.untilEnforced("circuit_breakers.svc.default.max_requests", true)
	untouched(modified, 1, c)

	end = underWay(c)
	requests := s.stat(s.envoy, "cluster.svc.upstream_rq_total")
	p, do = edit(", window_size: 10}\ntimeout: {connect: 260ms, request: 7s}\nlimits: {max_requests: 77}\n", bad, c)
	p.expect(t, "svc", "! replaces cluster svc: clears 1 ejection, drains its connection pools (e2e)", planBegins)
	s.carryOut(p, do)
	if got := s.ejected("svc"); len(got) != 0 || s.modified() != modified+1 {
		t.Errorf("ejected %v; %d clusters were replaced, want 1", got, s.modified()-modified)
	}
	end()
	s.untilClosed("the old cluster's connections are closed", c)
	if got := s.stat(s.envoy, "cluster.svc.upstream_rq_total"); got != requests {
		t.Errorf("the cluster has counted %d requests, before %d", got, requests)
	}
	status, err := s.envoy.Admin().Clusters(t.Context(), "svc")
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range status.GetClusterStatuses() {
		for _, h := range hostStates(cluster) {
			if h.Requests != 0 {
				t.Errorf("%s has counted %d requests", h.Address, h.Requests)
			}
		}
	}
	if _, reused, _ := call.get("/svc"); !reused {
		t.Error("the caller's connection was closed")
	}
}

// window is how many attempts the breaker of a service looks back on.
func (s *planner) window(service string) int {
	s.t.Helper()
	var reply struct {
		Breaker struct {
			Proxies []struct {
				Attempts int `json:"recent_attempts,string"`
			} `json:"proxies"`
		} `json:"breaker"`
	}
	s.api("/api/v1/breakers/"+service, &reply)
	n := 0
	for _, p := range reply.Breaker.Proxies {
		n += p.Attempts
	}
	return n
}

// TestPlanOfRemoval takes a service away, and back, over which an order stands.
func TestPlanOfRemoval(t *testing.T) {
	t.Parallel()
	a := newCounted(t, always(http.StatusOK))
	s := newPlanner(t, map[string]string{"svc.yaml": planned("", a), "rest.yaml": marker(0)})
	s.run("force-open", "svc", "--reason", "a drill", "--ttl", "1h")
	// The order is named with who gave it, and the time that it still has.
	effect := func(p planJSON, i int, want string) {
		t.Helper()
		if got := p.effects("svc"); len(got) <= i || !strings.HasPrefix(got[i], "! the order of ") || !strings.Contains(got[i], " that it be forced_open (a drill), for ") ||
			!strings.HasSuffix(got[i], want) {
			t.Errorf("effects %q, want the order, which %s", got, want)
		}
	}
	p := s.plan("svc.yaml", "")
	if got := p.effects("svc"); len(got) != 3 || got[1] != "! gives up prefix /svc: requests there get 404, or what a wider route answers" {
		t.Errorf("effects %q", got)
	}
	effect(p, 2, "has nothing to hold then, and holds again if the service comes back")
	s.carryOut(p, func() { s.remove("svc.yaml") })
	if r := s.get("/svc"); r.status != http.StatusNotFound {
		t.Errorf("a path that was given up answers %d", r.status)
	}
	p = s.plan("svc.yaml", planned("", a))
	effect(p, 0, "holds at once")
	s.carryOut(p, func() { s.write("svc.yaml", planned("", a)) })
	s.untilIs("svc", "forced_open")
	s.untilEnforced("upstream.maintenance_mode.svc", true)
	if err := s.get("/svc").isOpen(); err != nil {
		t.Error(err)
	}
	if got := a.got(); len(got) != 0 {
		t.Errorf("%d requests reached the service", len(got))
	}
}

// TestPlanOfGateway changes what is done with connections.
func TestPlanOfGateway(t *testing.T) {
	t.Parallel()
	a := newCounted(t, always(http.StatusOK))
	s := newPlanner(t, map[string]string{"svc.yaml": planned("", a), "gateway.yaml": "access_log: off\n"})
	call := s.newCaller()
	call.get("/svc")
	p := s.plan("gateway.yaml", "access_log: off\nheaders: {max_count: 50}\n")
	p.expect(t, "", "! updates the listener in place: new connections are taken all along; "+planDrained)
	start := time.Now()
	s.carryOut(p, func() { s.write("gateway.yaml", "access_log: off\nheaders: {max_count: 50}\n") })
	if got := s.stat(s.envoy, "listener_manager.listener_in_place_updated"); got != 1 {
		t.Errorf("%d listeners were updated in place", got)
	}
	// It goes on for a time, unless a reply has asked the caller to close it, and not for ever.
	told := false
	s.until("the connection from before is closed", func() error {
		status, reused, closes := call.get("/svc")
		if status != http.StatusOK {
			t.Errorf("%d", status)
		}
		if told = told || closes; !reused {
			return nil
		}
		return errors.New("it is used")
	})
	if !told && time.Since(start) < time.Second {
		t.Error("the connection was closed at once, and without a word")
	}
	if got := s.modified(); got != 0 {
		t.Errorf("%d clusters were replaced", got)
	}
}

// TestPlanOfGatewayAddress moves the listener.
func TestPlanOfGatewayAddress(t *testing.T) {
	t.Parallel()
	a := newCounted(t, always(http.StatusOK))
	first, second := freeAddr(t), freeAddr(t)
	s := &planner{stack: newPlane(t, map[string]string{"svc.yaml": planned("", a), "gateway.yaml": "address: " + first + "\n"}, "--gateway", "")}
	s.gateway, s.envoy = first, s.startEnvoy("e2e")
	call := s.newCaller()
	call.get("/svc")
	p := s.plan("gateway.yaml", "address: "+second+"\n")
	p.expect(t, "", "! moves the listener to "+second+": the old address takes no new connections; "+planDrained)
	s.carryOut(p, func() { s.write("gateway.yaml", "address: "+second+"\n") })
	if got := s.stat(s.envoy, "listener_manager.listener_in_place_updated"); got != 0 {
		t.Errorf("%d listeners were updated in place", got)
	}
	if status, reused, _ := call.get("/svc"); status != http.StatusOK || !reused {
		t.Errorf("the connection from before: status %d, the same %v", status, reused)
	}
	s.until("the old address takes no new connection", func() error {
		if r, err := s.try(http.MethodGet, "/svc", nil); err == nil {
			return fmt.Errorf("%d", r.status)
		}
		return nil
	})
}

// TestPlanOfOpenBreaker edits the policy of a breaker that layer 2 holds open.
func TestPlanOfOpenBreaker(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	policy := func(breaker string) string { return planned("breaker: {"+breaker+"}\n", b) }
	s := newPlanner(t, map[string]string{"svc.yaml": policy("timeout: 1h"), "gateway.yaml": "access_log: off\n"})
	s.untilReporting()
	s.trip("svc", b)

	p := s.plan("svc.yaml", policy("timeout: 1h, shadow: true"))
	p.expect(t, "svc", "! replaces cluster svc: drains its connection pools (e2e)", "! only observes from then on: it is open, and requests reach the service again (e2e)", planBegins)
	s.carryOut(p, func() { s.write("svc.yaml", policy("timeout: 1h, shadow: true")) })
	s.untilEnforced("upstream.maintenance_mode.svc", false)
	if r := s.get("/svc"); r.status != http.StatusOK {
		t.Errorf("in shadow: %d", r.status)
	}

	p = s.plan("svc.yaml", policy("timeout: 1h"))
	p.expect(t, "svc", "! replaces cluster svc: drains its connection pools (e2e)", "! acts from then on: it is open, and keeps requests from the service (e2e)", planBegins)
	s.carryOut(p, func() { s.write("svc.yaml", policy("timeout: 1h")) })
	s.untilOpen("svc")
	s.mustBeOpen("svc", b, 1)

	p = s.plan("svc.yaml", policy("timeout: 100ms"))
	if got := p.effects("svc"); len(got) != 4 || !strings.HasPrefix(got[1], "! is open and lets probes through at once instead of in ") {
		t.Errorf("effects %q", got)
	}
	s.carryOut(p, func() { s.write("svc.yaml", policy("timeout: 100ms")) })
	s.untilCloses("svc")
}

// TestPlanWhileRefused: what a service gives up is of the policy that is in effect, and not of a later one that Envoy has
// refused.
func TestPlanWhileRefused(t *testing.T) {
	t.Parallel()
	o := newCounted(t, always(http.StatusOK))
	text := func(extra, prefix string) string {
		return "service: svc\nupstream: https://" + o.String() + "\n" + extra + "routes: [{prefix: " + prefix + "}]\n"
	}
	s := newPlanner(t, map[string]string{"svc.yaml": text("", "/old")})
	s.write("svc.yaml", text("tls: {ca_file: /none.pem}\n", "/refused"))
	s.until("Envoy has refused the edit, and what was there before is in force again", func() error {
		if got := s.config().Rejections; len(got) != 1 {
			return fmt.Errorf("rejections %+v", got)
		}
		if back := s.plan("svc.yaml", text("", "/old")); len(back.Resources) > 0 {
			return fmt.Errorf("to go back to it would change %+v", back.Resources)
		}
		return nil
	})
	s.plan("svc.yaml", text("", "/new")).expect(t, "svc",
		"! gives up prefix /old: requests there get 404, or what a wider route answers", planRoutes)
}

// TestPlanCommand is the command against a server: what it prints, and its exit codes.
func TestPlanCommand(t *testing.T) {
	t.Parallel()
	o := envoytest.NewUpstream(t)
	s := &planner{stack: newPlane(t, map[string]string{"other.yaml": other(o, 5)})}
	if got := s.run("plan", s.dir); got != "nothing would change\n" {
		t.Errorf("it prints %q", got)
	}
	dir := t.TempDir()
	edited := &planner{stack: &stack{t: t, dir: dir}}
	edited.write("other.yaml", other(o, 6))
	want := "other: changed\n  timeout.request: 5s → 6s (other.yaml:4:20)\n  " + planRoutes + "\n1 service would change, and 1 resource of Envoy's\n"
	if got := s.run("plan", dir); got != want {
		t.Errorf("it prints\n%swant\n%s", got, want)
	}
	if got := s.run("plan", dir, "--diff"); !strings.Contains(got, "\nRouteConfiguration gateway: changed\n") || !strings.Contains(got, "\n-          timeout: 5s\n+          timeout: 6s\n") {
		t.Errorf("the diff is\n%s", got)
	}
	edited.write("other.yaml", other(o, 6)+"retry: {max_retrys: 1}\n")
	stdout, stderr, code := s.command("plan", dir)
	if code != 1 || stderr != "breakwater: 1 error\n" || !strings.Contains(stdout, "other: kept\n") || !strings.HasPrefix(stdout, "error: other.yaml:5:9: retry.max_retrys: ") {
		t.Errorf("exit code %d, it prints %s%s", code, stdout, stderr)
	}
	if _, _, code := s.command("plan"); code != 2 {
		t.Errorf("without a directory: exit code %d", code)
	}
	s.stop()
	if _, stderr, code := s.command("plan", dir); code != 1 || !strings.Contains(stderr, "no server at ") {
		t.Errorf("without a server: exit code %d, %s", code, stderr)
	}
	s.start()
}
