package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// operated is a service without retries, so that each request is one attempt.
func operated(u *envoytest.Upstream) map[string]string {
	return map[string]string{"svc.yaml": fmt.Sprintf("service: svc\nupstream: %s\nroutes: [{prefix: /svc}]\nretry: {max_retries: 0}\ntimeout: {request: 300ms}\n", u.Addr())}
}

// TestOperatorCommands: force-open keeps every request from a healthy service, disable lets every
// one through to a failing one, and events tell both.
func TestOperatorCommands(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, operated(u))
	arrive := func(n int) uint64 {
		t.Helper()
		before := u.Requests()
		for range n {
			s.get("/svc")
		}
		return uint64(u.Requests() - before)
	}
	client := func(args ...string) string { return s.run(append(args, "--server", s.grpc)...) }

	out := client("force-open", "svc", "--ttl", "1h", "--actor", "ann", "--reason", "a drill")
	if !strings.Contains(out, "Envoy sends no request to the service") {
		t.Errorf("force-open is not proved:\n%s", out)
	}
	if n := arrive(5); n != 0 {
		t.Errorf("%d of 5 requests arrived at a service that is forced open", n)
	}
	if r := s.get("/svc"); r.status != http.StatusServiceUnavailable || r.header.Get("x-circuit-breaker") != "open" {
		t.Errorf("callers get %d, %v", r.status, r.header)
	}
	out = client("explain", "svc")
	for _, want := range []string{"forced open by ann: a drill; it ends in ", "`breakwater release svc` ends that", "upstream_rq_maintenance_mode", "timeout.request"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain does not say %q:\n%s", want, out)
		}
	}
	client("release", "svc")
	if n := arrive(5); n != 5 {
		t.Errorf("%d of 5 requests arrived after the release", n)
	}

	u.Behave(envoytest.Behaviour{Status: 500})
	client("disable", "svc", "--reason", "let all through", "--for-ever")
	if n := arrive(20); n != 20 {
		t.Errorf("%d of 20 requests arrived at a failing service whose breaker is disabled", n)
	}
	client("release", "svc")
	for _, action := range []string{"forced_open", "disabled"} {
		told := regexp.MustCompile(`(?m)^.* order: .*state=`+action+`\b.*$`).FindAllString(s.log.String(), -1)
		if len(told) != 1 {
			t.Errorf("the log tells %d times that it was %s: %q", len(told), action, told)
		}
	}
	if log := s.log.String(); strings.Contains(log, "0001-01-01") {
		t.Errorf("the log has a time that is none:\n%s", log)
	}

	var events struct {
		Events []struct{ ID, Kind, From, To, Actor, Cause string }
	}
	if err := json.Unmarshal([]byte(client("events", "svc", "-o", "json")), &events); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events.Events {
		kind := e.Kind
		if e.To != "" {
			kind = e.From + ">" + e.To
		}
		kinds = append(kinds, kind)
	}
	want := "force_open closed>forced_open release forced_open>closed disable closed>disabled release disabled>closed"
	if got := strings.Join(kinds, " "); !strings.HasPrefix(got, want) {
		t.Errorf("events %s, want %s", got, want)
	}
}

// TestExplainNamesWhatHappensNow: of each kind of failure, the flag and the words come from Envoy's
// own counts.
func TestExplainNamesWhatHappensNow(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, operated(u))
	for _, tt := range []struct {
		behaviour  envoytest.Behaviour
		flag, stat string
	}{
		{envoytest.Behaviour{Hang: true}, "UT", "upstream_rq_timeout"},
		{envoytest.Behaviour{Reset: true}, "UC", "upstream_cx_destroy_remote_with_active_rq"},
		{envoytest.Behaviour{Status: 500}, "", "rq_error"},
	} {
		u.Behave(tt.behaviour)
		s.get("/svc")
		var answer struct {
			Counts []struct {
				Counts []struct{ Flag, Stat, Total string }
			}
		}
		if err := json.Unmarshal([]byte(s.run("explain", "svc", "-o", "json", "--server", s.grpc)), &answer); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, p := range answer.Counts {
			for _, n := range p.Counts {
				found = found || n.Stat == tt.stat && n.Flag == tt.flag && n.Total != "0"
			}
		}
		if !found {
			t.Errorf("after %+v there is no %s (%s): %+v", tt.behaviour, tt.stat, tt.flag, answer)
		}
	}
}
