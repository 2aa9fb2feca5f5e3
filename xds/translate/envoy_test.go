package translate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/xds/translate"
)

// testLayer is a runtime layer above the limits, where a test plays the breaker.
const testLayer = "test"

// gateway is a real Envoy that is served what the package translates.
type gateway struct {
	t      *testing.T
	gw     *policy.Gateway
	url    string // of the listener
	admin  string // URL of the admin API
	caches map[string]*cachev3.LinearCache
	nacks  chan string
}

// startGateway runs an Envoy that serves the services, until the test ends.
func startGateway(t *testing.T, gw *policy.Gateway, services ...*policy.Service) *gateway {
	t.Helper()
	g := &gateway{t: t, gw: gw, caches: map[string]*cachev3.LinearCache{}, nacks: make(chan string, 100)}
	xds := g.serveXDS()
	g.setRuntime(nil)
	g.set(services...)

	process := envoytest.StartWith(t, bootstrap(t, xds), envoytest.Options{
		Concurrency: 1, LogLevel: "warning", Args: []string{"--file-flush-interval-msec", "20"},
	})
	g.admin = "http://" + process.AdminAddr
	g.waitFor("a listener", func() error {
		body, err := g.ask("/listeners?format=json")
		if err != nil {
			return err
		}
		listeners := &adminv3.Listeners{}
		if err := protojson.Unmarshal(body, listeners); err != nil {
			return err
		}
		if all := listeners.GetListenerStatuses(); len(all) > 0 {
			a := all[0].GetLocalAddress().GetSocketAddress()
			address := net.JoinHostPort(a.GetAddress(), strconv.Itoa(int(a.GetPortValue())))
			g.url = "http://" + address
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			return conn.Close()
		}
		return errors.New("none yet")
	})
	return g
}

// serveXDS serves the caches on a free port and returns its address.
func (g *gateway) serveXDS() net.Addr {
	mux := &cachev3.MuxCache{Caches: map[string]cachev3.Cache{}}
	mux.Classify = func(r *cachev3.Request) string { return r.GetTypeUrl() }
	mux.ClassifyDelta = func(r *cachev3.DeltaRequest) string { return r.GetTypeUrl() }
	for _, url := range []string{
		resourcev3.ClusterType, resourcev3.EndpointType, resourcev3.ListenerType,
		resourcev3.RouteType, resourcev3.RuntimeType,
	} {
		g.caches[url] = cachev3.NewLinearCache(url)
		mux.Caches[url] = g.caches[url]
	}
	callbacks := serverv3.CallbackFuncs{StreamDeltaRequestFunc: func(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
		if d := r.GetErrorDetail(); d != nil {
			select {
			case g.nacks <- d.GetMessage():
			default:
			}
		}
		return nil
	}}
	ctx, cancel := context.WithCancel(context.Background())
	g.t.Cleanup(cancel)
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, serverv3.NewServer(ctx, mux, callbacks))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	go server.Serve(l)
	g.t.Cleanup(server.Stop)
	return l.Addr()
}

// set publishes the services in place of those before.
func (g *gateway) set(services ...*policy.Service) {
	g.t.Helper()
	g.publish(unitsOf(g.t, services...))
}

// publish sends the units in place of those before.
func (g *gateway) publish(units []*translate.Unit) {
	g.t.Helper()
	clusters, endpoints := map[string]types.Resource{}, map[string]types.Resource{}
	for _, u := range units {
		clusters[u.Cluster.GetName()] = u.Cluster
		if u.Endpoints != nil {
			endpoints[u.Endpoints.GetClusterName()] = u.Endpoints
		}
	}
	own, err := translate.GatewayClusters(g.gw)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, c := range own {
		clusters[c.GetName()] = c
	}
	listeners, err := translate.Listeners(g.gw)
	if err != nil {
		g.t.Fatal(err)
	}
	g.caches[resourcev3.EndpointType].SetResources(endpoints)
	g.caches[resourcev3.ClusterType].SetResources(clusters)
	g.caches[resourcev3.RouteType].SetResources(map[string]types.Resource{
		envoy.GatewayName: translate.RouteTable(units, g.gw),
	})
	g.caches[resourcev3.ListenerType].SetResources(map[string]types.Resource{envoy.GatewayName: listeners[0]})
	g.update(resourcev3.RuntimeType, envoy.LimitsLayer, translate.Limits(units))
}

