package breaker

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	loadstatsv3 "github.com/envoyproxy/go-control-plane/envoy/service/load_stats/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// noon begins a bucket.
var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func load(name string, successes, failures, dropped uint64) xds.ServiceLoad {
	return xds.ServiceLoad{Service: name, Dropped: dropped, Hosts: []xds.HostLoad{
		{Address: "127.0.0.1:8001", Successes: successes}, {Address: "127.0.0.1:8002", Errors: failures},
	}}
}

// brief is a history from the first bucket of which something is known: per bucket how many proxies, and then per service
// attempts/failures/refused; "-" for a bucket of which nothing is known.
func brief(h History) []string {
	var out []string
	for i, proxies := range h.Proxies {
		if proxies == 0 {
			if len(out) > 0 {
				out = append(out, "-")
			}
			continue
		}
		s := fmt.Sprintf("%d:", proxies)
		for _, svc := range h.Services {
			of := func(column []uint32) uint32 {
				if column == nil {
					return 0
				}
				return column[i]
			}
			s += fmt.Sprintf(" %s %d/%d/%d", svc.Service, of(svc.Attempts), of(svc.Failures), of(svc.Refused))
		}
		out = append(out, s)
	}
	return out
}

func TestHistory(t *testing.T) {
	set := &policy.Set{Services: []*policy.Service{service("a"), service("b")}}
	type report struct {
		at    time.Duration // after noon
		proxy string
		loads []xds.ServiceLoad
	}
	for _, tt := range []struct {
		name    string
		reports []report
		read    time.Duration
		filter  HistoryFilter
		want    []string
	}{
		{name: "nothing was reported", read: time.Hour},
		{
			name: "proxies that report at different times are added up",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", 3, 1, 0)}},
				{3 * time.Second, "p2", []xds.ServiceLoad{load("a", 5, 0, 0), load("b", 0, 1, 2)}},
				{9 * time.Second, "p1", []xds.ServiceLoad{load("a", 0, 2, 0)}},
				{12 * time.Second, "p2", []xds.ServiceLoad{load("a", 1, 0, 0)}},
				{19 * time.Second, "p1", nil},
			},
			read: 20 * time.Second,
			want: []string{"2: a 11/3/0 b 1/1/2", "2: a 1/0/0 b 0/0/0", "-"},
		},
		{
			name: "no report is a gap, a report without attempts is none",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}},
				{10 * time.Second, "p1", nil},
				{35 * time.Second, "p1", []xds.ServiceLoad{load("a", 1, 0, 0)}},
			},
			read: 35 * time.Second,
			want: []string{"1: a 3/0/0", "1: a 0/0/0", "-", "1: a 1/0/0"},
		},
		{
			name: "what is older than the history has left it",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", 3, 0, 0), load("b", 1, 0, 0)}},
				{10 * time.Second, "p1", []xds.ServiceLoad{load("a", 4, 0, 0)}},
				{historyBuckets * historyStep, "p1", []xds.ServiceLoad{load("a", 5, 0, 0)}},
			},
			read: historyBuckets * historyStep,
			want: append(append([]string{"1: a 4/0/0"}, gaps(historyBuckets-2)...), "1: a 5/0/0"),
		},
		{
			name:    "a pause longer than the history leaves nothing",
			reports: []report{{0, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}}, {time.Hour, "p1", nil}},
			read:    time.Hour,
			want:    []string{"1:"},
		},
		{
			name: "a clock that goes back a little counts where it was",
			reports: []report{
				{0, "p1", nil},
				{11 * time.Second, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}},
				{8 * time.Second, "p1", []xds.ServiceLoad{load("a", 1, 1, 0)}},
			},
			read: 9 * time.Second,
			want: []string{"1: a 0/0/0", "1: a 5/1/0"},
		},
		{
			name: "a clock that is set back makes it begin anew",
			reports: []report{
				{time.Hour, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}}, {time.Second, "p1", []xds.ServiceLoad{load("a", 1, 0, 0)}},
			},
			read: 11 * time.Second,
			want: []string{"1: a 1/0/0", "-"},
		},
		{
			name:    "one that asks with the clock set back is told nothing of a time to come",
			reports: []report{{time.Hour, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}}},
			read:    time.Second,
		},
		{
			name: "services that nobody serves are not remembered, nor told when others are asked for",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", 3, 0, 0), load("b", 1, 0, 0), load("breakwater_xds", 9, 0, 0)}},
			},
			filter: HistoryFilter{Services: []string{"b", "c", "b", "breakwater_xds"}},
			want:   []string{"1: b 1/0/0"},
		},
		{
			name: "only what is new",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}}, {10 * time.Second, "p1", []xds.ServiceLoad{load("b", 4, 0, 0)}}, {20 * time.Second, "p1", nil},
			},
			read:   20 * time.Second,
			filter: HistoryFilter{From: noon.Add(19 * time.Second)},
			want:   []string{"1: b 4/0/0", "1: b 0/0/0"},
		},
		{
			name: "counts are bounded",
			reports: []report{
				{0, "p1", []xds.ServiceLoad{load("a", math.MaxUint64, 1, 0)}}, {1, "p1", []xds.ServiceLoad{load("a", 1, 0, math.MaxUint64)}},
			},
			want: []string{fmt.Sprintf("1: a %d/1/%[1]d", uint32(math.MaxUint32))},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHistory()
			for _, r := range tt.reports {
				h.report(noon.Add(r.at), r.proxy, r.loads, set)
			}
			got := h.read(noon.Add(tt.read), tt.filter)
			if diff := cmp.Diff(tt.want, brief(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if end := got.Start.Add(time.Duration(len(got.Proxies)) * got.Step); end.Before(got.End) || len(got.Proxies) > historyBuckets {
				t.Errorf("%d buckets from %s do not end with %s", len(got.Proxies), got.Start, got.End)
			}
		})
	}
}

