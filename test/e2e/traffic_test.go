package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// oneHost is a policy of one service at an address, with these further lines.
func oneHost(upstream string, lines ...string) string {
	return fmt.Sprintf("service: svc\nupstream: %s\nroutes: [{prefix: /svc}]\n%s\n", upstream, strings.Join(lines, "\n"))
}

func TestOnlyIdempotentMethodsAreRetried(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	u.Behave(envoytest.Behaviour{Status: http.StatusServiceUnavailable})
	s := newStack(t, map[string]string{"svc.yaml": oneHost(u.Addr(),
		"retry: {max_retries: 2, base_delay: 1ms, max_delay: 10ms}",
		"breaker: {failure_threshold: 50}")})
	for method, want := range map[string]int{http.MethodGet: 3, http.MethodPut: 3, http.MethodPost: 1, http.MethodPatch: 1} {
		before := u.Requests()
		if r := s.do(method, "/svc", nil); r.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", method, r.status)
		}
		if got := u.Requests() - before; got != want {
			t.Errorf("%s: %d attempts, want %d", method, got, want)
		}
	}
}

func TestRefusedConnectionIsRetriedForEveryMethod(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	closed := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	s := newStack(t, map[string]string{"svc.yaml": oneHost(fmt.Sprintf("[%s, %s]", closed, u.Addr()))})
	const requests = 12
	for range requests {
		if r := s.do(http.MethodPost, "/svc", nil); r.status != http.StatusOK {
			t.Errorf("%d: %s", r.status, r.body)
		}
	}
	if got := u.Requests(); got != requests {
		t.Errorf("the live host got %d requests, want each of %d once", got, requests)
	}
}

