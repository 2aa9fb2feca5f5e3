package e2e

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// churnRate is the number of requests a second to each service.
const churnRate = 12

// churnService is a service that names itself in its replies, and fails while it is told to.
type churnService struct {
	name, addr string
	failing    atomic.Bool
	// timeout is the last x-envoy-expected-rq-timeout-ms that a request had.
	timeout atomic.Int64
}

func newChurnService(t testing.TB, name string) *churnService {
	t.Helper()
	u := &churnService{name: name}
	s := httptest.NewUnstartedServer(u)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	u.addr = s.Listener.Addr().String()
	return u
}

func (u *churnService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if ms, err := strconv.ParseInt(r.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"), 10, 64); err == nil {
		u.timeout.Store(ms)
	}
	w.Header().Set("X-Service", u.name)
	if u.failing.Load() {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// outcome is how a request ended that its service did not answer 200.
type outcome struct {
	service  string
	from, to time.Time
	// status is 0 if there was no answer.
	status int
	// mark is x-circuit-breaker, and own is true if the service itself answered.
	mark string
	own  bool
	text string
}

func (o outcome) String() string {
	return fmt.Sprintf("%s to %s %s: %d %s %s", o.from.UTC().Format("15:04:05.000"), o.to.UTC().Format("05.000"), o.service, o.status, o.mark, o.text)
}

// rule explains outcomes of requests that were under way while it held.
type rule struct {
	reason   string
	explains func(outcome) bool
	// from and to are when it held; to is zero while it holds. slack is how long its effect outlasts it.
	from, to time.Time
	slack    time.Duration
}

func (r *rule) held(from, to time.Time) bool {
	return !to.Before(r.from) && (r.to.IsZero() || !from.After(r.to.Add(r.slack)))
}

// rules are what may keep requests from being answered 200. Their methods may be called from any goroutine.
type rules struct {
	mu  sync.Mutex
	all []*rule // guarded by mu
}

// because says that a reason holds from now until end is called.
func (r *rules) because(reason string, slack time.Duration, explains func(outcome) bool) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := &rule{reason: reason, explains: explains, from: time.Now(), slack: slack}
	r.all = append(r.all, x)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		x.to = time.Now()
	}
}

// reason returns the first reason for an outcome; empty if there is none.
func (r *rules) reason(o outcome) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.all {
		if x.held(o.from, o.to) && x.explains(o) {
			return x.reason
		}
	}
	return ""
}

// holds reports whether a reason of that name held in a time.
func (r *rules) holds(reason string, from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.all, func(x *rule) bool { return x.reason == reason && x.held(from, to) })
}

// of limits a rule to one service.
func of(service string, explains func(outcome) bool) func(outcome) bool {
	return func(o outcome) bool { return o.service == service && explains(o) }
}

func refusedByBreaker(o outcome) bool {
	return o.status == http.StatusServiceUnavailable && (o.mark == "open" || o.mark == "half_open")
}

func failedItself(o outcome) bool { return o.own && o.status == http.StatusInternalServerError }
func notRouted(o outcome) bool    { return o.status == http.StatusNotFound }
func unanswered(o outcome) bool   { return o.status == 0 }

// churnTraffic sends requests to every service at a constant rate, however slowly they are answered.
type churnTraffic struct {
	gateway string
	client  *http.Client
	senders sync.WaitGroup

	mu sync.Mutex
	// All below is guarded by mu.

	sent     map[string]int
	outcomes []outcome
	// passed are the requests that were answered 200 by the service of which that is looked at.
	passed []outcome
}

// watched is the service of which it is looked at when requests reached it.
const watched = "ordered"

func newChurnTraffic(gateway string) *churnTraffic {
	return &churnTraffic{
		gateway: gateway, sent: map[string]int{},
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 2 * time.Second}},
	}
}

// load sends requests to a service until ctx ends, in turn with GET, which Envoy and Go's client may repeat, and POST,
// which they may not.
func (c *churnTraffic) load(ctx context.Context, service string) {
	c.senders.Go(func() {
		tick := time.NewTicker(time.Second / churnRate)
		defer tick.Stop()
		start := time.Now()
		for n := 0; ; {
			for due := int(time.Since(start) * churnRate / time.Second); n < due; n++ {
				method := http.MethodGet
				if n%2 == 1 {
					method = http.MethodPost
				}
				c.senders.Go(func() { c.send(method, service) })
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

func (c *churnTraffic) send(method, service string) {
	o := outcome{service: service, from: time.Now()}
	err := c.ask(method, &o)
	o.to = time.Now()
	if err != nil {
		o.text = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[service]++
	if o.status != http.StatusOK || !o.own {
		c.outcomes = append(c.outcomes, o)
	} else if service == watched {
		c.passed = append(c.passed, o)
	}
}

func (c *churnTraffic) ask(method string, o *outcome) error {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+c.gateway+"/"+o.service+"/x", strings.NewReader(""))
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	o.status, o.mark, o.text = resp.StatusCode, resp.Header.Get("X-Circuit-Breaker"), string(body)
	o.own = resp.Header.Get("X-Service") == o.service
	return nil
}

// judge prints the requests and why some were not answered 200, and fails the test for each that no rule explains. It returns
// when the first of these began; zero if there is none.
func (c *churnTraffic) judge(t testing.TB, r *rules) (lost time.Time) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	total, reasons := 0, map[string]int{}
	for _, n := range c.sent {
		total += n
	}
	var unexplained []string
	for _, o := range c.outcomes {
		reason := r.reason(o)
		if reason == "" {
			reason = "no rule explains it"
			unexplained = append(unexplained, o.String())
			if lost.IsZero() || o.from.Before(lost) {
				lost = o.from
			}
		}
		reasons[reason]++
	}
	t.Logf("requests: %d, by service %v", total, c.sent)
	type counted struct {
		reason string
		n      int
	}
	var list []counted
	for reason, n := range reasons {
		list = append(list, counted{reason, n})
	}
	slices.SortFunc(list, func(a, b counted) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.reason, b.reason)) })
	for _, x := range list {
		t.Logf("not answered 200 by the service: %5d  %s", x.n, x.reason)
	}
	if n := len(unexplained); n > 0 {
		t.Errorf("%d of %d requests were lost for no reason:\n%s", n, total, strings.Join(unexplained[:min(n, 20)], "\n"))
	}
	if total < 100 {
		t.Errorf("only %d requests were sent", total)
	}
	return lost
}

// reached returns the requests to the watched service that began and ended within a time and were answered by it.
func (c *churnTraffic) reached(from, to time.Time) []outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []outcome
	for _, o := range c.passed {
		if o.from.After(from) && o.to.Before(to) {
			out = append(out, o)
		}
	}
	return out
}
