package translate_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/xds/translate"
)

// BenchmarkRequestMetrics is what counting requests costs: Envoy's CPU time for a request with the metrics of the
// listener and without them, and the one over the other. Both serve the same load in turns.
func BenchmarkRequestMetrics(b *testing.B) {
	upstream := envoytest.NewUpstream(b)
	s := service("svc", hostOf(b, upstream.Addr()))
	with, without := startMeasured(b, s, true), startMeasured(b, s, false)
	const turn = 2000
	var took [2]time.Duration
	requests := 0
	for b.Loop() {
		requests += turn
		for i, m := range []*measured{with, without} {
			took[i] += m.serve(b, turn)
		}
	}
	perRequest := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(requests) }
	b.ReportMetric(perRequest(took[0]), "cpu-µs-with/request")
	b.ReportMetric(perRequest(took[1]), "cpu-µs-without/request")
	b.ReportMetric(float64(took[0])/float64(took[1]), "ratio")
}

// measured is an Envoy whose CPU time is read.
type measured struct {
	url    string
	pid    int
	client *http.Client
}

// startMeasured starts an Envoy with one worker that serves what the service is translated to, without a control plane.
func startMeasured(b *testing.B, s *policy.Service, metrics bool) *measured {
	b.Helper()
	gw := testGateway()
	gw.Host, gw.Port = "127.0.0.1", envoytest.FreePort(b)
	units := unitsOf(b, s)
	listeners, err := translate.Listeners(gw)
	if err != nil {
		b.Fatal(err)
	}
	filter := listeners[0].GetFilterChains()[0].GetFilters()[0]
	manager := &hcmv3.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
		b.Fatal(err)
	}
	if !metrics {
		manager.AccessLog = nil
	}
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: translate.RouteTable(units, gw)}
	packed, err := anypb.New(manager)
	if err != nil {
		b.Fatal(err)
	}
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed}
	cluster := units[0].Cluster
	cluster.ClusterDiscoveryType, cluster.EdsClusterConfig = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}, nil
	cluster.LoadAssignment = units[0].Endpoints
	p := envoytest.StartWith(b, &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
		Listeners: listeners, Clusters: []*clusterv3.Cluster{cluster},
	}}, envoytest.Options{Concurrency: 1, LogLevel: "warning"})
	p.WaitReady(b, 10*time.Second)
	m := &measured{
		url: fmt.Sprintf("http://127.0.0.1:%d/svc", gw.Port), pid: p.Pid(),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}},
	}
	b.Cleanup(m.client.CloseIdleConnections)
	m.serve(b, 1000) // connections and caches
	return m
}

// serve sends requests, 8 at a time, and returns the CPU time that they took Envoy.
func (m *measured) serve(b *testing.B, requests int) time.Duration {
	b.Helper()
	before := cpuTime(b, m.pid)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range requests / 8 {
				resp, err := m.client.Get(m.url)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Errorf("%s", resp.Status)
				}
			}
		})
	}
	wg.Wait()
	return cpuTime(b, m.pid) - before
}

// cpuTime is the time that a process has spent on a CPU. Linux counts it for each process in ns.
func cpuTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	var sum time.Duration
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		if err != nil {
			b.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
