package page

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// TestProxies is what operators see and do with two Envoys, behind what stands before the page in real life, and what
// only such parts can show: what Envoy refuses, what is in the shadow, and limits that are hit.
func TestProxies(t *testing.T) {
	t.Parallel()
	chromium(t)
	shop.PythonEnv(t)
	s := shop.StartPlane(t, "--http-host", "ops.example")
	one, two := s.StartEnvoy(t, "one"), s.StartEnvoy(t, "two")
	at := "http://" + s.HTTP
	env := slices.Concat(s.Env, []string{"SHOP=" + s.Dir})
	through := func(e *envoytest.Process) func() {
		return func() { s.Through(t, e, "/api/v1/fraud/score", 6) }
	}
	// Each of these is about services of its own.
	t.Run("beside", func(t *testing.T) {
		t.Run("slow", func(t *testing.T) {
			t.Parallel()
			slow := behindSlow(t, at)
			story(t, "slow.py", slow.url, env, map[string]func(){
				"slow":  func() { slow.set(5 * time.Second) },
				"quick": func() { slow.set(0) },
			})
			if again := slow.askedAgain(); again != "" {
				t.Errorf("%s was asked for again while it had not been answered", again)
			}
		})
		t.Run("marks", func(t *testing.T) {
			t.Parallel()
			story(t, "marks.py", at, env, nil)
		})
		t.Run("nack", func(t *testing.T) {
			t.Parallel()
			story(t, "nack.py", at, env, nil)
		})
		t.Run("tls", func(t *testing.T) {
			t.Parallel()
			kept, rewritten := behindTLS(t, s.HTTP)
			resolved := slices.Concat(env, []string{"RESOLVE=*.example"})
			story(t, "tls.py", kept, resolved, nil)
			story(t, "tls.py", rewritten, resolved, nil)
		})
	})
	t.Run("proxies", func(t *testing.T) {
		story(t, "proxies.py", at, env, map[string]func(){
			"fail through one": through(one),
			"fail through two": through(two),
			"stop two":         two.Stop,
			"stop one":         one.Stop,
		})
	})
}

// slowServer is a proxy before the page that passes calls of the API on late.
type slowServer struct {
	url string

	// mu guards the following.
	mu    sync.Mutex
	delay time.Duration
	// open are the questions that are not answered, by page and path; twice is one of which there were two.
	open  map[string]int
	twice string
}

func behindSlow(t *testing.T, to string) *slowServer {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	s := &slowServer{open: map[string]int{}}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delay := s.begin(r)
		defer s.end(r)
		select {
		case <-time.After(delay):
			proxy.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *slowServer) set(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

// question names what a page asks; each page calls itself by a User-Agent of its own.
func question(r *http.Request) string { return r.UserAgent() + " " + r.Method + " " + r.URL.Path }

// begin counts a question and says how late it is to be passed on.
func (s *slowServer) begin(r *http.Request) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(r.URL.Path, "/api/") {
		return 0
	}
	s.open[question(r)]++
	if s.open[question(r)] > 1 {
		s.twice = question(r)
	}
	return s.delay
}

func (s *slowServer) end(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[question(r)]--
}

// askedAgain is a question that was open twice at a time, or empty.
func (s *slowServer) askedAgain() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.twice
}

// portOf is the port of a host:port.
func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
