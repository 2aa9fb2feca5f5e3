package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// neverEjected keeps a host that only fails in rotation, where its breaker is not what is tested.
const neverEjected = "breaker: {failure_threshold: 1000}"

// quick is a retry with hardly any delay.
const quick = "base_delay: 1ms, max_delay: 2ms"

// at is a policy of a service that has the path prefix of its own name, with these further lines.
func at(service string, upstream any, lines ...string) string {
	return fmt.Sprintf("service: %s\nupstream: %v\nroutes: [{prefix: /%[1]s}]\n%[3]s\n", service, upstream, strings.Join(lines, "\n"))
}

// policies puts documents into one file.
func policies(docs ...string) map[string]string {
	return map[string]string{"services.yaml": strings.Join(docs, "---\n")}
}

// hosts is an upstream of several hosts.
func hosts(addrs ...string) string { return "[" + strings.Join(addrs, ", ") + "]" }

// arrival is one request as it reached a backend.
type arrival struct {
	*http.Request
	at   time.Time
	body string
}

// attempt is Envoy's number of the attempt, from 1.
func (a arrival) attempt() string { return a.Header.Get("X-Envoy-Attempt-Count") }

// backend is an HTTP server that keeps every request. Its methods may be called from any goroutine.
type backend struct {
	addr string

	mu sync.Mutex
	// arrivals is guarded by mu.
	arrivals []arrival
}

// newBackend starts a backend on a free port, after these changes to it; with a TLS configuration it
// speaks TLS, and in clear text HTTP/1.1 or, with prior knowledge, HTTP/2. It ends with the test.
func newBackend(t testing.TB, answer http.HandlerFunc, change ...func(*httptest.Server)) *backend {
	t.Helper()
	b := &backend{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		b.mu.Lock()
		b.arrivals = append(b.arrivals, arrival{r.Clone(r.Context()), time.Now(), string(body)})
		b.mu.Unlock()
		answer(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it is the backends' part to fail
	for _, c := range change {
		c(s)
	}
	b.addr = s.Listener.Addr().String()
	if s.TLS != nil {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return b
}

// String is the backend's ip:port.
func (b *backend) String() string { return b.addr }

// got returns the requests so far.
func (b *backend) got() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.arrivals)
}

// take returns the requests since the last take.
func (b *backend) take() []arrival {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.arrivals
	b.arrivals = nil
	return got
}

// one returns the only request since the last take.
func (b *backend) one(t *testing.T) arrival {
	t.Helper()
	got := b.take()
	if len(got) != 1 {
		t.Fatalf("%d requests reached %s, want 1", len(got), b.addr)
	}
	return got[0]
}

// always answers with this status and no body.
func always(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// breakOff closes the connection with RST instead of an answer.
func breakOff(w http.ResponseWriter, _ *http.Request) { envoytest.Reset(w) }

// closedPort is an address of the loopback interface that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
}

// concurrently calls do n times at once and returns when all have returned.
func concurrently(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// send sends requests with this body at once, each on a connection of its own, and returns the replies. It may be
// called from any goroutine: a request without an answer is an error of the test's.
func (s *stack) send(n int, method, path, body string) []reply {
	s.t.Helper()
	replies := make([]reply, n)
	concurrently(n, func(i int) {
		r, err := s.request(method, path, nil, strings.NewReader(body))
		if err != nil {
			s.t.Errorf("%s %s: %v", method, path, err)
		}
		replies[i] = r
	})
	return replies
}

// byStatus counts replies.
func byStatus(replies []reply) map[int]int {
	n := map[int]int{}
	for _, r := range replies {
		n[r.status]++
	}
	return n
}

// isOpen says how a reply is not that of an open breaker.
func (r reply) isOpen() error {
	if r.status != http.StatusServiceUnavailable || r.header.Get("X-Circuit-Breaker") != "open" ||
		r.header.Get("Retry-After") == "" || !strings.Contains(r.body, `"circuit_open"`) {
		return fmt.Errorf("%d %v %s, want 503 of an open breaker", r.status, r.header, r.body)
	}
	return nil
}

// problem is the body of a reply that the gateway makes itself.
type problem struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	Service   string `json:"service"`
	Status    int    `json:"status"`
	Details   string `json:"details"`
	RequestID string `json:"request_id"`
}

// fails says how a reply is not one of the gateway's with this status and error.
func (r reply) fails(service string, status int, kind string) error {
	var p problem
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		return fmt.Errorf("%d %s: %w", r.status, r.body, err)
	}
	if r.status != status || p.Status != status || p.Error != kind || p.Service != service || p.Details == "" ||
		p.Message == "" || p.RequestID != r.header.Get("X-Request-Id") {
		return fmt.Errorf("%d %s, want %d with the error %s", r.status, r.body, status, kind)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		return fmt.Errorf("content-type %q of %s", got, r.body)
	}
	return nil
}

// untilAllEjected waits until Envoy has ejected this many hosts of a service.
func (s *stack) untilAllEjected(service string, n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d hosts of %s are ejected", n, service), func() error {
		if got := s.ejected(service); len(got) != n {
			return fmt.Errorf("ejected: %v", got)
		}
		return nil
	})
}
