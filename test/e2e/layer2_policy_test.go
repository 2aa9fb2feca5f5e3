package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestLayer2Fallback(t *testing.T) {
	t.Parallel()
	static, served, cache := newScript(t), newScript(t), newScript(t)
	cache.set(func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "from the cache") })
	s := newLayer2(t,
		layer2("static", static, time.Second)+`fallback: {status: 203, headers: {x-from: policy}, body: '{"score": null}'}`+"\n",
		layer2("served", served, time.Second)+"fallback: {service: cache}\n",
		layer2("cache", cache, time.Minute),
	)
	for _, tt := range []struct {
		service string
		b       *script
		status  int
		body    string
	}{
		{"static", static, http.StatusNonAuthoritativeInfo, `{"score": null}`},
		{"served", served, http.StatusOK, "from the cache"},
	} {
		// 1. Open: the fallback answers, and nothing reaches the service.
		s.trip(tt.service, tt.b)
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodGet} {
			r := s.do(method, "/"+tt.service, nil)
			if r.status != tt.status || r.body != tt.body || r.header.Get("X-Circuit-Breaker") != "fallback" {
				t.Errorf("%s: open: %s is answered %d %q, breaker %q", tt.service, method, r.status, r.body, r.header.Get("X-Circuit-Breaker"))
			}
		}
		if n := tt.b.seen(); n != 0 {
			t.Errorf("%s: %d requests reached an open service", tt.service, n)
		}
		// 2. Half-open: probes reach the service.
		s.untilHalfOpen(tt.service)
		if r := s.get("/" + tt.service); r.status != http.StatusOK || r.header.Get("X-Circuit-Breaker") != "" || tt.b.seen() != 1 {
			t.Errorf("%s: half-open: %d %q, breaker %q", tt.service, r.status, r.body, r.header.Get("X-Circuit-Breaker"))
		}
		// 3. Closed: the service answers.
		s.untilCloses(tt.service)
		if r := s.get("/" + tt.service); r.status != http.StatusOK || r.body == tt.body || r.header.Get("X-Circuit-Breaker") != "" {
			t.Errorf("%s: closed: %d %q, breaker %q", tt.service, r.status, r.body, r.header.Get("X-Circuit-Breaker"))
		}
		s.mustHaveGone(tt.service, "closed→open", "open→half_open", "half_open→closed")
	}
	s.mustHaveGone("cache")
}

func TestLayer2InShadowNeverActs(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, layer2("svc", b, 500*time.Millisecond, "shadow: true"))
	b.set(bad)
	sent := 0
	s.until("it would have opened", func() error {
		for range 10 {
			if r := s.get("/svc"); r.status != http.StatusInternalServerError || r.header.Get("X-Circuit-Breaker") != "" {
				t.Fatalf("in shadow: %d, breaker %q", r.status, r.header.Get("X-Circuit-Breaker"))
			}
			sent++
		}
		if got := s.breaker("svc").State; got != "closed" {
			t.Errorf("in shadow it is %s", got)
		}
		if len(s.transitions("svc")) < 3 {
			return fmt.Errorf("%v", s.transitions("svc"))
		}
		return nil
	})
	if n := b.seen(); n != sent {
		t.Errorf("%d of %d requests reached the service", n, sent)
	}
	keys, err := s.envoy.Admin().Runtime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		if strings.Contains(key, "svc") {
			t.Errorf("in shadow the runtime has %s", key)
		}
	}
}

