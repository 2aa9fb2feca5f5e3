package envoy_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"                     // in the listener
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3" // in the listener
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

// behaving is a cluster whose host behaves so or, if refused, is not there.
func behaving(t *testing.T, name string, b envoytest.Behaviour, refused bool) cluster {
	t.Helper()
	if refused {
		return cluster{name: name, port: envoytest.FreePort(t)}
	}
	u := envoytest.NewUpstream(t)
	u.Behave(b)
	return cluster{name: name, port: u.Port()}
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
