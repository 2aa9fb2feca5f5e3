package page

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// loseProxy has a proxy named edge-9, of a node cluster of its own, connect and go.
func loseProxy(t *testing.T, to shop.Addrs) {
	t.Helper()
	conn, err := grpc.NewClient(to.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node:    &corev3.Node{Id: "edge-9", Cluster: "spare"},
		TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener",
	}); err != nil {
		t.Fatal(err)
	}
	// Once it is answered it is known.
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, serveTimeout, "edge-9 is disconnected", func() error {
		resp, err := http.Get("http://" + to.HTTP + "/api/v1/proxies")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(body), `"missed":[{"id":"edge-9","node_cluster":"spare"`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}
