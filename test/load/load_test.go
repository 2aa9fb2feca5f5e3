// Package load runs the load test of the shop example, circuit_breaker_test.py, short and without its page.
package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// locust runs the load test and returns what it printed and its exit code.
func locust(t *testing.T, s *shop.Shop, python []string, phase string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", "-m", "locust", "-f", "circuit_breaker_test.py",
		"--host", "http://"+s.Gateway, "--headless", "--only-summary", "--loglevel", "WARNING",
		"--crowd", "10", "--phase", phase)
	cmd.Env = slices.Concat(s.Env, python)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// variable is the value of a variable of an environment.
func variable(t *testing.T, env []string, name string) string {
	t.Helper()
	for _, v := range slices.Backward(env) { // the last one counts
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// pester sends requests to a service past the gateway, one after another, until stop is called.
func pester(t *testing.T, url string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				resp.Body.Close()
			} else if ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// TestLoad: callers see what they should while services fail and recover; and if they do not, locust says so.
func TestLoad(t *testing.T) {
	t.Parallel()
	python := shop.PythonEnv(t)
	s := shop.Start(t)
	out, code := locust(t, s, python, "1.5")
	t.Log(out)
	if code != 0 || !strings.Contains(out, "PASSED") {
		t.Fatalf("locust ends with exit code %d", code)
	}

	// Without the fallback its callers see the open circuit.
	fraud := filepath.Join(s.Dir, "examples", "shop", "fraud.yaml")
	text, err := os.ReadFile(fraud)
	if err != nil {
		t.Fatal(err)
	}
	policy, _, found := strings.Cut(string(text), "fallback:\n")
	if !found {
		t.Fatalf("%s has no fallback", fraud)
	}
	if err := os.WriteFile(fraud, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, 10*time.Second, "the policy without a fallback is in force", func() error {
		if said := s.Breakwater(t, "explain", "fraud-service", "--all"); !strings.Contains(strings.Join(strings.Fields(said), " "), "fallback built-in off") {
			return fmt.Errorf("%s", said)
		}
		return nil
	})
	stop := pester(t, variable(t, s.Env, "PRICING_SERVICE_URL")+"/api/v1/pricing/tea-042")
	out, code = locust(t, s, python, "0.5")
	stop()
	if !regexp.MustCompile(`FAILED: [1-9]\d* requests reached pricing-service while its breaker was open`).MatchString(out) {
		t.Errorf("locust does not say that requests reached a service past its breaker:\n%s", out)
	}
	if code != 1 || !strings.Contains(out, "FAILED: failing: requests to fraud-service were answered {'open'") {
		t.Errorf("locust ends with exit code %d, and does not say that callers saw no fallback:\n%s", code, out)
	}
}
