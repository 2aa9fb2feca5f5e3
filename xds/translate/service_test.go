package translate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// An error names the service and the part of its policy.
func TestErrorsNameServiceAndField(t *testing.T) {
	host := policy.Host{Name: "10.0.0.1", Port: 80}
	for _, tt := range []struct {
		name  string
		spoil func(*policy.Service)
		say   string
	}{
		{"connect timeout", func(s *policy.Service) { s.Timeout.Connect = 0 }, "ConnectTimeout"},
		{"host", func(s *policy.Service) { s.Upstream.Hosts[0] = policy.Host{} }, "cluster"},
		{"prefix", func(s *policy.Service) { s.Routes[0].Value = "/a?b" }, "routes[0]"},
		{"regex", func(s *policy.Service) { s.Routes[0] = policy.Route{Match: policy.MatchRegex} }, "routes[0]"},
		{"header", func(s *policy.Service) { s.Routes[0].Headers = []policy.HeaderMatch{{Name: "a b\n"}} }, "routes[0]"},
		{"text", func(s *policy.Service) { s.Fallback = &policy.Fallback{Status: 200, Body: "\xff"} }, "UTF-8"},
		{"status", func(s *policy.Service) { s.Fallback = &policy.Fallback{Status: 99} }, "Status"},
		{"check", func(s *policy.Service) { s.HealthCheck = &policy.HealthCheck{Path: "/"} }, "HealthChecks[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := service("pay", host)
			tt.spoil(s)
			u, err := translate.Service(s, translate.Generation{})
			if u != nil {
				t.Error("a unit beside the error")
			}
			wantError(t, err, "service pay", tt.say)
		})
	}
}

func TestGatewayErrors(t *testing.T) {
	gw := testGateway()
	gw.Host = "shop.example"
	_, err := translate.Listeners(gw)
	wantError(t, err, "gateway: host", "shop.example")
	for _, address := range []string{"nowhere", "host:0", "host:70000"} {
		gw.ExposeAdmin = address
		_, err := translate.GatewayClusters(gw)
		wantError(t, err, "gateway: expose_admin")

		traced := testGateway()
		traced.Tracing = &policy.Tracing{Collector: address, ServiceName: "gateway"}
		_, err = translate.GatewayClusters(traced)
		wantError(t, err, "gateway: tracing.collector")
	}
}

// Where every IPv6 address is asked for, IPv4 is meant as well, and nowhere else.
func TestListenerOnEveryAddress(t *testing.T) {
	for host, both := range map[string]bool{"::": true, "::1": false, "0.0.0.0": false} {
		gw := testGateway()
		gw.Host = host
		listeners, err := translate.Listeners(gw)
		if err != nil {
			t.Fatal(err)
		}
		a := listeners[0].GetAddress().GetSocketAddress()
		if a.GetAddress() != host || a.GetIpv4Compat() != both {
			t.Errorf("%s: listens on %v", host, a)
		}
	}
}

// What the limits layer carries, and what a service was called before, are not the
// cluster's: an edit of limits leaves its bytes alone, and any other changes the name
// of its endpoints.
func TestWhatChangesACluster(t *testing.T) {
	unit := func(edit func(*policy.Service), gen translate.Generation) *translate.Unit {
		t.Helper()
		s := service("pay", policy.Host{Name: "10.0.0.1", Port: 80})
		edit(s)
		u, err := translate.Service(s, gen)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	none := func(*policy.Service) {}
	before := unit(none, translate.Generation{})
	if before.Cluster.GetMetadata() != nil {
		t.Error("a cluster that was never reset has metadata")
	}
	for _, tt := range []struct {
		name    string
		edit    func(*policy.Service)
		gen     translate.Generation
		cluster bool // whether it changes
	}{
		{"limits", func(s *policy.Service) { s.Limits.MaxRequests, s.Retry.Budget = 7, 0.5 }, translate.Generation{}, false},
		{"route", func(s *policy.Service) { s.Routes[0].Value = "/b" }, translate.Generation{}, false},
		{"request timeout", func(s *policy.Service) { s.Timeout.Request.D = time.Second }, translate.Generation{}, false},
		{"retry", func(s *policy.Service) { s.Retry.MaxRetries = 9 }, translate.Generation{}, false},
		{"fallback", func(s *policy.Service) { s.Fallback = &policy.Fallback{Status: 200} }, translate.Generation{}, false},
		{"hosts", func(s *policy.Service) { s.Upstream.Hosts[0].Port = 81 }, translate.Generation{}, false},
		{"host generation", none, translate.Generation{Hosts: map[string]uint64{"10.0.0.1:80": 1}}, false},
		{"threshold", func(s *policy.Service) { s.Breaker.FailureThreshold.N = 7 }, translate.Generation{}, true},
		{"generation", none, translate.Generation{Cluster: 1}, true},
	} {
		after := unit(tt.edit, tt.gen)
		if changed := !proto.Equal(before.Cluster, after.Cluster); changed != tt.cluster {
			t.Errorf("%s: the cluster changes: %v, want %v", tt.name, changed, tt.cluster)
		}
		name := after.Cluster.GetEdsClusterConfig().GetServiceName()
		if changed := name != before.Cluster.GetEdsClusterConfig().GetServiceName(); changed != tt.cluster {
			t.Errorf("%s: the name of the endpoints changes: %v, want %v", tt.name, changed, tt.cluster)
		}
		if after.Endpoints.GetClusterName() != name {
			t.Errorf("%s: endpoints %s of %s", tt.name, after.Endpoints.GetClusterName(), name)
		}
		if version(t, after) == version(t, before) {
			t.Errorf("%s: the version stays", tt.name)
		}
	}
}

// version is over everything that Envoy is told for a unit's sake.
func version(t *testing.T, u *translate.Unit) string {
	t.Helper()
	return fmt.Sprint(translate.Hash(u.Cluster), translate.Hash(u.Endpoints), u.RoutesVersion, u.Limits)
}
