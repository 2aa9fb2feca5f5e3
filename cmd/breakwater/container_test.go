package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/cmd/breakwater/demo"
	"github.com/breakwater/breakwater/test/envoytest"
)

// These are tests of what containers need of the command line: no shell, no curl.

func TestHealthcheck(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusFound)
		case "/hangs":
			<-r.Context().Done()
		default:
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	if got := runMain(t, "healthcheck", server.URL+"/ok"); got != (outcome{}) {
		t.Errorf("a healthy server: %+v", got)
	}
	runMain(t, "healthcheck", server.URL+"/sick").mustFail(t, exitFailed, "GET "+server.URL+"/sick: 503: not yet")
	runMain(t, "healthcheck", server.URL+"/moved").mustFail(t, exitFailed, "GET "+server.URL+"/moved: 302: %s")
	runMain(t, "healthcheck", server.URL+"/hangs", "--timeout", "50ms").mustFail(t, exitFailed, "%scontext deadline exceeded")
	nobody := fmt.Sprintf("http://127.0.0.1:%d/", envoytest.FreePort(t))
	runMain(t, "healthcheck", nobody).mustFail(t, exitFailed, "%sconnection refused")
	for _, bad := range []string{"127.0.0.1:8081", "https://127.0.0.1/", "http://"} {
		runMain(t, "healthcheck", bad).mustFail(t, exitUsage, fmt.Sprintf("%q is not of the form http://host:port/path", bad))
	}
	runMain(t, "healthcheck", "--timeout", "0s").mustFail(t, exitUsage, "--timeout 0s: must be above 0")
}

func TestBootstrapInAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	want := runMain(t, "bootstrap", "--node-id", "edge-1")
	if got := runMain(t, "bootstrap", "--node-id", "edge-1", "--file", file); got != (outcome{}) {
		t.Fatalf("%+v", got)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != want.stdout {
		t.Errorf("%v: the file has\n%s\nwant\n%s", err, text, want.stdout)
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere", "envoy.yaml")
	runMain(t, "bootstrap", "--file", nowhere).mustFail(t, exitFailed, "%sno such file or directory")
}

func TestAdminAddressOfABootstrap(t *testing.T) {
	for _, tt := range []struct{ admin, xds, want string }{
		{":9901", "127.0.0.1:18000", "127.0.0.1:9901"},
		{":9901", "[::1]:18000", "[::1]:9901"},
		{"10.0.0.7:9901", "127.0.0.1:18000", "10.0.0.7:9901"},
		{"nonsense", "127.0.0.1:18000", "nonsense"},
	} {
		if got, err := adminAddr(t.Context(), tt.admin, tt.xds); got != tt.want || err != nil {
			t.Errorf("%s and %s: %q, %v, want %s", tt.admin, tt.xds, got, err, tt.want)
		}
	}
	runMain(t, "bootstrap", "--admin", ":9901", "--xds", "no-such-host.invalid:1").mustFail(t, exitFailed,
		"--admin :9901: no address to reach no-such-host.invalid:1 from: %s")
}

func TestOneDemoService(t *testing.T) {
	chosen, err := demoServices([]string{"fraud-service", "fraud-service"})
	if err != nil || len(chosen) != 1 || chosen[0].Name != "fraud-service" {
		t.Errorf("%v, %v", chosen, err)
	}
	if all, err := demoServices(nil); err != nil || len(all) != len(demo.Services()) {
		t.Errorf("%v, %v", all, err)
	}
}

// TestHTTPHost: a server that names its hosts answers to no other, by the variable too.
func TestHTTPHost(t *testing.T) {
	t.Setenv("BREAKWATER_HTTP_HOST", "ops.example,breakwater")
	policies := writeFiles(t, t.TempDir(), map[string]string{"svc.yaml": "service: svc\nupstream: 127.0.0.1:9\n"})
	addr := net.JoinHostPort("127.0.0.1", fmt.Sprint(envoytest.FreePort(t)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	var stderr strings.Builder
	go func() {
		ended <- execute(ctx, serveArgs("serve", policies, t.TempDir(), "--http", addr), &strings.Builder{}, &stderr)
	}()
	envoytest.Eventually(t, 20*time.Second, "it is ready", func() error {
		return healthcheck(ctx, "http://"+addr+"/readyz")
	})
	for host, want := range map[string]int{"ops.example": 200, "BREAKWATER:8081": 200, "localhost": 200, "evil.example": 421} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/circuit-breakers", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("host %s: %d, want %d", host, resp.StatusCode, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
