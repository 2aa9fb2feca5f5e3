package envoy_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"                     // in the listener
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3" // in the listener
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// gateway is an Envoy in front of static clusters, each at the path of its name.
type gateway struct {
	*envoytest.Process
	url    string
	client *http.Client
}

// cluster is one host of one cluster. Limits of 0 are Envoy's default.
type cluster struct {
	name                       string
	port                       uint16
	maxRequests, maxPending    int
	maxConnections, ejectAfter int
	altStatName                string
	// timeout of a request; empty means 0.5 s.
	timeout string
}

func startGateway(t *testing.T, clusters ...cluster) *gateway {
	t.Helper()
	port := envoytest.FreePort(t)
	resources, routes := "", ""
	for _, c := range clusters {
		orDefault := func(n int) int {
			if n == 0 {
				return 1024
			}
			return n
		}
		resources += fmt.Sprintf(`{
			"name": %q, "alt_stat_name": %q, "connect_timeout": "1s", "type": "STATIC",
			"load_assignment": {"cluster_name": %[1]q, "endpoints": [{"lb_endpoints": [{"endpoint": {
				"address": {"socket_address": {"address": "127.0.0.1", "port_value": %[3]d}}}}]}]},
			"circuit_breakers": {"thresholds": [{"max_requests": %[4]d, "max_pending_requests": %[5]d, "max_connections": %[6]d}]},
			"outlier_detection": {"consecutive_5xx": %[7]d, "max_ejection_percent": 100, "enforcing_consecutive_gateway_failure": 0,
				"enforcing_consecutive_5xx": 100},
			"common_lb_config": {"healthy_panic_threshold": {}, "update_merge_window": "0s"}},`,
			c.name, c.altStatName, c.port, orDefault(c.maxRequests), orDefault(c.maxPending), orDefault(c.maxConnections), orDefault(c.ejectAfter))
		routes += fmt.Sprintf(`{"match": {"prefix": "/%s"}, "route": {"cluster": %[1]q, "timeout": %q}},`, c.name, cmp.Or(c.timeout, "0.5s"))
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, `{
		"node": {"id": "gateway", "cluster": "test"},
		"static_resources": {
			"clusters": [%s],
			"listeners": [{"name": "gateway", "address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}},
				"filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
					"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
					"stat_prefix": "gateway",
					"route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [%s]}]},
					"http_filters": [{"name": "router", "typed_config": {
						"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}]}}`,
		trimComma(resources), port, trimComma(routes)), b); err != nil {
		t.Fatal(err)
	}
	// One worker: each may open a connection of its own, whatever the limit.
	p := envoytest.StartWith(t, b, envoytest.Options{Concurrency: 1})
	p.WaitReady(t, 10*time.Second)
	g := &gateway{Process: p, url: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

func trimComma(s string) string {
	if s == "" {
		return s
	}
	return s[:len(s)-1]
}

func (g *gateway) get(ctx context.Context, path string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	if strings.HasPrefix(path, "/grpc") {
		req.Header.Set("Content-Type", "application/grpc")
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

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
		u := envoytest.NewUpstream(t)
		u.Behave(k.behaviour)
		port := u.Port()
		if k.refused {
			port = envoytest.FreePort(t)
		}
		clusters = append(clusters, cluster{name: k.name, port: port})
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
			if diff := gocmp.Diff(want, envoy.HostStates(g.status(t, k.name))); diff != "" {
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
		if diff := gocmp.Diff(tt.want, names); diff != "" {
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

// hold sends n requests, one after the other, to the cluster a, and returns once the
// first is in flight and the others are too or wait there. They stay until the test ends.
func hold(t *testing.T, g *gateway, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var held sync.WaitGroup
	t.Cleanup(func() { cancel(); held.Wait() })
	for i := range n {
		held.Go(func() { _, _ = g.get(ctx, "/a") })
		envoytest.Eventually(t, 5*time.Second, "the request is at the cluster", func() error {
			stats, err := g.Admin().Stats(ctx, envoy.StatsQuery{Filter: "^cluster.a.upstream_rq_(pending_)?active$", Type: envoy.Gauges})
			if err != nil {
				return err
			}
			active, pending := stats["cluster.a.upstream_rq_active"], stats["cluster.a.upstream_rq_pending_active"]
			if active == 0 || active+pending != uint64(i+1) {
				return fmt.Errorf("%v", stats)
			}
			return nil
		})
	}
}

// status is the state of one cluster, which must be there.
func (g *gateway) status(t *testing.T, name string) *adminv3.ClusterStatus {
	t.Helper()
	got, err := g.Admin().Clusters(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.GetClusterStatuses()) != 1 {
		t.Fatalf("%d clusters are named %s", len(got.GetClusterStatuses()), name)
	}
	return got.GetClusterStatuses()[0]
}
