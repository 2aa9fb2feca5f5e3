package envoy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

const nodeID = "edge-1"

// startProxy starts an Envoy from Breakwater's bootstrap.
func startProxy(t *testing.T, xdsAddr string) *envoytest.Process {
	t.Helper()
	b, err := envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: xdsAddr, AdminAddr: "127.0.0.1:0"}.Build()
	if err != nil {
		t.Fatal(err)
	}
	return envoytest.Start(t, b)
}

func TestProxyStartsFromBootstrap(t *testing.T) {
	t.Parallel()
	_, addr := startADS(t, "127.0.0.1:0", nil)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		p := startProxy(t, net.JoinHostPort(host, port))
		p.WaitReady(t, 10*time.Second)
		info, err := p.Admin().ServerInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := info.GetNode().GetId(); got != nodeID {
			t.Errorf("control plane at %s: node id = %q, want %q", host, got, nodeID)
		}
	}
}

func TestProxyIsNotReadyWithoutControlPlane(t *testing.T) {
	t.Parallel()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t))))
	p := startProxy(t, addr)
	var status *envoy.StatusError
	if err := p.Admin().Ready(t.Context()); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("Ready() = %v, want a 503", err)
	}
	startADS(t, addr, nil)
	p.WaitReady(t, 5*time.Second)
}

func TestLaterRuntimeLayersOverrideEarlierOnes(t *testing.T) {
	t.Parallel()
	limits, breaker, operator := envoy.LimitsLayer, envoy.BreakerLayer(nodeID), envoy.OperatorLayer(nodeID)
	_, addr := startADS(t, "127.0.0.1:0", map[string]map[string]any{
		limits:   {"a": 1, "b": 1, "c": 1},
		breaker:  {"b": 2, "c": 2},
		operator: {"c": 3},
	})
	p := startProxy(t, addr)
	p.WaitReady(t, 10*time.Second)
	var runtime struct {
		Entries map[string]struct {
			Final string `json:"final_value"`
		} `json:"entries"`
	}
	if err := json.Unmarshal(adminGet(t, p, "/runtime"), &runtime); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a": "1", "b": "2", "c": "3"} {
		if got := runtime.Entries[key].Final; got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestProxyReconnectsSoon(t *testing.T) {
	t.Parallel()
	first, addr := startADS(t, "127.0.0.1:0", nil)
	p := startProxy(t, addr)
	p.WaitReady(t, 10*time.Second)
	first.stop()
	// Enough failed attempts that the back-off has grown to its maximum.
	envoytest.Eventually(t, 30*time.Second, "Envoy has tried in vain", func() error {
		stats, err := p.Admin().Stats(context.Background(), envoy.StatsQuery{
			Filter: "^cluster." + envoy.XDSCluster + ".upstream_cx_connect_fail$", Type: envoy.Counters,
		})
		if err != nil {
			return err
		}
		for _, n := range stats {
			if n >= 8 {
				return nil
			}
		}
		return fmt.Errorf("connect failures: %v", stats)
	})
	second, _ := startADS(t, addr, nil)
	back := time.Now()
	envoytest.Eventually(t, 5*time.Second, "a new stream", func() error {
		if second.streams.Load() == 0 {
			return errors.New("no stream")
		}
		return nil
	})
	took := time.Since(back)
	t.Logf("Envoy was back %v after the control plane", took)
	// The back-off is at most 1 s; with Envoy's own default it would be up to 30 s.
	if bound := 2 * time.Second; took > bound {
		t.Errorf("Envoy was back %v after the control plane, want within %v", took, bound)
	}
}

func TestAdminRefusesWhatChangesEnvoy(t *testing.T) {
	t.Parallel()
	_, addr := startADS(t, "127.0.0.1:0", nil)
	p := startProxy(t, addr)
	for _, path := range []string{
		"/quitquitquit", "/runtime_modify?a=1", "/drain_listeners", "/healthcheck/fail", "/reset_counters",
		"/cpuprofiler?enable=y", "/clusters/../quitquitquit", "/stats/../runtime_modify?a=1",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+p.AdminAddr, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + p.AdminAddr + path // as it is, without cleaning
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("POST %s: %d, want it refused", path, resp.StatusCode)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for _, path := range []string{"/ready", "/stats/prometheus?usedonly", "/runtime?format=json", "/config_dump", "/listeners"} {
		adminGet(t, p, path)
	}
	if p.Exited() {
		t.Error("Envoy has ended")
	}
}

// adminGet returns the body of any path of the admin API that is allowed.
func adminGet(t *testing.T, p *envoytest.Process, path string) []byte {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + p.AdminAddr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusForbidden {
		t.Fatalf("GET %s: %d %s", path, resp.StatusCode, body)
	}
	return body
}