// An edit of its policy leaves the state of a breaker, and one of another policy all of it.
func TestLayer2OverEdits(t *testing.T) {
	t.Parallel()
	b, o := newScript(t), newScript(t)
	files := quiet()
	delete(files, "services.yaml")
	files["svc.yaml"] = layer2("svc", b, time.Minute)
	files["other.yaml"] = at("other", o, "timeout: {request: 5s}")
	s := newStack(t, files, jsonLog...)
	s.untilReporting()
	s.trip("svc", b)
	stop := s.workers(2, "/svc", 5*time.Millisecond)
	applied := func(what string, edit func()) {
		t.Helper()
		digest := s.config().Digest
		edit()
		s.until(what, func() error {
			if c := s.config(); c.Digest == digest || !c.OK {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}

	// 1. Another service is edited, added and removed.
	modified := s.modified()
	applied("an edit of another", func() { s.write("other.yaml", at("other", o, "timeout: {request: 6s}")) })
	applied("a new service", func() { s.write("new.yaml", at("new", o)) })
	applied("it is removed", func() { s.remove("new.yaml") })
	if n := s.modified() - modified; n != 0 {
		t.Errorf("%d clusters were replaced", n)
	}
	// 2. The service itself: thresholds, limits, retries, a longer timeout.
	edited := strings.NewReplacer("failure_threshold: 5", "failure_threshold: 7", "retry: off", "retry: {max_retries: 1}",
		"timeout: 1m0s", "timeout: 2m0s").Replace(layer2("svc", b, time.Minute)) + "limits: {max_requests: 5}\n"
	applied("its thresholds", func() { s.write("svc.yaml", edited) })
	s.untilIs("svc", "open")
	for _, r := range stop() {
		if err := r.isOpen(); err != nil {
			t.Errorf("over edits: %v", err)
			break
		}
	}
	if n := b.seen(); n != 0 {
		t.Errorf("%d requests reached an open service", n)
	}
	s.mustHaveGone("svc", "closed→open")
	// 3. A shorter timeout, which is over by now.
	applied("its timeout", func() { s.write("svc.yaml", layer2("svc", b, 100*time.Millisecond)) })
	s.untilHalfOpen("svc")
	s.mustHaveGone("svc", "closed→open", "open→half_open")
	s.untilCloses("svc")
}

// A service that is removed and added again begins anew.
func TestLayer2OverARemoval(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	files := quiet(at("other", b))
	svc := layer2("svc", b, time.Minute)
	files["svc.yaml"] = svc
	s := newStack(t, files, jsonLog...)
	s.untilReporting()
	again := func() {
		t.Helper()
		b.set(good)
		s.remove("svc.yaml")
		s.until("it is gone", func() error {
			if r := s.get("/svc"); r.status != http.StatusNotFound {
				return fmt.Errorf("%d", r.status)
			}
			return nil
		})
		s.write("svc.yaml", svc)
		s.until("it is back", func() error {
			if r := s.get("/svc"); r.status != http.StatusOK {
				return fmt.Errorf("%d %s", r.status, r.body)
			}
			return nil
		})
		s.untilReporting()
	}
	// 1. While it is open.
	s.trip("svc", b)
	again()
	if got := s.breaker("svc"); got.State != "closed" {
		t.Errorf("it is back and %+v", got)
	}
	// 2. With four failures in the window: a fifth afterwards is the first.
	b.set(alternating)
	for range 8 {
		s.get("/svc")
	}
	s.until("the failures are counted", func() error {
		if n := s.recentErrors("svc"); n != 4 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	again()
	b.set(bad)
	s.get("/svc")
	s.until("the failure is counted", func() error {
		if n := s.recentErrors("svc"); n == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	if n := s.recentErrors("svc"); n != 1 {
		t.Errorf("%d failures are counted after the service was added again, want 1", n)
	}
	s.untilIs("svc", "closed")
}

// recentErrors is the number of failures in a service's window.
func (s *stack) recentErrors(service string) int {
	s.t.Helper()
	var l legacy
	s.api("/api/v1/circuit-breakers", &l)
	return l.CircuitBreakers[service].RecentFailures
}

// A reset closes at once, and the proxy's own admin API is the proof.
func TestLayer2Reset(t *testing.T) {
	t.Parallel()
	b := newScript(t)
	s := newLayer2(t, layer2("svc", b, time.Minute))
	for range 2 { // once more, for the window must be empty
		// 1. Of an open breaker.
		s.trip("svc", b)
		s.mustBeOpen("svc", b, 3)
		modified := s.modified()
		if out := s.run("reset", "svc", "--reason", "it is back"); !strings.Contains(out, "breaker was open") {
			t.Errorf("the reset says:\n%s", out)
		}
		// 2. All is as if it had never been open: at once, without a wait.
		if r := s.get("/svc"); r.status != http.StatusOK {
			t.Errorf("after the reset: %d %s", r.status, r.body)
		}
		for _, r := range s.send(20, http.MethodGet, "/svc", "") {
			if r.status != http.StatusOK {
				t.Errorf("after the reset: %d %s", r.status, r.body)
			}
		}
		keys, err := s.envoy.Admin().Runtime(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range keys {
			if strings.Contains(key, "svc") {
				t.Errorf("after the reset the runtime has %s = %s", key, value)
			}
		}
		if got := s.breaker("svc"); got.State != "closed" {
			t.Errorf("after the reset it is %+v", got)
		}
		// What the next report says is in part of before, and is not taken in.
		s.untilReporting()
		// No host was ejected, so that there was no reason to replace the cluster.
		if n := s.modified() - modified; n != 0 {
			t.Errorf("the reset replaced %d clusters", n)
		}
	}
	if out := s.run("reset", "svc"); !strings.Contains(out, "nothing") {
		t.Errorf("a reset with nothing to clear says:\n%s", out)
	}
	s.mustHaveGone("svc", "closed→open", "open→closed", "closed→open", "open→closed")
}
