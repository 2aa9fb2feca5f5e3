package envoy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Histogram is the distribution of the values that Envoy has recorded since it started, as of its last flush: each
// 5 s unless its bootstrap says otherwise. It has the bins that Envoy records in, those with a value in ascending
// order: two significant digits, whatever buckets the bootstrap sets for showing it.
type Histogram []Bin

// Bin counts values.
type Bin struct {
	// Lower is the least value of the bin, and Upper where the next one begins.
	Lower, Upper float64
	// Count is the number of values in this bin alone.
	Count uint64
}

// ClusterHistograms returns one histogram, such as "upstream_rq_time", of some clusters, by cluster. One that has
// recorded nothing is left out.
func (a *Admin) ClusterHistograms(ctx context.Context, clusters []string, stat string) (map[string]Histogram, error) {
	out := map[string]Histogram{}
	for _, filter := range clusterFilters(clusters, `cluster\.`, `\.`+regexp.QuoteMeta(stat)) {
		body, err := a.call(ctx, http.MethodGet, "/stats", url.Values{
			"format": {"json"}, "histogram_buckets": {"detailed"}, "type": {"Histograms"}, "usedonly": {""}, "filter": {filter},
		})
		if err != nil {
			return nil, err
		}
		var reply struct {
			Stats []struct {
				Histograms struct {
					Details []struct {
						Name   string `json:"name"`
						Totals []struct {
							LowerBound float64 `json:"lower_bound"`
							Width      float64 `json:"width"`
							Count      uint64  `json:"count"`
						} `json:"totals"`
					} `json:"details"`
				} `json:"histograms"`
			} `json:"stats"`
		}
		if err := json.Unmarshal(body, &reply); err != nil {
			return nil, a.notEnvoy("/stats")
		}
		for _, s := range reply.Stats {
			for _, h := range s.Histograms.Details {
				bins := make(Histogram, len(h.Totals))
				for i, b := range h.Totals {
					bins[i] = Bin{Lower: b.LowerBound, Upper: b.LowerBound + b.Width, Count: b.Count}
				}
				out[strings.TrimSuffix(strings.TrimPrefix(h.Name, "cluster."), "."+stat)] = bins
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
	before := make(map[float64]uint64, len(earlier))
	for _, b := range earlier {
		before[b.Lower] = b.Count
	}
	out := make(Histogram, 0, len(h))
	for _, b := range h {
		n := before[b.Lower]
		delete(before, b.Lower)
		if n > b.Count {
			return h
		}
		if b.Count -= n; b.Count > 0 {
			out = append(out, b)
		}
	}
	if len(before) > 0 {
		return h
	}
	return out
}

// Above returns how many values there are, and how many of them are above a bound. The values of the bin that the
// bound is in are taken to be spread evenly over it.
func (h Histogram) Above(bound float64) (all, above uint64) {
	for _, b := range h {
		all += b.Count
		switch {
		case b.Lower >= bound:
			above += b.Count
		case b.Upper > bound:
			above += uint64(float64(b.Count)*(b.Upper-bound)/(b.Upper-b.Lower) + 0.5)
		}
	}
	return all, above
}
