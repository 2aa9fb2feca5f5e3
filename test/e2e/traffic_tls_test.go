package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA of a test's own.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	ca := &authority{t: t, dir: t.TempDir(), key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.file = ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (ca *authority) write(name, kind string, der []byte) string {
	ca.t.Helper()
	path := filepath.Join(ca.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return path
}

// issue signs a certificate for servers and clients that is valid until then, for these names and addresses.
// It is also in the files.
func (ca *authority) issue(until time.Time, names ...string) (pair tls.Certificate, certFile, keyFile string) {
	ca.t.Helper()
	key := newKey(ca.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	serial := template.SerialNumber.String()
	certFile, keyFile = ca.write(serial+".pem", "CERTIFICATE", der), ca.write(serial+".key", "EC PRIVATE KEY", keyDER)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certFile, keyFile
}

// server starts a backend with a certificate of the authority's, after these changes.
func (ca *authority) server(until time.Time, names []string, change ...func(*tls.Config)) *backend {
	ca.t.Helper()
	pair, _, _ := ca.issue(until, names...)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	for _, c := range change {
		c(config)
	}
	return newBackend(ca.t, func(w http.ResponseWriter, r *http.Request) {
		client := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			client = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, _ = fmt.Fprintf(w, "%s over %s for %q, client %s", r.Proto, r.TLS.NegotiatedProtocol, r.TLS.ServerName, client)
	}, func(s *httptest.Server) { s.TLS = config })
}

func TestTLSUpstreams(t *testing.T) {
	t.Parallel()
	valid, expired := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	ca, other := newAuthority(t, "right"), newAuthority(t, "other")
	named := ca.server(valid, []string{"pay.test"})
	wildcard := ca.server(valid, []string{"*.shop.test"})
	addressed := ca.server(valid, []string{"127.0.0.1"})
	late := ca.server(expired, []string{"pay.test", "127.0.0.1"})
	old := ca.server(valid, []string{"pay.test"}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = 0, tls.VersionTLS11 })
	demanding := ca.server(valid, []string{"pay.test"}, func(c *tls.Config) {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(ca.cert)
	})
	_, certFile, keyFile := ca.issue(valid, "gateway.test")
	_, otherCert, otherKey := other.issue(valid, "gateway.test")

	tests := []struct {
		service, scheme string
		backend         *backend
		tls             string
		body            string // of 200; empty: the handshake fails
		reason          string // of the failure, as Envoy words it
	}{
		{
			service: "right", scheme: "https", backend: named, tls: "ca_file: " + ca.file + ", server_name: pay.test",
			body: `HTTP/1.1 over http/1.1 for "pay.test", client nobody`,
		},
		{
			service: "http2", scheme: "h2", backend: named, tls: "ca_file: " + ca.file + ", server_name: pay.test",
			body: `HTTP/2.0 over h2 for "pay.test", client nobody`,
		},
		{
			service: "wildcard", scheme: "https", backend: wildcard, tls: "ca_file: " + ca.file + ", server_name: eu.shop.test",
			body: `HTTP/1.1 over http/1.1 for "eu.shop.test", client nobody`,
		},
		{
			service: "address", scheme: "https", backend: addressed, tls: "ca_file: " + ca.file,
			body: `HTTP/1.1 over http/1.1 for "", client nobody`,
		},
		{
			service: "client", scheme: "https", backend: demanding, tls: "ca_file: " + ca.file + ", server_name: pay.test, cert_file: " + certFile + ", key_file: " + keyFile,
			body: `HTTP/1.1 over http/1.1 for "pay.test", client gateway.test`,
		},

		{
			service: "other-ca", scheme: "https", backend: named, tls: "ca_file: " + other.file + ", server_name: pay.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "other-ca-http2", scheme: "h2", backend: named, tls: "ca_file: " + other.file + ", server_name: pay.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "system-ca", scheme: "https", backend: named, tls: "server_name: pay.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "other-name", scheme: "https", backend: named, tls: "ca_file: " + ca.file + ", server_name: other.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "below-wildcard", scheme: "https", backend: wildcard, tls: "ca_file: " + ca.file + ", server_name: a.b.shop.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "no-address", scheme: "https", backend: named, tls: "ca_file: " + ca.file,
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "expired", scheme: "https", backend: late, tls: "ca_file: " + ca.file + ", server_name: pay.test",
			reason: "CERTIFICATE_VERIFY_FAILED",
		},
		{
			service: "old", scheme: "https", backend: old, tls: "ca_file: " + ca.file + ", server_name: pay.test",
			reason: "TLS_error",
		},
		{service: "no-client", scheme: "https", backend: demanding, tls: "ca_file: " + ca.file + ", server_name: pay.test"},
		{service: "other-client", scheme: "https", backend: demanding, tls: "ca_file: " + ca.file + ", server_name: pay.test, cert_file: " + otherCert + ", key_file: " + otherKey},
	}
	docs := make([]string, len(tests))
	for i, tt := range tests {
		docs[i] = at(tt.service, tt.scheme+"://"+tt.backend.addr, "retry: off", "tls: {"+tt.tls+"}")
	}
	s := newStack(t, policies(docs...))
	for _, tt := range tests {
		r := s.get("/" + tt.service)
		got := tt.backend.take()
		if tt.body != "" {
			if r.status != http.StatusOK || r.body != tt.body {
				t.Errorf("%s: %d: %s; want 200 %s", tt.service, r.status, r.body, tt.body)
			}
			continue
		}
		if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, tt.reason) {
			t.Errorf("%s: %d: %s; want 503 and %q", tt.service, r.status, r.body, tt.reason)
		}
		if len(got) != 0 {
			t.Errorf("%s: %d requests reached the service", tt.service, len(got))
		}
	}
}
