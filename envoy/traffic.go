package envoy

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Traffic is what one Envoy has counted of the requests to one service since it has been counting. A gateway's listener
// that is replaced counts anew.
type Traffic struct {
	// Requests by their outcome: there is a count for each of Outcomes.
	Requests map[string]uint64
	// Retries are the attempts beyond the first of each request.
	Retries uint64
	// Latency in ascending order of the bound, as of Envoy's last flush: each 5 s unless its bootstrap says otherwise.
	// Empty before the first request.
	Latency []LatencyBucket
}

// LatencyBucket counts the requests that took at most so long.
type LatencyBucket struct {
	// Upper is zero for all requests, however long they took.
	Upper time.Duration
	// Count has those of the lower buckets in it.
	Count uint64
}

// Traffic returns what was counted of the requests to a service, whose name must have no dot. It reads what Prometheus
// does, the series of that service alone: in no other format does Envoy say how many values are above the last bound.
func (a *Admin) Traffic(ctx context.Context, service string) (Traffic, error) {
	const path = "/stats/prometheus"
	body, err := a.call(ctx, http.MethodGet, path, url.Values{
		"usedonly": {""},
		"filter": {fmt.Sprintf(`^%s\.(%s|%s|%s)\.service\.%s(\.|$)`,
			MetricsPrefix, StatRequests, StatRetries, StatDuration, regexp.QuoteMeta(service))},
	})
	if err != nil {
		return Traffic{}, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return Traffic{}, a.notEnvoy(path)
	}
	series := func(stat string) []*dto.Metric {
		return slices.DeleteFunc(families["envoy_"+MetricsPrefix+"_"+stat].GetMetric(), func(m *dto.Metric) bool {
			return label(m, "service") != service
		})
	}
	t := Traffic{Requests: make(map[string]uint64, len(Outcomes))}
	for _, o := range Outcomes {
		t.Requests[o] = 0
	}
	for _, m := range series(StatRequests) {
		t.Requests[label(m, "status")] += uint64(m.GetCounter().GetValue())
	}
	for _, m := range series(StatRetries) {
		t.Retries += uint64(m.GetCounter().GetValue())
	}
	t.Latency = latency(series(StatDuration))
	return t, nil
}

// latency adds the histograms of all methods up.
func latency(histograms []*dto.Metric) []LatencyBucket {
	counts := map[float64]uint64{}
	for _, m := range histograms {
		for _, b := range m.GetHistogram().GetBucket() {
			counts[b.GetUpperBound()] += b.GetCumulativeCount()
		}
	}
	var out []LatencyBucket
	all := math.Inf(1)
	for seconds, n := range counts {
		if seconds != all {
			out = append(out, LatencyBucket{time.Duration(seconds * float64(time.Second)), n})
		}
	}
	slices.SortFunc(out, func(a, b LatencyBucket) int { return cmp.Compare(a.Upper, b.Upper) })
	if n, ok := counts[all]; ok {
		out = append(out, LatencyBucket{Count: n})
	}
	return out
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
