package e2e

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

// BenchmarkPlan is the time of a whole plan over HTTP among 1,000 services with an Envoy: of the directory as it is, of one
// service's edit, and of an edit of what all share.
func BenchmarkPlan(b *testing.B) {
	s, upstream := benchStack(b)
	p := &planner{stack: s}
	live := p.files()
	for _, bench := range []struct {
		name     string
		edit     map[string]string
		services int
	}{
		{"nothing", nil, 0},
		{"routes of one", map[string]string{fmt.Sprintf("svc-%d.yaml", benchEdited): benchPolicy(benchEdited, upstream, 31*time.Second, 5*time.Second)}, 1},
		{"cluster of one", map[string]string{fmt.Sprintf("svc-%d.yaml", benchEdited): benchPolicy(benchEdited, upstream, 30*time.Second, 4*time.Second)}, 1},
		{"clusters and routes of all", map[string]string{"defaults.yaml": "breaker: {timeout: 20s}\n"}, benchServices},
	} {
		b.Run(bench.name, func(b *testing.B) {
			files := maps.Clone(live)
			maps.Copy(files, bench.edit)
			for b.Loop() {
				if got := p.planAll(files); !got.OK || len(got.Services) != bench.services {
					b.Fatalf("ok %v, %d services change, want %d", got.OK, len(got.Services), bench.services)
				}
			}
		})
	}
}