// setRuntime replaces the test's runtime layer.
func (g *gateway) setRuntime(keys map[string]any) {
	g.t.Helper()
	layer, err := structpb.NewStruct(keys)
	if err != nil {
		g.t.Fatal(err)
	}
	g.update(resourcev3.RuntimeType, testLayer, &runtimev3.Runtime{Name: testLayer, Layer: layer})
	if g.admin == "" {
		return
	}
	g.waitFor(fmt.Sprintf("runtime %v", keys), func() error {
		got := g.runtime()
		for k, v := range keys {
			if got[k] != fmt.Sprint(v) {
				return fmt.Errorf("%s is %q", k, got[k])
			}
		}
		for k := range got {
			if _, ok := keys[k]; !ok {
				return fmt.Errorf("%s is still set", k)
			}
		}
		return nil
	})
}

// runtime is what Envoy has in the test's layer.
func (g *gateway) runtime() map[string]string {
	return g.layer(testLayer)
}

// layer is what Envoy has in one runtime layer.
func (g *gateway) layer(name string) map[string]string {
	g.t.Helper()
	body, err := g.ask("/runtime")
	if err != nil {
		g.t.Fatal(err)
	}
	var answer struct {
		Layers  []string `json:"layers"`
		Entries map[string]struct {
			Values []string `json:"layer_values"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		g.t.Fatal(err)
	}
	got := map[string]string{}
	for i, layer := range answer.Layers {
		for key, e := range answer.Entries {
			if layer == name && e.Values[i] != "" {
				got[key] = e.Values[i]
			}
		}
	}
	return got
}

func (g *gateway) update(typeURL, name string, r types.Resource) {
	g.t.Helper()
	if err := g.caches[typeURL].UpdateResource(name, r); err != nil {
		g.t.Fatal(err)
	}
}

// ask reads one page of the admin API.
func (g *gateway) ask(path string) ([]byte, error) {
	resp, err := client.Get(g.admin + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

// clusterStat reads one counter or gauge of a cluster's.
func (g *gateway) clusterStat(cluster, name string) string {
	g.t.Helper()
	return g.stat("cluster." + cluster + "." + name)
}

// stat reads one counter or gauge.
func (g *gateway) stat(name string) string {
	g.t.Helper()
	body, err := g.ask("/stats?filter=^" + strings.ReplaceAll(name, ".", `\.`) + "$")
	if err != nil {
		g.t.Fatal(err)
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(body)), ": ")
	return value
}

// waitFor tries until the condition holds, and fails with its last error after 10 s.
func (g *gateway) waitFor(what string, holds func() error) {
	g.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("waiting for %s: %v", what, err)
		}
		select {
		case nack := <-g.nacks:
			g.t.Fatalf("waiting for %s: envoy rejected: %s", what, nack)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func bootstrap(t *testing.T, xds net.Addr) *bootstrapv3.Bootstrap {
	t.Helper()
	host, port, err := net.SplitHostPort(xds.String())
	if err != nil {
		t.Fatal(err)
	}
	layer := func(name string) string {
		return fmt.Sprintf(`{"name": %q, "rtds_layer": {"name": %q,
			"rtds_config": {"resource_api_version": "V3", "ads": {}}}}`, name, name)
	}
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, `{
		"node": {"id": "test", "cluster": "test"},
		"dynamic_resources": {
			"ads_config": {"api_type": "DELTA_GRPC", "transport_api_version": "V3",
				"grpc_services": [{"envoy_grpc": {"cluster_name": %q}}]},
			"cds_config": {"resource_api_version": "V3", "ads": {}},
			"lds_config": {"resource_api_version": "V3", "ads": {}}
		},
		"layered_runtime": {"layers": [%s, %s]},
		"static_resources": {"clusters": [{
			"name": %q, "type": "STATIC", "connect_timeout": "1s",
			"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
				"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": {"http2_protocol_options": {}}}},
			"load_assignment": {"cluster_name": %q, "endpoints": [{"lb_endpoints": [{"endpoint": {
				"address": {"socket_address": {"address": %q, "port_value": %s}}}}]}]}
		}]}
	}`, envoy.XDSCluster, layer(envoy.LimitsLayer), layer(testLayer), envoy.XDSCluster, envoy.XDSCluster, host, port), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func unitsOf(t testing.TB, services ...*policy.Service) []*translate.Unit {
	t.Helper()
	var units []*translate.Unit
	for _, s := range services {
		u, err := translate.Service(s, translate.Generation{})
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, u)
	}
	return units
}
