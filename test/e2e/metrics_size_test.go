package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// maxScrape bounds a scrape of an Envoy with scrapedServices services, in bytes.
const (
	maxScrape       = 2_000_000
	scrapedServices = 1000
)

// A scrape of an Envoy with 1,000 services, each with traffic, stays small, and has what the dashboards and alerts need.
func TestMetricsScrapeOf1000Services(t *testing.T) {
	t.Parallel()
	u := newBackend(t, always(http.StatusOK))
	var docs strings.Builder
	for i := range scrapedServices {
		fmt.Fprintf(&docs, "---\nservice: service-%03d\nupstream: http://%s\nretry: off\n", i, u)
	}
	s := newStack(t, map[string]string{"services.yaml": docs.String(), "gateway.yaml": "access_log: off\n"})
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: transport}
	concurrently(4, func(worker int) {
		for i := worker; i < scrapedServices; i += 4 {
			r, err := s.try(http.MethodGet, "/", http.Header{"Host": {fmt.Sprintf("service-%03d", i)}})
			if err != nil || r.status != http.StatusOK {
				t.Errorf("service-%03d: %d %v", i, r.status, err)
			}
		}
	})
	var page string
	var took time.Duration
	s.until("every service's requests are timed", func() error {
		start := time.Now()
		var err error
		if page, err = s.fetch("http://" + s.envoy.AdminAddr + "/stats/prometheus?usedonly"); err != nil {
			return err
		}
		took = time.Since(start)
		if n := strings.Count(page, "\nenvoy_gateway_proxy_request_duration_seconds_count{"); n != scrapedServices {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	t.Logf("a scrape of %d services: %d bytes in %s", scrapedServices, len(page), took)
	if len(page) > maxScrape {
		t.Errorf("a scrape has %d bytes, want at most %d; by metric:\n%s", len(page), maxScrape, byMetric(page))
	}
	for _, metric := range []string{
		"gateway_proxy_requests_total", "gateway_proxy_retries_total", "cluster_membership_healthy", "cluster_membership_total",
		"cluster_upstream_rq_total",
	} {
		if n := strings.Count(page, "\nenvoy_"+metric+"{"); n < scrapedServices {
			t.Errorf("%s is there of %d services", metric, n)
		}
	}
}

// byMetric says how many bytes of a page each metric takes.
func byMetric(page string) string {
	bytes := map[string]int{}
	for line := range strings.Lines(page) {
		name, _, _ := strings.Cut(line, "{")
		bytes[name] += len(line)
	}
	var b strings.Builder
	for name, n := range bytes {
		if n > 5000 {
			fmt.Fprintf(&b, "%8d %s\n", n, name)
		}
	}
	return b.String()
}
