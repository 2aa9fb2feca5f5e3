package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// series are the values of a scrape by name and labels, as the Prometheus format has them.
type series map[string]float64

// parseSeries reads a page of the Prometheus text format.
func parseSeries(t testing.TB, page string) series {
	t.Helper()
	out := series{}
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if _, twice := out[line[:i]]; twice {
			t.Errorf("%s is there twice", line[:i])
		}
		out[line[:i]] = v
	}
	return out
}

// gatewaySeries are those that an Envoy counts of the services' requests, without envoy_, as Prometheus has them.
func (s *stack) gatewaySeries(e *envoytest.Process) series {
	s.t.Helper()
	page, err := s.fetch("http://" + e.AdminAddr + "/stats/prometheus?usedonly")
	if err != nil {
		s.t.Fatal(err)
	}
	out := series{}
	for name, v := range parseSeries(s.t, page) {
		if rest, ok := strings.CutPrefix(name, "envoy_gateway_"); ok {
			out["gateway_"+rest] = v
		}
	}
	return out
}

// requests are the counts of gateway_proxy_requests_total of a service, by "METHOD status".
func (m series) requests(service string) map[string]float64 {
	out := map[string]float64{}
	for name, v := range m {
		rest, ok := strings.CutPrefix(name, `gateway_proxy_requests_total{service="`+service+`",method="`)
		if !ok {
			continue
		}
		method, rest, _ := strings.Cut(rest, `",status="`)
		out[method+" "+strings.TrimSuffix(rest, `"}`)] = v
	}
	return out
}

// untilCounted waits until Envoy has counted a service's requests as is wanted, by "METHOD status". Envoy logs a request
// after its client has the answer.
func (s *stack) untilCounted(service string, want map[string]float64) {
	s.t.Helper()
	s.until("the requests of "+service+" are counted", func() error {
		if got := s.gatewaySeries(s.envoy).requests(service); !maps.Equal(got, want) {
			return fmt.Errorf("they are %v, want %v", got, want)
		}
		return nil
	})
}

// labelValues are the values of a label of all series of a metric.
func (m series) labelValues(metric, label string) []string {
	seen := map[string]bool{}
	for name := range m {
		if !strings.HasPrefix(name, metric+"{") {
			continue
		}
		_, rest, ok := strings.Cut(name, label+`="`)
		if !ok {
			continue
		}
		value, _, _ := strings.Cut(rest, `"`)
		seen[value] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// untilTimed waits until the durations of n requests of a service are in Envoy's histograms, which it makes up each 5 s.
func (s *stack) untilTimed(service string, n float64) series {
	s.t.Helper()
	var m series
	s.until("the requests of "+service+" are timed", func() error {
		m = s.gatewaySeries(s.envoy)
		got := 0.0
		for name, v := range m {
			if strings.HasPrefix(name, `gateway_proxy_request_duration_seconds_count{service="`+service+`"`) {
				got += v
			}
		}
		if got != n {
			return fmt.Errorf("%v are, want %v", got, n)
		}
		return nil
	})
	return m
}

// bucket is one of a histogram's: how many values are not above its bound.
type bucket struct{ bound, count float64 }

// durations are the buckets of a service's gateway_proxy_request_duration_seconds for GET, in ascending order.
func (m series) durations(t testing.TB, service string) []bucket {
	t.Helper()
	var out []bucket
	for name, v := range m {
		rest, ok := strings.CutPrefix(name, `gateway_proxy_request_duration_seconds_bucket{service="`+service+`",method="GET",le="`)
		if !ok {
			continue
		}
		bound, err := strconv.ParseFloat(strings.TrimSuffix(rest, `"}`), 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bucket{bound, v})
	}
	slices.SortFunc(out, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	return out
}

// quantile is what Prometheus' histogram_quantile makes of the buckets: linear within one.
func quantile(q float64, buckets []bucket) float64 {
	if len(buckets) < 2 {
		return math.NaN()
	}
	rank, below := q*buckets[len(buckets)-1].count, bucket{}
	for _, b := range buckets {
		if b.count >= rank {
			if math.IsInf(b.bound, 1) {
				return below.bound
			}
			return below.bound + (b.bound-below.bound)*(rank-below.count)/(b.count-below.count)
		}
		below = b
	}
	return math.NaN()
}