func gaps(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "-"
	}
	return out
}

// A service that goes is forgotten, and since says when the reports began.
func TestHistoryForgets(t *testing.T) {
	h := newHistory()
	h.report(noon.Add(4*time.Second), "p1", []xds.ServiceLoad{load("a", 1, 0, 0), load("b", 1, 0, 0)}, &policy.Set{Services: []*policy.Service{service("a"), service("b")}})
	h.keep(&policy.Set{Services: []*policy.Service{service("b")}})
	got := h.read(noon.Add(5*time.Second), HistoryFilter{})
	if diff := cmp.Diff([]string{"1: b 1/0/0"}, brief(got)); diff != "" || !got.Since.Equal(noon.Add(4*time.Second)) {
		t.Errorf("since %s (-want +got):\n%s", got.Since, diff)
	}
	h.report(noon.Add(time.Hour), "p2", nil, nil)
	if len(h.services) != 0 || len(h.reporters) != 1 {
		t.Errorf("after an hour %d services and %d proxies are remembered", len(h.services), len(h.reporters))
	}
}

// What a board is told by reports is in its history, as it is corrected: overflows are no attempts.
func TestBoardHistory(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	f.report(t, xds.LoadReport{Proxy: "p1"})
	e := f.envoys["p1"]
	e.mu.Lock()
	e.counters = map[string]int{"cluster.svc.upstream_rq_active_overflow": 1}
	e.mu.Unlock()
	r := attempts(2, 3)
	r.Services[0].Dropped = 1
	f.report(t, r)
	h := f.History(HistoryFilter{Services: []string{"svc"}})
	var all, failed, refused uint32
	for _, s := range h.Services {
		for i := range s.Attempts {
			all, failed, refused = all+s.Attempts[i], failed+s.Failures[i], refused+s.Refused[i]
		}
	}
	if all != 4 || failed != 2 || refused != 1 || h.Since.IsZero() {
		t.Errorf("%d attempts, %d failed, %d refused: %+v", all, failed, refused, h)
	}
}

// A service that goes while a report of it is asked about is forgotten for good.
func TestBoardHistoryOfAServiceThatGoesMeanwhile(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service()}, "p1")
	hung := f.envoys["p1"].hangUp(t)
	r := attempts(0, 1)
	r.Services[0].Dropped = 1 // this is asked about, and not answered
	f.Report(r)
	<-hung
	f.control.serve(service("other"))
	f.Served()
	until(t, "it is reported", func() string {
		if f.History(HistoryFilter{}).Since.IsZero() {
			return "nothing is in the history"
		}
		return ""
	})
	if h := f.History(HistoryFilter{}); len(h.Services) != 0 {
		t.Errorf("remembered are %+v", h.Services)
	}
}

