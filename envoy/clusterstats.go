package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Histogram is the distribution of the values that Envoy has recorded since it started, as of its last flush: each
// 5 s unless its bootstrap says otherwise.
type Histogram []Bucket

// Bucket counts values.
type Bucket struct {
	// UpperBound is the greatest value of the bucket, which begins where the one before ends: at 0 for the first.
	UpperBound float64
	// Count is the number of values in this bucket alone.
	Count uint64
}

// ClusterHistograms returns one histogram, such as "upstream_rq_time", of some clusters, by cluster. One that has
// recorded nothing is left out.
func (a *Admin) ClusterHistograms(ctx context.Context, clusters []string, stat string) (map[string]Histogram, error) {
	out := map[string]Histogram{}
	for _, filter := range clusterFilters(clusters, `cluster\.`, `\.`+regexp.QuoteMeta(stat)) {
		body, err := a.call(ctx, http.MethodGet, "/stats", url.Values{
			"format": {"json"}, "histogram_buckets": {"disjoint"}, "type": {"Histograms"}, "usedonly": {""}, "filter": {filter},
		})
		if err != nil {
			return nil, err
		}
		var reply struct {
			Stats []struct {
				Histograms []struct {
					Name    string `json:"name"`
					Buckets []struct {
						UpperBound float64 `json:"upper_bound"`
						// Envoy calls what was recorded since its start cumulative.
						Cumulative uint64 `json:"cumulative"`
					} `json:"buckets"`
				} `json:"histograms"`
			} `json:"stats"`
		}
		if err := json.Unmarshal(body, &reply); err != nil {
			return nil, fmt.Errorf("envoy admin %s: GET /stats: %w", a.addr, err)
		}
		for _, s := range reply.Stats {
			for _, h := range s.Histograms {
				buckets := make(Histogram, len(h.Buckets))
				for i, b := range h.Buckets {
					buckets[i] = Bucket{UpperBound: b.UpperBound, Count: b.Cumulative}
				}
				out[strings.TrimSuffix(strings.TrimPrefix(h.Name, "cluster."), "."+stat)] = buckets
			}
		}
	}
	return out, nil
}

// ClusterCounters returns the counters of some clusters whose names match stat, an RE2 expression for what stands after
// "cluster.NAME.", by cluster and that. The clusters' names must have no dot. A cluster that Envoy does not have is left
// out.
func (a *Admin) ClusterCounters(ctx context.Context, clusters []string, stat string) (map[string]map[string]uint64, error) {
	out := make(map[string]map[string]uint64, len(clusters))
	for _, filter := range clusterFilters(clusters, `cluster\.`, `\.(`+stat+`)`) {
		stats, err := a.Stats(ctx, StatsQuery{Filter: filter, Type: Counters})
		if err != nil {
			return nil, err
		}
		for name, n := range stats {
			cluster, stat, _ := strings.Cut(strings.TrimPrefix(name, "cluster."), ".")
			if out[cluster] == nil {
				out[cluster] = map[string]uint64{}
			}
			out[cluster][stat] = n
		}
	}
	return out, nil
}

// Since is what was recorded since an earlier reading of the same histogram. If that has more, the histogram began
// anew in between, and all of it is since.
func (h Histogram) Since(earlier Histogram) Histogram {
	out := make(Histogram, len(h))
	for i, b := range h {
		if i < len(earlier) {
			if earlier[i].UpperBound != b.UpperBound || earlier[i].Count > b.Count {
				return h
			}
			b.Count -= earlier[i].Count
		}
		out[i] = b
	}
	return out
}

// Above returns how many values there are, and how many of them are above a bound. The values of the bucket that the
// bound is in are taken to be spread evenly over it.
func (h Histogram) Above(bound float64) (all, above uint64) {
	lower := 0.0
	for _, b := range h {
		all += b.Count
		switch {
		case lower >= bound:
			above += b.Count
		case b.UpperBound > bound:
			above += uint64(float64(b.Count)*(b.UpperBound-bound)/(b.UpperBound-lower) + 0.5)
		}
		lower = b.UpperBound
	}
	return all, above
}
