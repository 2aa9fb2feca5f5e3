package translate_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/breakwater/breakwater/policy"
)

// writePEM writes a block to a file of its own and returns the path.
func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startTLSUpstream serves HTTPS, with HTTP/2, and says the request's protocol and Host.
// Its certificate is for example.com, *.example.com and 127.0.0.1.
func startTLSUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Host, r.TLS.ServerName, len(r.TLS.PeerCertificates))
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the test's
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLSUpstreams(t *testing.T) {
	t.Parallel()
	up := startTLSUpstream(t)
	own := up.TLS.Certificates[0]
	ca := writePEM(t, "ca.pem", "CERTIFICATE", own.Certificate[0])
	der, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := writePEM(t, "key.pem", "PRIVATE KEY", der)

	tests := []struct {
		name   string
		scheme policy.Scheme
		tls    policy.TLS
		want   string // empty: the connection is refused
	}{
		{"name", policy.SchemeHTTPS, policy.TLS{ServerName: "example.com", CAFile: ca}, "HTTP/1.1 example.com example.com 0"},
		{"h2", policy.SchemeH2, policy.TLS{ServerName: "example.com", CAFile: ca}, "HTTP/2.0 example.com example.com 0"},
		{"address", policy.SchemeHTTPS, policy.TLS{CAFile: ca}, "HTTP/1.1 shop.example  0"},
		{"wildcard", policy.SchemeHTTPS, policy.TLS{ServerName: "a.example.com", CAFile: ca}, "HTTP/1.1 a.example.com a.example.com 0"},
		{"client", policy.SchemeHTTPS, policy.TLS{ServerName: "example.com", CAFile: ca, CertFile: ca, KeyFile: key}, "HTTP/1.1 example.com example.com 1"},
		{"othername", policy.SchemeHTTPS, policy.TLS{ServerName: "other.example", CAFile: ca}, ""},
		{"otherca", policy.SchemeHTTPS, policy.TLS{ServerName: "example.com"}, ""},
	}
	var services []*policy.Service
	for _, tt := range tests {
		s := service(tt.name, hostOf(t, up.Listener.Addr().String()))
		s.Upstream.Scheme, s.Upstream.TLS = tt.scheme, &tt.tls
		services = append(services, s)
	}
	g := startGateway(t, testGateway(), services...)
	for _, tt := range tests {
		a := g.sendTo("shop.example", "/"+tt.name)
		if tt.want == "" {
			wantReply(t, a, http.StatusServiceUnavailable, "connect_failure", tt.name)
		} else if a.body != tt.want {
			t.Errorf("%s: %d %q, want %q", tt.name, a.status, a.body, tt.want)
		}
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	t.Parallel()
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	s := service("pay", hostOf(t, up.Listener.Addr().String()))
	s.Upstream.Scheme = policy.SchemeH2C
	g := startGateway(t, testGateway(), s)
	if a := g.send("GET", "/pay"); a.body != "HTTP/2.0" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// A gRPC failure has the HTTP status 200: what counts is grpc-status.
func TestGRPCStatusCounts(t *testing.T) {
	t.Parallel()
	var code atomic.Int32
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", fmt.Sprint(code.Load()))
	}))
	up.Config.Protocols = new(http.Protocols)
	up.Config.Protocols.SetUnencryptedHTTP2(true)
	up.Start()
	t.Cleanup(up.Close)
	var services []*policy.Service
	for _, name := range []string{"plain", "matched"} {
		s := service(name, hostOf(t, up.Listener.Addr().String()))
		s.Upstream.Scheme = policy.SchemeGRPC
		services = append(services, s)
	}
	services[1].Breaker.Errors = []policy.StatusRange{{From: 500, To: 599}}
	g := startGateway(t, testGateway(), services...)
	for _, name := range []string{"plain", "matched"} {
		for _, tt := range []struct {
			code int32
			out  string
		}{{0, "0"}, {5, "0"}, {14, "1"}} {
			code.Store(tt.code)
			for range 5 {
				g.send("POST", "/"+name, "content-type", "application/grpc")
			}
			if got := g.clusterStat(name, "outlier_detection.ejections_active"); got != tt.out {
				t.Errorf("%s: after five times grpc-status %d: %s hosts ejected, want %s", name, tt.code, got, tt.out)
			}
		}
	}
}

func TestGRPCHealthCheck(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	checks := health.NewServer()
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, checks)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	s := service("pay", hostOf(t, l.Addr().String()))
	s.Upstream.Scheme = policy.SchemeGRPC
	s.HealthCheck = &policy.HealthCheck{
		Interval: 20 * time.Millisecond, Timeout: time.Second, HealthyThreshold: 1, UnhealthyThreshold: 1,
	}
	g := startGateway(t, testGateway(), s)
	healthy := func(want string) {
		t.Helper()
		g.waitFor(want+" healthy hosts", func() error {
			if n := g.clusterStat("pay", "membership_healthy"); n != want {
				return fmt.Errorf("%s", n)
			}
			return nil
		})
	}
	healthy("1")
	checks.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthy("0")
}
