// Package clients tests the example clients, each as a program, against the shop example behind a real
// Envoy: what they print must say what the gateway meant.
package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

const (
	pricing = "/api/v1/pricing/tea-042"
	fraud   = "/api/v1/fraud/score"
)

// answer is what a client prints.
type answer struct {
	Kind       string          `json:"kind"`
	Source     string          `json:"source"`
	Status     int             `json:"status"`
	Error      string          `json:"error"`
	RetryAfter float64         `json:"retry_after"`
	Attempts   *int            `json:"attempts"`
	MayRepeat  *bool           `json:"may_repeat"`
	Value      json.RawMessage `json:"value"`
	Tries      int             `json:"tries"`
}

// client is one example as a command line, to which the gateway and the path are added.
type client struct {
	name    string
	command []string
}

func clients(t *testing.T) []client {
	t.Helper()
	program := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", program, "./examples/clients/go")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	python := func(file string) []string { return []string{"python3", filepath.Join("python", file)} }
	return []client{
		{"go", []string{program}},
		{"requests", python("requests_client.py")},
		{"httpx", python("httpx_client.py")},
		{"celery", python("celery_task.py")},
	}
}

func (c client) ask(t *testing.T, env []string, gateway, path string, method ...string) answer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.command[0], slices.Concat(c.command[1:], []string{gateway, path}, method)...)
	cmd.Env = env
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", c.name, err, out.String(), errOut.String())
	}
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("%s prints %q: %v", c.name, out.String(), err)
	}
	return a
}

// like reports whether a has the kind, the source, the status and the error of want.
func (a answer) like(want answer) bool {
	return a.Kind == want.Kind && a.Source == want.Source && a.Status == want.Status && a.Error == want.Error
}

func TestClients(t *testing.T) {
	t.Parallel()
	env := shop.PythonEnv(t)
	s := shop.Start(t)
	env = append(s.Env, env...)
	all := clients(t)
	gateway := "http://" + s.Gateway

	each := func(what, path string, want answer, before func()) []answer {
		t.Helper()
		var got []answer
		for _, c := range all {
			if before != nil {
				before()
			}
			a := c.ask(t, env, gateway, path)
			if !a.like(want) {
				t.Errorf("%s: %s says %+v, want %+v", what, c.name, a, want)
			}
			got = append(got, a)
		}
		return got
	}

	for i, a := range each("a healthy service", pricing, answer{Kind: "ok", Source: "service"}, nil) {
		if !bytes.Contains(a.Value, []byte(`"price": 7.9`)) && !bytes.Contains(a.Value, []byte(`"price":7.9`)) {
			t.Errorf("%s has the value %s", all[i].name, a.Value)
		}
	}

	s.Breakwater(t, "demo", "fail", "pricing-service", "--status", "404")
	each("an error of the service's own", pricing, answer{Kind: "service_error", Source: "none", Status: 404, Error: "told to fail"}, nil)

	each("a reset connection", pricing, answer{Kind: "gateway_error", Source: "none", Status: 503, Error: "upstream_reset"}, func() {
		// One request has four attempts, one less than opens: each client is to find no failure before its own.
		s.Breakwater(t, "demo", "heal", "pricing-service")
		if got, err := mark(gateway + pricing); err != nil || got != "" {
			t.Fatalf("the healed service: %q, %v", got, err)
		}
		s.Breakwater(t, "reset", "pricing-service")
		s.Breakwater(t, "demo", "reset", "pricing-service")
	})

	untilMarked(t, gateway+pricing, "open")
	for i, a := range each("an open circuit", pricing, answer{Kind: "open", Source: "caller"}, nil) {
		if a.RetryAfter < 1 || a.RetryAfter > 60 || !bytes.Contains(a.Value, []byte("ask us")) {
			t.Errorf("%s has no fallback of its own, or does not know when to come back: %+v", all[i].name, a)
		}
		if a.Attempts == nil || *a.Attempts != 0 || a.MayRepeat == nil || !*a.MayRepeat {
			t.Errorf("%s does not see that nothing was sent: %+v", all[i].name, a)
		}
		if all[i].name == "celery" && a.Tries != 3 {
			t.Errorf("the task tried %d times, want once and two retries", a.Tries)
		}
	}

	s.Breakwater(t, "demo", "fail", "fraud-service")
	untilMarked(t, gateway+fraud, "fallback")
	for i, a := range each("the policy's fallback", fraud, answer{Kind: "fallback", Source: "policy"}, nil) {
		if !bytes.Contains(a.Value, []byte(`"fallback"`)) {
			t.Errorf("%s has the value %s", all[i].name, a.Value)
		}
	}

	s.Breakwater(t, "demo", "heal", "pricing-service")
	s.Breakwater(t, "reset", "pricing-service")
	each("a service that is back", pricing, answer{Kind: "ok", Source: "service"}, nil)

	overload(t, s)
	for i, a := range each("a limit that is reached", pricing, answer{Kind: "overloaded", Source: "caller"}, nil) {
		if a.RetryAfter != 1 {
			t.Errorf("%s is to come back after %v s, want 1", all[i].name, a.RetryAfter)
		}
	}
}