// The memory that 5,000 services with traffic take does not depend on the number of proxies, and idle ones take none.
func TestHistoryMemory(t *testing.T) {
	const services, proxies = 5000, 1000
	set, busy, idle := crowd(services)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := newHistory()
	for i := range proxies {
		h.report(noon, fmt.Sprintf("p%d", i), idle, set)
	}
	if len(h.services) != 0 {
		t.Errorf("%d services without traffic are remembered", len(h.services))
	}
	for i := range proxies {
		h.report(noon.Add(time.Duration(i)*time.Second), fmt.Sprintf("p%d", i), busy, set)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / services
	runtime.KeepAlive([]any{h, set, busy, idle})
	t.Logf("%.0f bytes for each service", per)
	if per > 1400 {
		t.Errorf("a service takes %.0f bytes", per)
	}
}

// One who names a service again and again can not have Breakwater take more memory than the question does.
func TestHistoryOfOneServiceNamedOften(t *testing.T) {
	h := newHistory()
	h.report(noon, "p1", []xds.ServiceLoad{load("a", 3, 0, 0)}, &policy.Set{Services: []*policy.Service{service("a")}})
	often := slices.Repeat([]string{"a"}, 100_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := h.read(noon, HistoryFilter{Services: often})
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("%d bytes were taken to read one service", taken)
	}
	if diff := cmp.Diff([]string{"1: a 3/0/0"}, brief(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// crowd is a set of services, and a load report of all of them with traffic at two hosts and without any.
func crowd(n int) (set *policy.Set, busy, idle []xds.ServiceLoad) {
	set = &policy.Set{}
	for i := range n {
		svc := layer2Service()
		svc.Name = fmt.Sprintf("svc-%04d", i)
		set.Services = append(set.Services, svc)
		busy = append(busy, load(svc.Name, 10, 0, 0))
		idle = append(idle, xds.ServiceLoad{Service: svc.Name})
	}
	return set, busy, idle
}

// BenchmarkHistory is what remembering a load report of 5,000 services with traffic costs, against all that is done with the
// report: it is read, the breakers judge it, and it is remembered.
func BenchmarkHistory(b *testing.B) {
	set, busy, _ := crowd(5000)
	control := &fakeControl{set: set, breakerLayers: map[string]told{}, operatorLayers: map[string]told{}}
	board := NewBoard(Options{Control: control, Proxies: &fakeProxies{}, Layers: control})
	w := newWatcher(board, xds.Proxy{ID: "p1", Since: time.Now()}, func() {})
	w.machines, w.acting = map[string]*Machine{}, map[string]bool{}
	sent := &loadstatsv3.LoadStatsRequest{}
	for _, l := range busy {
		hosts := &endpointv3.UpstreamLocalityStats{TotalSuccessfulRequests: 10, TotalIssuedRequests: 10}
		for range l.Hosts {
			hosts.UpstreamEndpointStats = append(hosts.UpstreamEndpointStats, &endpointv3.UpstreamEndpointStats{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8001},
				}}},
				TotalSuccessfulRequests: 10, TotalIssuedRequests: 10,
			})
		}
		sent.ClusterStats = append(sent.ClusterStats, &endpointv3.ClusterStats{
			ClusterName: l.Service, UpstreamLocalityStats: []*endpointv3.UpstreamLocalityStats{hosts},
		})
	}
	wire, err := proto.Marshal(sent)
	if err != nil {
		b.Fatal(err)
	}
	h, at := newHistory(), noon
	var remembering, whole time.Duration
	for b.Loop() {
		began := time.Now()
		h.report(at, "p1", busy, set)
		remembered := time.Now()
		if err := proto.Unmarshal(wire, &loadstatsv3.LoadStatsRequest{}); err != nil {
			b.Fatal(err)
		}
		w.take(b.Context(), arrived{xds.LoadReport{Proxy: "p1", Services: busy}, remembered})
		remembering, whole = remembering+remembered.Sub(began), whole+time.Since(remembered)
		at = at.Add(time.Second) // as often as 5,000 services are reported
	}
	b.ReportMetric(float64(remembering.Nanoseconds())/float64(b.N)/float64(len(busy)), "ns/service")
	b.ReportMetric(remembering.Seconds()/whole.Seconds(), "history/report")
}
