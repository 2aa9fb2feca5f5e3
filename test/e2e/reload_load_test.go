package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// loadRate is the number of requests a second at each path under load, and loadInFlight how many may be under way there
// at a time: a machine that is too slow for the rate gets fewer, and not ever more.
const loadRate, loadInFlight = 100, 20

// load sends requests at a constant rate. Every answer other than 200 and every request without an answer is a failure.
type load struct {
	t       testing.TB
	gateway string
	client  *http.Client
	senders sync.WaitGroup

	mu sync.Mutex
	// All below is guarded by mu.

	stops    map[string]func()
	sent     map[string]int
	failures []string
}

// newLoad starts a load on these paths. It ends with the test if Stop was not called before.
func (s *stack) newLoad(paths ...string) *load {
	s.t.Helper()
	l := &load{
		t: s.t, gateway: s.gateway, stops: map[string]func(){}, sent: map[string]int{},
		client: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64},
		},
	}
	for _, p := range paths {
		l.add(p)
	}
	s.t.Cleanup(func() { l.stop() })
	return l
}

// add starts to load one more path, in turn with GET, which Envoy and Go's client may
// repeat, and POST, which they may not.
func (l *load) add(path string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.t.Context()))
	done := make(chan struct{})
	var requests sync.WaitGroup
	l.senders.Go(func() {
		defer close(done)
		tick := time.NewTicker(time.Second / loadRate)
		defer tick.Stop()
		free := make(chan struct{}, loadInFlight)
		for n := 0; ; n++ {
			method := http.MethodGet
			if n%2 == 1 {
				method = http.MethodPost
			}
			select {
			case free <- struct{}{}:
				requests.Go(func() {
					l.request(method, path)
					<-free
				})
			default:
			}
			select {
			case <-ctx.Done():
				requests.Wait()
				return
			case <-tick.C:
			}
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops[path] = func() {
		cancel()
		<-done
	}
}

// more waits until n more requests were answered on a path.
func (l *load) more(path string, n int) {
	l.t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.sent[path]
	}
	until := count() + n
	envoytest.Eventually(l.t, patience, fmt.Sprintf("%d more requests to %s", n, path), func() error {
		if got := count(); got < until {
			return fmt.Errorf("%d are missing", until-got)
		}
		return nil
	})
}

// end stops the load on one path and returns once the last request is answered.
func (l *load) end(path string) {
	l.mu.Lock()
	stop := l.stops[path]
	delete(l.stops, path)
	l.mu.Unlock()
	stop()
}

// stop stops all and returns how many requests were sent, by path, and what failed.
func (l *load) stop() (sent map[string]int, failures []string) {
	l.mu.Lock()
	stops := l.stops
	l.stops = map[string]func(){}
	l.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	l.senders.Wait()
	l.client.CloseIdleConnections()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.failures
}

// mustBeClean waits until that many requests were answered, stops the load, and fails the test for each of them
// that failed.
func (l *load) mustBeClean(atLeast int) {
	l.t.Helper()
	envoytest.Eventually(l.t, patience, fmt.Sprintf("%d requests were sent", atLeast), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		total := 0
		for _, n := range l.sent {
			total += n
		}
		if total < atLeast {
			return fmt.Errorf("%d were", total)
		}
		return nil
	})
	sent, failures := l.stop()
	l.t.Logf("requests: %v", sent)
	if len(failures) > 0 {
		l.t.Errorf("%d requests failed:\n%s", len(failures), strings.Join(failures[:min(len(failures), 20)], "\n"))
	}
}

func (l *load) request(method, path string) {
	start := time.Now()
	err := l.try(method, path)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[path]++
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s %s %s: %v", start.UTC().Format("15:04:05.000"), method, path, err))
	}
}

func (l *load) try(method, path string) error {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+l.gateway+path, strings.NewReader(""))
	if err != nil {
		return err
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d: %s", resp.StatusCode, body)
	}
	return nil
}
