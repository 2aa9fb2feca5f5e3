package admin_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
)

// crowded is a service with traffic over many proxies, one of which has tripped.
func crowded(i, proxies int) breaker.Breaker {
	var all []breaker.ProxyBreaker
	for j := range proxies {
		p := breaker.ProxyBreaker{
			Proxy: fmt.Sprintf("gateway-%02d.prod.example", j), State: breaker.Closed, Since: day, TotalHosts: 3,
			Requests: 1_234_567, Errors: 4321, Attempts: 1_234_567, Failures: 4321, RecentAttempts: 100, RecentErrors: 3,
		}
		for h := range p.TotalHosts {
			p.Hosts = append(p.Hosts, breaker.Host{Address: fmt.Sprintf("10.20.%d.%d:8005", i%250, h), Requests: 411_522, Errors: 1440})
		}
		if j == i%proxies {
			p.State, p.Cause = breaker.Open, "5 of the last 100 attempts failed: failure_threshold is 5"
			p.Since, p.Until = day.Add(123456789*time.Nanosecond), day.Add(60123456789*time.Nanosecond)
		}
		all = append(all, p)
	}
	return breaker.NewBreaker(fmt.Sprintf("some-service-%03d", i), all)
}

// The summaries of 1,000 services on 12 proxies are small though every breaker is open, and a change of one is of one.
func TestSummariesAreSmall(t *testing.T) {
	const (
		services, proxies = 1000, 12
		maxSnapshot       = 600_000 // bytes
		maxChange         = 700
	)
	model := newFakeModel()
	model.breakers = nil
	for i := range services {
		model.breakers = append(model.breakers, crowded(i, proxies))
	}
	url := start(t, admin.Options{Model: model}).url
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/v1/breakers:watch?summary=true", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	event := func() string {
		t.Helper()
		var out strings.Builder
		for !strings.HasSuffix(out.String(), "\n\n") {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(line)
		}
		return out.String()
	}
	snapshot := event()
	if n := strings.Count(snapshot, `"overview":{`); n != services {
		t.Errorf("the snapshot has %d services", n)
	}
	t.Logf("the snapshot of %d services on %d proxies: %d bytes", services, proxies, len(snapshot))
	if len(snapshot) > maxSnapshot {
		t.Errorf("the snapshot has %d bytes, want at most %d", len(snapshot), maxSnapshot)
	}
	changed := crowded(500, proxies)
	changed.Proxies[0].Attempts++
	changed = breaker.NewBreaker(changed.Service, changed.Proxies)
	model.changes <- []breaker.Breaker{crowded(499, proxies), changed, crowded(501, proxies)}
	change := event()
	if strings.Count(change, `"service":`) != 1 || !strings.Contains(change, `"service":"some-service-500"`) {
		t.Errorf("one service has changed: %s", change)
	}
	t.Logf("the change of one: %d bytes", len(change))
	if len(change) > maxChange {
		t.Errorf("a change has %d bytes, want at most %d: %s", len(change), maxChange, change)
	}
}
