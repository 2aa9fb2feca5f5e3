package shop

import (
	"errors"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// StartPlane is Start with `breakwater serve`, to which args are given, in the place of `breakwater run`. It has no
// Envoy: see StartEnvoy.
func StartPlane(t testing.TB, args ...string) *Shop {
	t.Helper()
	s := open(t)
	s.run = s.launch(t, append([]string{"serve", "--policies", "examples/shop"}, args...)...)
	s.untilServed(t, "http://"+s.HTTP+"/readyz")
	return s
}

// StartEnvoy starts an Envoy from what `breakwater bootstrap` prints, beside those that the shop has, and waits until
// it serves. All listen on the gateway's address: the kernel chooses one for each connection.
func (s *Shop) StartEnvoy(t testing.TB, id string) *envoytest.Process {
	t.Helper()
	admin := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t))))
	out := s.Breakwater(t, "bootstrap", "--node-id", id, "--xds", s.XDS, "--admin", admin, "-o", "json")
	bootstrap := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal([]byte(out), bootstrap); err != nil {
		t.Fatalf("the bootstrap: %v", err)
	}
	e := envoytest.StartWith(t, bootstrap, envoytest.Options{Concurrency: 1})
	e.WaitReady(t, startTimeout)
	return e
}

// Through sends n requests for a path of the gateway through that Envoy, whatever they are answered.
func (s *Shop) Through(t testing.TB, e *envoytest.Process, path string, n int) {
	t.Helper()
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: 30 * time.Second, Transport: transport}
	envoytest.Eventually(t, startTimeout, "a connection ends at that Envoy", func() error {
		before := connections(t, e)
		// No service has this path: no breaker sees the request.
		if err := ask(t, client, "http://"+s.Gateway+"/nowhere"); err != nil {
			return err
		}
		if connections(t, e) == before {
			transport.CloseIdleConnections()
			return errors.New("it ends at another")
		}
		return nil
	})
	for range n {
		if err := ask(t, client, "http://"+s.Gateway+path); err != nil {
			t.Fatal(err)
		}
	}
}

// connections is how many connections that Envoy's gateway has accepted.
func connections(t testing.TB, e *envoytest.Process) uint64 {
	t.Helper()
	const name = "http." + envoy.GatewayName + ".downstream_cx_total"
	stats, err := e.Admin().Stats(t.Context(), envoy.StatsQuery{Filter: "^" + regexp.QuoteMeta(name) + "$"})
	if err != nil {
		t.Fatal(err)
	}
	return stats[name]
}

// ask sends a GET request, to which any answer is good.
func ask(t testing.TB, client *http.Client, url string) error {
	t.Helper()
	_, _, err := fetch(t.Context(), client, url)
	return err
}
