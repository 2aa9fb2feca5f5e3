package page

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/test/envoytest"
)

// front is the bootstrap of an Envoy that ends TLS before the page: its port, certificate, key, and the page's port. To
// ops.example it passes the host on, as is advised; to hidden.example it puts its own in that place.
const front = `{
  "static_resources": {
    "listeners": [{
      "name": "front",
      "address": {"socket_address": {"address": "127.0.0.1", "port_value": %[1]d}},
      "filter_chains": [{
        "transport_socket": {"name": "tls", "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
          "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": {"inline_string": %[2]s}, "private_key": {"inline_string": %[3]s}}]
          }
        }},
        "filters": [{"name": "http", "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
          "stat_prefix": "front",
          "route_config": {"virtual_hosts": [
            {"name": "kept", "domains": ["ops.example:*"], "routes": [
              {"match": {"prefix": "/"}, "route": {"cluster": "page", "timeout": "0s"}}
            ]},
            {"name": "rewritten", "domains": ["hidden.example:*"], "routes": [
              {"match": {"prefix": "/"}, "route": {"cluster": "page", "timeout": "0s", "host_rewrite_literal": "127.0.0.1:%[4]s"}}
            ]}
          ]},
          "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
        }}]
      }]
    }],
    "clusters": [{
      "name": "page",
      "load_assignment": {"cluster_name": "page", "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %[4]s}}}}
      ]}]}
    }]
  }
}`

// behindTLS returns two addresses of the page at to behind an Envoy that ends TLS: one for whose host the page is
// asked, and one that Breakwater does not hear of.
func behindTLS(t *testing.T, to string) (kept, rewritten string) {
	t.Helper()
	port := envoytest.FreePort(t)
	cert, key := selfSigned(t)
	bootstrap := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(fmt.Appendf(nil, front, port, cert, key, portOf(t, to)), bootstrap); err != nil {
		t.Fatal(err)
	}
	envoytest.StartWith(t, bootstrap, envoytest.Options{Concurrency: 1}).WaitReady(t, serveTimeout)
	return fmt.Sprintf("https://ops.example:%d", port), fmt.Sprintf("https://hidden.example:%d", port)
}

// selfSigned returns a certificate that nobody vouches for and its key, as JSON strings of PEM.
func selfSigned(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"*.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(kind string, der []byte) []byte {
		text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	return quote("CERTIFICATE", der), quote("PRIVATE KEY", private)
}