// TestRepeats: a request is sent again only if the service can not have acted on it, or may act twice. What a real
// gateway says of the attempts is for TestAttemptsBeforeARefusal in test/e2e to tell.
func TestRepeats(t *testing.T) {
	t.Parallel()
	env := append(os.Environ(), shop.PythonEnv(t)...)
	all := clients(t)
	for _, tt := range []struct {
		method, attempts string // attempts empty: the gateway does not say
		repeat           bool
	}{
		{http.MethodPost, "0", true},
		{http.MethodPost, "1", false},
		{http.MethodPost, "", false},
		{http.MethodPut, "2", true},
	} {
		t.Run(tt.method+" after "+tt.attempts, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if r.Method != tt.method {
					t.Errorf("the method is %s", r.Method)
				}
				w.Header().Set("X-Circuit-Breaker", "open")
				if tt.attempts != "" {
					w.Header().Set("X-Circuit-Breaker-Attempts", tt.attempts)
				}
				w.WriteHeader(http.StatusServiceUnavailable)
			}))
			defer gateway.Close()
			for _, c := range all {
				requests.Store(0)
				a := c.ask(t, env, gateway.URL, pricing, tt.method)
				if a.MayRepeat == nil || *a.MayRepeat != tt.repeat {
					t.Errorf("%s says %+v, want may_repeat %v", c.name, a, tt.repeat)
				}
				want := int32(1)
				if c.name == "celery" && tt.repeat {
					want = 3
				}
				if got := requests.Load(); got != want {
					t.Errorf("%s has sent %d requests, want %d", c.name, got, want)
				}
			}
		})
	}
}

// overload leaves room for one request to pricing-service, and holds it until the test ends.
func overload(t *testing.T, s *shop.Shop) {
	t.Helper()
	s.Breakwater(t, "demo", "slow", "pricing-service", "--delay", "25s")
	ctx, cancel := context.WithCancel(t.Context())
	var holding sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		holding.Wait()
	})
	holding.Go(func() {
		// It comes again if another one was there before.
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Gateway+pricing, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	})
	file, err := os.OpenFile(filepath.Join(s.Dir, "examples", "shop", "pricing.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString("limits: {max_requests: 1, max_pending_requests: 1}\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, 10*time.Second, "the limit is in force and reached", func() error {
		client := &http.Client{Timeout: 100 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get("http://" + s.Gateway + pricing)
		if err != nil {
			return err
		}
		if got := resp.Header.Get("x-circuit-breaker"); got != "overloaded" {
			err = fmt.Errorf("x-circuit-breaker is %q", got)
		}
		return errors.Join(err, resp.Body.Close())
	})
}

// untilMarked sends requests until one has that x-circuit-breaker.
func untilMarked(t *testing.T, url, want string) {
	t.Helper()
	envoytest.Eventually(t, 5*time.Second, "the circuit is open", func() error {
		got, err := mark(url)
		if err == nil && got != want {
			err = fmt.Errorf("x-circuit-breaker is %q", got)
		}
		return err
	})
}

// mark returns the x-circuit-breaker of a reply.
func mark(url string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	return resp.Header.Get("x-circuit-breaker"), resp.Body.Close()
}
