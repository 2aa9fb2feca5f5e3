package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// jsonLog has transitions read back from the log, with the time of each.
var jsonLog = []string{"--log-format", "json"}

// quiet is the services' policies, and a gateway that logs no access.
func quiet(docs ...string) map[string]string {
	files := policies(docs...)
	files["gateway.yaml"] = "access_log: off\n"
	return files
}

// newLayer2 is newStack for these services, and waits until what they do is reported.
func newLayer2(t testing.TB, docs ...string) *stack {
	t.Helper()
	s := newStack(t, quiet(docs...), jsonLog...)
	s.untilReporting()
	return s
}

// answer is a reply to the nth request, from 1, since the script was set.
type answer func(n int, w http.ResponseWriter, r *http.Request)

// good answers 200, bad 500, and alternating a failure and a success in turn: no host fails twice in a row, so
// that layer 1 never ejects it.
func good(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func bad(_ int, w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
}

func alternating(n int, w http.ResponseWriter, r *http.Request) {
	if n%2 == 1 {
		bad(n, w, r)
		return
	}
	good(n, w, r)
}

// after is an answer that takes this long.
func after(d time.Duration, then answer) answer {
	return func(n int, w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			then(n, w, r)
		case <-r.Context().Done():
		}
	}
}

// held answers when the gate is open.
func held(g *gate) answer {
	return func(_ int, w http.ResponseWriter, r *http.Request) { g.handle(w, r) }
}

// crowding is how many requests were at a backend when one arrived, itself included.
type crowding struct {
	at time.Time
	n  int
}

// script is a backend that answers as it is told and counts what is there at a time. Its methods may be called from any
// goroutine.
type script struct {
	*backend

	mu sync.Mutex
	// All below is guarded by mu.

	answer answer
	n, now int
	crowds []crowding
}

// newScript starts a script that answers 200.
func newScript(t testing.TB) *script {
	t.Helper()
	s := &script{answer: good}
	s.backend = newBackend(t, s.handle)
	return s
}

func (s *script) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.n++
	s.now++
	n, do := s.n, s.answer
	s.crowds = append(s.crowds, crowding{time.Now(), s.now})
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	do(n, w, r)
}

// set gives the answer to requests from now on, and counts anew.
func (s *script) set(a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.n, s.crowds = a, 0, nil
}

// seen is how many requests have arrived since the script was set.
func (s *script) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// there is how many requests are there now.
func (s *script) there() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// one returns nil while exactly one request is there.
func (s *script) one() error {
	if n := s.there(); n != 1 {
		return fmt.Errorf("%d requests are there", n)
	}
	return nil
}

// peak is the most requests that were there at a time, of those that arrived before a time (zero: all), and how many
// arrived by then.
func (s *script) peak(before time.Time) (peak, arrived int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.crowds {
		if before.IsZero() || c.at.Before(before) {
			peak, arrived = max(peak, c.n), arrived+1
		}
	}
	return peak, arrived
}

// untilReporting waits until an Envoy's load reports cover the clusters that it has: what ends before is in none of them.
func (s *stack) untilReporting(envoys ...*envoytest.Process) {
	s.t.Helper()
	if len(envoys) == 0 {
		envoys = []*envoytest.Process{s.envoy}
	}
	for _, e := range envoys {
		var first uint64
		s.until("Envoy reports its load", func() error {
			// Envoy names them from the server's side: what it was asked is a request, a report is a response.
			asked, reports := s.stat(e, "load_reporter.requests"), s.stat(e, "load_reporter.responses")
			if asked == 0 {
				return errors.New("it was not asked to")
			}
			if first == 0 {
				first = reports
			}
			// The first of them may have begun before the cluster came.
			if reports < first+2 {
				return fmt.Errorf("%d reports", reports-first)
			}
			return nil
		})
	}
}

// trip makes layer 2 open a service with failure_threshold 5: five failures, with a success between two. Nothing is sent
// between the fifth and the return.
func (s *stack) trip(service string, b *script) {
	s.t.Helper()
	b.set(alternating)
	for range 9 {
		s.get("/" + service)
	}
	s.untilOpen(service)
	if n := b.seen(); n != 9 {
		s.t.Errorf("%s: %d requests reached the service before it was open, want 9", service, n)
	}
	if got := s.ejected(service); len(got) != 0 {
		s.t.Errorf("%s: layer 1 has ejected %v", service, got)
	}
	b.set(good)
}

