package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// benchServices is the number of services of the benchmarks.
const benchServices = 1000

// benchEdited is the service that they edit.
const benchEdited = benchServices / 2

// benchPolicy is one of the services. The timeout of a request belongs to its routes, that of a connection to
// its cluster.
func benchPolicy(i int, upstream *envoytest.Upstream, request, connect time.Duration) string {
	return fmt.Sprintf(`service: svc-%d
upstream: http://%s
routes: [{prefix: /svc-%d}]
timeout: {request: %s, connect: %s}
`, i, upstream.Addr(), i, request, connect)
}

// benchStack serves benchServices services, each in a file of its own.
func benchStack(b *testing.B) (*stack, *envoytest.Upstream) {
	b.Helper()
	upstream := envoytest.NewUpstream(b)
	files := map[string]string{"gateway.yaml": "access_log: off\n"}
	for i := range benchServices {
		files[fmt.Sprintf("svc-%d.yaml", i)] = benchPolicy(i, upstream, 30*time.Second, 5*time.Second)
	}
	s := newStack(b, files)
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	b.Cleanup(s.client.CloseIdleConnections)
	return s, upstream
}

func (s *stack) saveEdited(upstream *envoytest.Upstream, request, connect time.Duration) {
	s.write(fmt.Sprintf("svc-%d.yaml", benchEdited), benchPolicy(benchEdited, upstream, request, connect))
}

// quantiles reports the median and the 95th percentile of the edits.
func quantiles(b *testing.B, edits []time.Duration) {
	b.Helper()
	slices.Sort(edits)
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	b.ReportMetric(ms(edits[len(edits)/2]), "ms-median/edit")
	b.ReportMetric(ms(edits[len(edits)*95/100]), "ms-p95/edit")
}

// BenchmarkRouteEdit is the time from the save of one of 1,000 services' request timeout until a request that
// goes through Envoy carries it to the service.
func BenchmarkRouteEdit(b *testing.B) {
	s, upstream := benchStack(b)
	path := fmt.Sprintf("/svc-%d", benchEdited)
	modified, received := s.modified(), s.xdsBytes()
	var edits []time.Duration
	seconds := 31
	for b.Loop() {
		seconds++
		start := time.Now()
		s.saveEdited(upstream, time.Duration(seconds)*time.Second, 5*time.Second)
		want := strconv.Itoa(seconds * 1000)
		deadline := start.Add(10 * time.Second)
		for {
			if r := s.get(path); r.status != http.StatusOK {
				b.Fatalf("%d: %s", r.status, r.body)
			}
			if upstream.Last().Header.Get("X-Envoy-Expected-Rq-Timeout-Ms") == want {
				break
			}
			if time.Now().After(deadline) {
				b.Fatal("the edit has no effect within 10 s")
			}
		}
		edits = append(edits, time.Since(start))
	}
	quantiles(b, edits)
	b.ReportMetric(float64(s.xdsBytes()-received)/float64(len(edits)), "bytes/edit")
	if n := s.modified() - modified; n != 0 {
		b.Errorf("%d clusters were modified by edits of a route", n)
	}
}

// BenchmarkClusterEdit is the time from the save of one of 1,000 services' connect timeout until Envoy has replaced that
// cluster, and no other.
func BenchmarkClusterEdit(b *testing.B) {
	s, upstream := benchStack(b)
	before, received := s.modified(), s.xdsBytes()
	var edits []time.Duration
	for b.Loop() {
		start := time.Now()
		connect := 5*time.Second + time.Duration(len(edits)+1)*time.Millisecond
		s.saveEdited(upstream, 30*time.Second, connect)
		want := before + uint64(len(edits)) + 1
		deadline := start.Add(10 * time.Second)
		for s.modified() < want {
			if time.Now().After(deadline) {
				b.Fatal("the edit has no effect within 10 s")
			}
		}
		edits = append(edits, time.Since(start))
	}
	quantiles(b, edits)
	if n := s.modified() - before; n != uint64(len(edits)) {
		b.Errorf("%d clusters were modified by %d edits of one", n, len(edits))
	}
	perEdit := float64(s.xdsBytes()-received) / float64(len(edits))
	b.ReportMetric(perEdit, "bytes/edit")
	// A count of bytes, unlike a time, can be asserted.
	if perEdit > 4096 {
		b.Errorf("%.0f bytes an edit reached Envoy, want at most 4096", perEdit)
	}
}

// xdsBytes is what Envoy has received from the control plane, in bytes, HTTP/2 frames included.
func (s *stack) xdsBytes() uint64 {
	s.t.Helper()
	return s.stat(s.envoy, "cluster.breakwater_xds.upstream_cx_rx_bytes_total")
}
