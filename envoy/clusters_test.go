package envoy_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

func TestHostStatesCountAttemptsAndErrors(t *testing.T) {
	t.Parallel()
	const requests = 3
	kinds := []struct {
		name      string
		behaviour envoytest.Behaviour
		refused   bool
		errors    uint64
	}{
		{"ok", envoytest.Behaviour{}, false, 0},
		{"not-found", envoytest.Behaviour{Status: 404}, false, 0},
		{"too-many", envoytest.Behaviour{Status: 429}, false, 0},
		{"error", envoytest.Behaviour{Status: 500}, false, requests},
		{"timeout", envoytest.Behaviour{Hang: true}, false, requests},
		{"reset", envoytest.Behaviour{Reset: true}, false, requests},
		{"refused", envoytest.Behaviour{}, true, requests},
		{"grpc-unavailable", envoytest.Behaviour{GRPC: true, GRPCStatus: 14}, false, requests},
		{"grpc-not-found", envoytest.Behaviour{GRPC: true, GRPCStatus: 5}, false, 0},
	}
	var clusters []cluster
	for _, k := range kinds {
		clusters = append(clusters, behaving(t, k.name, k.behaviour, k.refused))
	}
	g := startGateway(t, clusters...)
	for i, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for range requests {
				if _, err := g.get(t.Context(), "/"+k.name); err != nil {
					t.Fatal(err)
				}
			}
			want := []envoy.HostState{{
				Address:  fmt.Sprintf("127.0.0.1:%d", clusters[i].port),
				Requests: requests, Errors: k.errors,
			}}
			if diff := cmp.Diff(want, envoy.HostStates(g.status(t, k.name))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestHostStatesShowAnEjection(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	u.Behave(envoytest.Behaviour{Status: 503})
	g := startGateway(t, cluster{name: "a", port: u.Port(), ejectAfter: 3})
	for range 3 {
		if _, err := g.get(t.Context(), "/a"); err != nil {
			t.Fatal(err)
		}
	}
	envoytest.Eventually(t, 5*time.Second, "the host is ejected", func() error {
		if hosts := envoy.HostStates(g.status(t, "a")); !hosts[0].Ejected {
			return fmt.Errorf("hosts: %+v", hosts)
		}
		return nil
	})
}

func TestClustersByName(t *testing.T) {
	t.Parallel()
	// The last name has a character that means something in an expression.
	var clusters []cluster
	for _, name := range []string{"search", "search-service", "research", "pricing", "a.b", "axb"} {
		clusters = append(clusters, cluster{name: name, port: 1})
	}
	clusters = append(clusters, cluster{name: "renamed", altStatName: "other", port: 1})
	g := startGateway(t, clusters...)
	many := []string{"pricing", "search"}
	for i := range 500 {
		many = append(many, fmt.Sprintf("no-such-service-%d", i))
	}
	many = append(many, "renamed")
	for _, tt := range []struct {
		ask, want []string
	}{
		{[]string{"search"}, []string{"search"}},
		{[]string{"a.b"}, []string{"a.b"}},
		{[]string{"renamed", "other"}, []string{"renamed"}},
		{[]string{"nobody"}, nil},
		{[]string{")|(.*"}, nil},
		{many, []string{"pricing", "renamed", "search"}},
		{nil, []string{"a.b", "axb", "pricing", "renamed", "research", "search", "search-service"}},
	} {
		got, err := g.Admin().Clusters(t.Context(), tt.ask...)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range got.GetClusterStatuses() {
			names = append(names, s.GetName())
		}
		slices.Sort(names)
		if diff := cmp.Diff(tt.want, names); diff != "" {
			t.Errorf("Clusters(%d names, %.3q…): -want +got:\n%s", len(tt.ask), tt.ask, diff)
		}
	}
}

func TestOverloaded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		cluster cluster
		// parallel requests hang at the upstream, or wait for a connection.
		parallel int
		want     bool
	}{
		{"below the limit", cluster{maxRequests: 3}, 2, false},
		{"requests at the limit", cluster{maxRequests: 2}, 2, true},
		{"requests wait for a connection", cluster{maxConnections: 1}, 2, true},
		{"the only connection is busy", cluster{maxConnections: 1}, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := envoytest.NewUpstream(t)
			u.Behave(envoytest.Behaviour{Hang: true})
			tt.cluster.name, tt.cluster.port = "a", u.Port()
			tt.cluster.timeout = "60s"
			g := startGateway(t, tt.cluster)
			hold(t, g, tt.parallel)
			if got := envoy.Overloaded(g.status(t, "a")); got != tt.want {
				t.Errorf("Overloaded() = %v, want %v\n%v", got, tt.want, g.status(t, "a"))
			}
		})
	}
}

// What a reader of HostState has to subtract, and what not.
func TestOverflowsInHostStates(t *testing.T) {
	t.Parallel()
	const refused = 5
	for _, tt := range []struct {
		name    string
		cluster cluster
		// parallel requests fill the limit.
		parallel int
		counter  string
		errors   uint64
	}{
		{"requests", cluster{maxRequests: 1}, 1, "upstream_rq_active_overflow", refused},
		{"pending requests", cluster{maxConnections: 1, maxPending: 1}, 2, "upstream_rq_pending_overflow", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := envoytest.NewUpstream(t)
			u.Behave(envoytest.Behaviour{Hang: true})
			tt.cluster.name, tt.cluster.port = "a", u.Port()
			tt.cluster.timeout = "60s"
			g := startGateway(t, tt.cluster)
			hold(t, g, tt.parallel)
			for range refused {
				if status, err := g.get(t.Context(), "/a"); err != nil || status != http.StatusServiceUnavailable {
					t.Fatalf("a request over the limit: %d %v, want 503", status, err)
				}
			}
			stats, err := g.Admin().Stats(t.Context(), envoy.StatsQuery{Filter: "overflow$", UsedOnly: true, Type: envoy.Counters})
			if err != nil {
				t.Fatal(err)
			}
			if got := stats["cluster.a."+tt.counter]; got != refused {
				t.Errorf("%s = %d, want %d: %v", tt.counter, got, refused, stats)
			}
			if got := envoy.HostStates(g.status(t, "a"))[0]; got.Errors != tt.errors || got.Requests != tt.errors {
				t.Errorf("%+v, want %d errors", got, tt.errors)
			}
		})
	}
}
