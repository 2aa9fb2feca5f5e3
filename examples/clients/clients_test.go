// Package clients tests the example clients, each as a program, against the shop example behind a real
// Envoy: what they print must say what the gateway meant.
package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
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
	Value      json.RawMessage `json:"value"`
	Tries      int             `json:"tries"`
}

// client is one example as a command line, to which the gateway and the path are added.
type client struct {
	name    string
	command []string
}

func clients(t *testing.T, s *shop.Shop) []client {
	t.Helper()
	program := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", program, "./examples/clients/go")
	build.Dir = s.Root
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

func (c client) ask(t *testing.T, env []string, gateway, path string) answer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.command[0], append(c.command[1:], gateway, path)...)
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
	all := clients(t, s)
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

	overloaded := overload(t)
	for _, c := range all {
		a := c.ask(t, env, overloaded, pricing)
		if want := (answer{Kind: "overloaded", Source: "caller"}); !a.like(want) || a.RetryAfter != 1 {
			t.Errorf("an overload: %s says %+v, want %+v after 1 s", c.name, a, want)
		}
	}
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

// overload serves what the gateway answers at a limit: the example's limits are too high to be reached by a few
// requests, and test/e2e proves that Envoy answers so.
func overload(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("content-type", "application/json")
		w.Header().Set("x-circuit-breaker", "overloaded")
		w.Header().Set("retry-after", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = strings.NewReader(`{"error":"overloaded","status":503}`).WriteTo(w)
	}))
	t.Cleanup(server.Close)
	return server.URL
}
