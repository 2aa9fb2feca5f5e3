package envoy_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const runtimeType = "type.googleapis.com/envoy.service.runtime.v3.Runtime"

// ads is a control plane with no clusters, no listeners and empty runtime layers.
type ads struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	// layers are the fields of each runtime layer, by its name.
	layers map[string]map[string]any
	// streams is the number of streams that were opened.
	streams atomic.Int64
	server  *grpc.Server
}

// startADS serves on addr until the test ends or stop is called.
func startADS(t *testing.T, addr string, layers map[string]map[string]any) (a *ads, listening string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	a = &ads{layers: layers, server: grpc.NewServer(grpc.KeepaliveEnforcementPolicy(
		keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}))}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(a.server, a)
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(l) }()
	t.Cleanup(func() {
		a.server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("control plane: %v", err)
		}
	})
	return a, l.Addr().String()
}

// stop closes the listener and every connection, as a killed control plane would.
func (a *ads) stop() { a.server.Stop() }

func (a *ads) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	a.streams.Add(1)
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		if req.GetResponseNonce() != "" {
			continue // an ACK or a NACK
		}
		resp := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: req.GetTypeUrl(), Nonce: "1"}
		if req.GetTypeUrl() == runtimeType {
			for _, name := range req.GetResourceNamesSubscribe() {
				r, err := a.layer(name)
				if err != nil {
					return err
				}
				resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: name, Version: "1", Resource: r})
			}
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

func (a *ads) layer(name string) (*anypb.Any, error) {
	fields, err := structpb.NewStruct(a.layers[name])
	if err != nil {
		return nil, err
	}
	return anypb.New(&runtimev3.Runtime{Name: name, Layer: fields})
}
