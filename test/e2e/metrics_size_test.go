package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// maxScrape bounds a scrape of an Envoy with scrapedServices services, in bytes.
const (
	maxScrape       = 2_000_000
	scrapedServices = 1000
)

// scraped is a stack of scrapedServices services whose Envoy has served a request of each and made up its histograms.
func scraped(t testing.TB, change ...func(*bootstrapv3.Bootstrap)) *stack {
	t.Helper()
	u := newBackend(t, always(http.StatusOK))
	var docs strings.Builder
	for i := range scrapedServices {
		fmt.Fprintf(&docs, "---\nservice: service-%03d\nupstream: http://%s\nretry: off\n", i, u)
	}
	s := newPlane(t, map[string]string{"services.yaml": docs.String(), "gateway.yaml": "access_log: off\n"})
	s.envoy = s.startEnvoy("e2e", change...)
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
	s.until("every service's requests are timed", func() error {
		if n := strings.Count(s.scrape(), "\nenvoy_gateway_proxy_request_duration_seconds_count{"); n != scrapedServices {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	return s
}

// scrape is what Prometheus reads of the stack's Envoy.
func (s *stack) scrape() string {
	s.t.Helper()
	page, err := s.fetch("http://" + s.envoy.AdminAddr + "/stats/prometheus?usedonly")
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// A scrape of an Envoy with 1,000 services, each with traffic, stays small, and has what the dashboards and alerts need.
// How long it takes says BenchmarkScrapeOf1000Services.
func TestMetricsScrapeOf1000Services(t *testing.T) {
	t.Parallel()
	page := scraped(t).scrape()
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