// untilIs waits for the state of a service.
func (s *stack) untilIs(service, state string) {
	s.t.Helper()
	s.until(service+" is "+state, func() error {
		if b := s.breaker(service); b.State != state {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
}

// untilEnforced waits until the stack's Envoy has a runtime key of a service, or has none.
func (s *stack) untilEnforced(key string, want bool) {
	s.t.Helper()
	s.until(fmt.Sprintf("Envoy's runtime has %s: %v", key, want), func() error {
		keys, err := s.envoy.Admin().Runtime(s.t.Context())
		if err != nil {
			return err
		}
		if _, has := keys[key]; has != want {
			return fmt.Errorf("%v", keys)
		}
		return nil
	})
}

// untilOpen waits until a service is open, and Envoy knows.
func (s *stack) untilOpen(service string) {
	s.t.Helper()
	s.untilIs(service, "open")
	s.untilEnforced("upstream.maintenance_mode."+service, true)
}

// untilHalfOpen waits until a service is half-open, and Envoy knows.
func (s *stack) untilHalfOpen(service string) {
	s.t.Helper()
	s.untilIs(service, "half_open")
	s.untilEnforced("circuit_breakers."+service+".default.max_requests", true)
}

// untilCloses sends requests until a service is closed and Envoy knows.
func (s *stack) untilCloses(service string) {
	s.t.Helper()
	s.until(service+" closes", func() error {
		s.get("/" + service)
		if b := s.breaker(service); b.State != "closed" {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	s.untilEnforced("circuit_breakers."+service+".default.max_requests", false)
}

// mustBeOpen sends requests that an open breaker must answer, and none may reach the service.
func (s *stack) mustBeOpen(service string, b *script, n int) []reply {
	s.t.Helper()
	before := b.seen()
	replies := make([]reply, n)
	for i := range replies {
		replies[i] = s.get("/" + service)
		if err := replies[i].isOpen(); err != nil {
			s.t.Errorf("%s: request %d: %v", service, i+1, err)
		}
	}
	if n := b.seen() - before; n != 0 {
		s.t.Errorf("%s: %d requests reached an open service", service, n)
	}
	return replies
}

// transition is what the log says of a change of a breaker.
type transition struct {
	At    time.Time `json:"@timestamp"`
	From  string    `json:"from"`
	To    string    `json:"to"`
	Cause string    `json:"cause"`
	Proxy string    `json:"proxy"`

	Message string `json:"@message"`
	Service string `json:"service"`
}

func (t transition) String() string { return t.From + "→" + t.To }

// transitions returns what the log, in JSON, says of a service's breaker since Breakwater was started first.
func (s *stack) transitions(service string) []transition {
	s.t.Helper()
	var out []transition
	for lines := bufio.NewScanner(strings.NewReader(s.log.String())); lines.Scan(); {
		var line transition
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "breaker changed" && line.Service == service {
			out = append(out, line)
		}
	}
	return out
}

// mustHaveGone fails unless a service's breaker has made exactly these transitions, such as closed→open.
func (s *stack) mustHaveGone(service string, want ...string) []transition {
	s.t.Helper()
	got := s.transitions(service)
	words := make([]string, len(got))
	for i, t := range got {
		words[i] = t.String()
	}
	if !slices.Equal(words, want) {
		s.t.Errorf("%s: transitions %v, want %v\n%+v", service, words, want, got)
	}
	return got
}

// workers send requests at once, each its next when the last is answered, until stop is called, which returns all
// replies. Between two requests each waits for a moment, as callers do that are told to retry later.
func (s *stack) workers(n int, path string, pause time.Duration) (stop func() []reply) {
	end := make(chan struct{})
	replies := make([][]reply, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			tick := time.NewTicker(max(pause, time.Millisecond))
			defer tick.Stop()
			for {
				r, err := s.try(http.MethodGet, path, nil)
				if s.t.Context().Err() != nil {
					return
				}
				if err != nil {
					s.t.Errorf("%s: %v", path, err)
					return
				}
				replies[i] = append(replies[i], r)
				select {
				case <-end:
					return
				case <-tick.C:
				}
			}
		})
	}
	var once sync.Once
	stop = func() []reply {
		once.Do(func() { close(end) })
		wg.Wait()
		return slices.Concat(replies...)
	}
	s.t.Cleanup(func() { stop() })
	return stop
}
