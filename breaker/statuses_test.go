package breaker

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// What is no error by the policy opens nothing in the first report either.
func TestFirstReportIsCorrected(t *testing.T) {
	f := start(t, []*policy.Service{layer2Service(func(s *policy.Service) {
		s.Breaker.Errors = []policy.StatusRange{{From: 503, To: 503}}
	})}, "p1")
	e := f.envoys["p1"]
	e.mu.Lock()
	e.counters = map[string]int{"cluster.svc.upstream_rq_500": 4}
	e.mu.Unlock()
	f.report(t, attempts(0, 4))
	f.look(t, "svc", Closed)
	f.report(t, attempts(0, 3)) // Envoy's counter says that these were no 500s
	f.untilState(t, Open)
}

func TestTakeMost(t *testing.T) {
	of := func(h *xds.HostLoad) *uint64 { return &h.Errors }
	most := func(hosts []xds.HostLoad) *uint64 {
		best := of(&hosts[0])
		for i := range hosts {
			if n := of(&hosts[i]); *n > *best {
				best = n
			}
		}
		return best
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		hosts, total := make([]xds.HostLoad, 1+r.IntN(5)), uint64(0)
		for i := range hosts {
			hosts[i].Errors = r.Uint64N(8)
			total += hosts[i].Errors
		}
		before, want := slices.Clone(hosts), slices.Clone(hosts)
		n := r.Uint64N(total + 1)
		for range n {
			*most(want)--
		}
		taken := takeMost(hosts, n, of)
		sum := uint64(0)
		for i := range hosts {
			sum += taken[i]
			if hosts[i].Errors+taken[i] != before[i].Errors {
				t.Fatalf("%+v - %v = %+v", before, taken, hosts)
			}
		}
		level := func(a, b xds.HostLoad) int { return int(a.Errors) - int(b.Errors) }
		if slices.SortFunc(hosts, level); sum != n || !slices.Equal(hosts, slices.SortedFunc(slices.Values(want), level)) {
			t.Fatalf("%d of %+v: %+v, want %+v", n, before, hosts, want)
		}
	}
	huge := []xds.HostLoad{{Errors: math.MaxUint64 / 2}, {Errors: math.MaxUint64 / 2}}
	if takeMost(huge, math.MaxUint64-1, of); huge[0].Errors+huge[1].Errors != 0 {
		t.Errorf("%+v are left", huge)
	}
}
