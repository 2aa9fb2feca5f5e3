package translate_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

func TestHostsByName(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	host := up.host(t)
	host.Name = "localhost"
	g := startGateway(t, testGateway(), service("pay", host))
	a := g.sendTo("shop.example", "/pay")
	if a.status != http.StatusOK {
		t.Errorf("status %d: %s", a.status, a.body)
	}
	if got := up.take(); len(got) != 1 || got[0].Host != "shop.example" {
		t.Errorf("the upstream sees %v, want the client's Host", got)
	}
}

// A raised generation lets the ejected hosts in again: of one host, or of the service.
func TestGenerationsClearEjections(t *testing.T) {
	t.Parallel()
	one, two := startUpstream(t), startUpstream(t)
	one.fail(http.StatusInternalServerError)
	two.fail(http.StatusInternalServerError)
	s := service("pay", one.host(t), two.host(t))
	g := startGateway(t, testGateway(), s)
	ejected := func(want string) {
		t.Helper()
		g.waitFor(want+" hosts ejected", func() error {
			if n := g.clusterStat("pay", "outlier_detection.ejections_active"); n != want {
				return fmt.Errorf("%s ejected", n)
			}
			return nil
		})
	}
	for range 10 {
		g.send("GET", "/pay")
	}
	ejected("2")
	one.take()
	two.take()
	reset := func(gen translate.Generation) {
		t.Helper()
		u, err := translate.Service(s, gen)
		if err != nil {
			t.Fatal(err)
		}
		g.publish([]*translate.Unit{u})
	}
	modified := g.stat("cluster_manager.cluster_modified")
	reset(translate.Generation{Hosts: map[string]uint64{one.Listener.Addr().String(): 1}})
	ejected("1")
	if got := g.stat("cluster_manager.cluster_modified"); got != modified {
		t.Errorf("the reset of a host has replaced the cluster: %s, before %s", got, modified)
	}
	g.waitFor("a request to reach the host", func() error {
		if a := g.send("GET", "/pay"); a.header.Get("X-Circuit-Breaker") != "" {
			return fmt.Errorf("%s", a.body)
		}
		return nil
	})
	if len(one.take()) == 0 || len(two.take()) != 0 {
		t.Error("the host that was not reset got the request")
	}
	reset(translate.Generation{Cluster: 1, Hosts: map[string]uint64{one.Listener.Addr().String(): 1}})
	ejected("0")
}

func TestHealthCheck(t *testing.T) {
	t.Parallel()
	up := startUpstream(t)
	s := service("pay", up.host(t))
	s.HealthCheck = &policy.HealthCheck{
		Path: "/health", Interval: 20 * time.Millisecond, Timeout: time.Second,
		HealthyThreshold: 1, UnhealthyThreshold: 1,
	}
	s.Upstream.Hosts = append(s.Upstream.Hosts, policy.Host{Name: "localhost", Port: s.Upstream.Hosts[0].Port})
	byAddress := service("quick", up.host(t))
	byAddress.HealthCheck = s.HealthCheck
	g := startGateway(t, testGateway(), s, byAddress)
	hosts := map[string]bool{}
	g.waitFor("health checks", func() error {
		for _, r := range up.take() {
			if r.URL.Path == "/health" {
				hosts[r.Host] = true
			}
		}
		if !hosts["localhost"] || !hosts["quick"] || len(hosts) != 2 {
			return fmt.Errorf("checks with the hosts %v, want the DNS name and the service's", hosts)
		}
		return nil
	})

	// Ejected is ejected, however well the check goes.
	up.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	if !g.ejected("quick") {
		t.Error("not ejected")
	}
	before := len(up.take())
	g.waitFor("further checks", func() error {
		if before += len(up.take()); before < 20 {
			return fmt.Errorf("%d", before)
		}
		return nil
	})
	if a := g.send("GET", "/quick"); a.header.Get("X-Circuit-Breaker") != "open" {
		t.Errorf("a passing check has ended the ejection: %d", a.status)
	}

	up.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	g.waitFor("the host to be out", func() error {
		if a := g.send("GET", "/pay"); a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("status %d", a.status)
		}
		return nil
	})
	wantReply(t, g.send("GET", "/pay"), http.StatusServiceUnavailable, "circuit_open", "pay")
}

func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	// The kernel accepts for a listener that does not, and the TLS handshake gets no answer.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := service("pay", hostOf(t, l.Addr().String()))
	s.Upstream.Scheme = policy.SchemeHTTPS
	s.Upstream.TLS = &policy.TLS{ServerName: "pay.example"}
	s.Timeout.Connect = 50 * time.Millisecond
	g := startGateway(t, testGateway(), s)
	start := time.Now()
	wantReply(t, g.send("GET", "/pay"), http.StatusServiceUnavailable, "connect_failure", "pay")
	if took := time.Since(start); took < 40*time.Millisecond || took > 5*time.Second {
		t.Errorf("after %s, want 50 ms", took)
	}
}
