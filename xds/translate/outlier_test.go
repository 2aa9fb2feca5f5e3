package translate_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// ejected sends five requests and reports whether the service's one host is out.
func (g *gateway) ejected(service string) bool {
	g.t.Helper()
	for range 5 {
		g.send("GET", "/"+service)
	}
	// What is counted by now is ejected before a page of the admin API is made: both are
	// the main thread's, in order.
	return g.clusterStat(service, "outlier_detection.ejections_active") == "1"
}

func TestErrorsSayWhatCounts(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	tests := []struct {
		errors []policy.StatusRange
		status int
		want   bool
	}{
		{nil, 500, true},
		{nil, 429, false},
		{[]policy.StatusRange{{From: 500, To: 599}, {From: 429, To: 429}}, 429, true},
		{[]policy.StatusRange{{From: 500, To: 599}, {From: 429, To: 429}}, 500, true},
		{[]policy.StatusRange{{From: 500, To: 599}, {From: 429, To: 429}}, 599, true},
		{[]policy.StatusRange{{From: 500, To: 599}, {From: 429, To: 429}}, 404, false},
		{[]policy.StatusRange{{From: 429, To: 429}}, 500, false},
		{[]policy.StatusRange{{From: 429, To: 429}}, 428, false},
		{[]policy.StatusRange{{From: 429, To: 429}}, 430, false},
		{[]policy.StatusRange{{From: 502, To: 504}}, 500, false},
		{[]policy.StatusRange{{From: 502, To: 504}}, 504, true},
	}
	services := make([]*policy.Service, len(tests))
	for i, tt := range tests {
		services[i] = service(fmt.Sprintf("s%d", i), up.host(t))
		services[i].Breaker.Errors = tt.errors
	}
	g := startGateway(t, testGateway(), services...)
	for i, tt := range tests {
		up.fail(tt.status)
		if got := g.ejected(services[i].Name); got != tt.want {
			t.Errorf("errors %v, status %d: ejected %v, want %v", tt.errors, tt.status, got, tt.want)
		}
	}
}

// Whatever the policy counts of replies, a host that gives none is ejected.
func TestMissingRepliesAlwaysCount(t *testing.T) {
	t.Parallel()
	closed, hanging, resetting := startUpstream(t), startUpstream(t), startUpstream(t)
	closedHost := closed.host(t)
	closed.Close()
	hanging.handle(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	resetting.handle(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	})
	var services []*policy.Service
	for _, counted := range []struct {
		name   string
		errors []policy.StatusRange
	}{{"plain", nil}, {"matched", []policy.StatusRange{{From: 429, To: 429}}}} {
		for kind, host := range map[string]policy.Host{
			"closed": closedHost, "hanging": hanging.host(t), "resetting": resetting.host(t),
		} {
			s := service(counted.name+"-"+kind, host)
			s.Breaker.Errors = counted.errors
			s.Timeout.Request.D = 30 * time.Millisecond
			if kind == "resetting" {
				s.Timeout.Request.D = 5 * time.Second
			}
			services = append(services, s)
		}
	}
	g := startGateway(t, testGateway(), services...)
	for _, s := range services {
		if !g.ejected(s.Name) {
			t.Errorf("%s is not ejected", s.Name)
		}
	}
}

func TestShadowEjectsNothing(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	up.fail(http.StatusInternalServerError)
	s := service("pay", up.host(t))
	s.Breaker.Shadow = true
	g := startGateway(t, testGateway(), s)
	if g.ejected("pay") {
		t.Error("ejected")
	}
	if got := g.clusterStat("pay", "outlier_detection.ejections_detected_consecutive_5xx"); got != "1" {
		t.Errorf("%s ejections detected, want 1", got)
	}
}