func TestClosedPortOpensTheBreaker(t *testing.T) {
	t.Parallel()
	closed := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	s := newStack(t, map[string]string{"svc.yaml": oneHost(closed, "retry: off")})
	for i := range 5 {
		r := s.get("/svc")
		if r.status != http.StatusServiceUnavailable || r.header.Get("X-Circuit-Breaker") != "" || !strings.Contains(r.body, "connect_failure") {
			t.Errorf("request %d: %d, breaker %q: %s", i+1, r.status, r.header.Get("X-Circuit-Breaker"), r.body)
		}
	}
	s.until("the host is ejected", func() error {
		if len(s.ejected("svc")) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	if r := s.get("/svc"); r.status != http.StatusServiceUnavailable || r.header.Get("X-Circuit-Breaker") != "open" {
		t.Errorf("after five: %d, breaker %q", r.status, r.header.Get("X-Circuit-Breaker"))
	}
}

func TestBackOffGrowsWithinItsBounds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var arrivals []time.Time
	u := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		arrivals = append(arrivals, time.Now())
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(u.Close)
	s := newStack(t, map[string]string{"svc.yaml": oneHost(u.Listener.Addr().String(),
		"retry: {max_retries: 3, base_delay: 100ms, max_delay: 400ms}",
		"breaker: {failure_threshold: 100}")})
	const requests = 6
	var total time.Duration
	for range requests {
		s.get("/svc")
		mu.Lock()
		if len(arrivals) != 4 {
			t.Errorf("%d attempts, want 4", len(arrivals))
		}
		for i := 1; i < len(arrivals); i++ {
			gap := arrivals[i].Sub(arrivals[i-1])
			total += gap
			// The slack is for a busy machine.
			if gap > 400*time.Millisecond+time.Second {
				t.Errorf("attempt %d came %v after the one before, above max_delay", i+1, gap)
			}
		}
		arrivals = nil
		mu.Unlock()
	}
	// Fully jittered, the three delays are 50, 150 and 200 ms in the mean: 2.4 s in all. A
	// quarter of that is far beyond chance for 18 draws, and out of reach without back-off.
	if total < 600*time.Millisecond {
		t.Errorf("the delays sum up to %v over %d requests", total, requests)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	hung, good := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	hung.Behave(envoytest.Behaviour{Hang: true})
	s := newStack(t, map[string]string{
		"svc.yaml": oneHost(hung.Addr(), "timeout: {request: 300ms}"),
		"two.yaml": fmt.Sprintf("service: two\nupstream: [%s, %s]\nroutes: [{prefix: /two}]\ntimeout: {request: 20s, per_try: 200ms}\n", hung.Addr(), good.Addr()),
	})
	r := s.get("/svc")
	if r.status != http.StatusGatewayTimeout || !strings.Contains(r.body, "upstream_timeout") || r.took < 250*time.Millisecond || r.took > 10*time.Second {
		t.Errorf("a hanging service: %d after %v: %s", r.status, r.took, r.body)
	}
	if got := hung.Requests(); got != 1 {
		t.Errorf("a request that timed out was tried %d times, want once", got)
	}
	for range 4 {
		if r := s.get("/two"); r.status != http.StatusOK || r.body != good.Addr() {
			t.Errorf("per_try with a host that answers: %d from %q", r.status, r.body)
		}
	}
	if hung.Requests() == 1 {
		t.Error("the hanging host was never tried: the test shows nothing")
	}
}

func TestGRPCUnavailableOpensTheBreaker(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": oneHost("grpc://"+u.Addr(), "retry: off")})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	s.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Protocols: protocols}}
	t.Cleanup(s.client.CloseIdleConnections)
	call := func() reply {
		return s.do(http.MethodPost, "/svc/Call", http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}})
	}
	u.Behave(envoytest.Behaviour{GRPC: true})
	for range 8 {
		if r := call(); r.status != http.StatusOK || r.header.Get("Grpc-Status") != "0" {
			t.Fatalf("a healthy service: %d, grpc-status %q", r.status, r.header.Get("Grpc-Status"))
		}
	}
	if got := s.ejected("svc"); len(got) != 0 {
		t.Fatalf("ejected after successes: %v", got)
	}
	u.Behave(envoytest.Behaviour{GRPC: true, GRPCStatus: 14})
	for range 5 {
		if r := call(); r.header.Get("X-Circuit-Breaker") != "" {
			t.Errorf("open before the fifth failure: %v", r.header)
		}
	}
	s.until("the host is ejected", func() error {
		if len(s.ejected("svc")) == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	reached := u.Requests()
	if r := call(); r.header.Get("Grpc-Status") != "14" || r.header.Get("X-Circuit-Breaker") != "open" {
		t.Errorf("an open breaker answers a gRPC call with %v", r.header)
	}
	if u.Requests() != reached {
		t.Error("an open breaker let a call through")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	t.Parallel()
	u := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := io.WriteString(w, "secret"); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(u.Close)
	dir := t.TempDir()
	right, wrong := filepath.Join(dir, "right.pem"), filepath.Join(dir, "wrong.pem")
	writePEM(t, right, u.Certificate().Raw)
	writePEM(t, wrong, otherCA(t))
	file := func(service, ca, name string) string {
		return fmt.Sprintf("service: %s\nupstream: https://%s\nroutes: [{prefix: /%s}]\nretry: off\ntls: {ca_file: %s, server_name: %s}\n",
			service, u.Listener.Addr(), service, ca, name)
	}
	s := newStack(t, map[string]string{
		"good.yaml":  file("good", right, "example.com"),
		"ca.yaml":    file("ca", wrong, "example.com"),
		"named.yaml": file("named", right, "other.example.org"),
	})
	if r := s.get("/good"); r.status != http.StatusOK || r.body != "secret" {
		t.Errorf("the right CA and name: %d: %s", r.status, r.body)
	}
	for _, path := range []string{"/ca", "/named"} {
		if r := s.get(path); r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, "CERTIFICATE_VERIFY_FAILED") {
			t.Errorf("%s: %d: %s; want 503 for a certificate that does not verify", path, r.status, r.body)
		}
	}
}

func writePEM(t *testing.T, path string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// otherCA is a CA that has signed nothing.
func otherCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "other"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestFallbackAndReturnWithoutReset(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": oneHost(u.Addr(), "retry: off",
		"breaker: {failure_threshold: 2, timeout: 2s}",
		`fallback: {status: 203, headers: {x-from: policy}, body: '{"fallback": true}'}`)})
	u.Behave(failing)
	for range 2 {
		if r := s.get("/svc"); r.status != http.StatusInternalServerError {
			t.Errorf("before it opens: %d, want the service's own 500", r.status)
		}
	}
	s.until("the fallback answers", func() error {
		r := s.do(http.MethodPost, "/svc", nil)
		if r.status != 203 || r.header.Get("X-From") != "policy" || r.header.Get("X-Circuit-Breaker") != "fallback" || r.body != `{"fallback": true}` {
			return fmt.Errorf("%d %v %s", r.status, r.header, r.body)
		}
		return nil
	})
	u.Behave(envoytest.Behaviour{})
	s.until("the service is back after its timeout", func() error {
		if r := s.get("/svc"); r.status != http.StatusOK {
			return fmt.Errorf("%d", r.status)
		}
		return nil
	})
	s.untilState("svc", "closed", map[string]string{"e2e": "closed"})
}
