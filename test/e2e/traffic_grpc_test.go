package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcBackend is a real gRPC server of the health service. Check and Watch end with a code that the test
// sets: Check by trailers alone, Watch by trailers after a message.
type grpcBackend struct {
	healthpb.UnimplementedHealthServer

	addr  string
	code  atomic.Uint32
	calls atomic.Int64
}

func newGRPCBackend(t *testing.T, code codes.Code) *grpcBackend {
	t.Helper()
	b := &grpcBackend{}
	b.code.Store(uint32(code))
	b.addr = serveHealth(t, b)
	return b
}

// serveHealth serves the health service until the test ends, and returns its address.
func serveHealth(t *testing.T, b healthpb.HealthServer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, b)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func (b *grpcBackend) String() string { return "grpc://" + b.addr }

func (b *grpcBackend) err() error {
	b.calls.Add(1)
	return status.Error(codes.Code(b.code.Load()), "as told")
}

func (b *grpcBackend) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, b.err()
}

func (b *grpcBackend) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	if err := stream.Send(&healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}); err != nil {
		return err
	}
	return b.err()
}

// grpcClient is a client of the gateway that asks for the host of a service's name.
func (s *stack) grpcClient(service string) healthpb.HealthClient {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.gateway, grpc.WithAuthority(service),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return healthpb.NewHealthClient(conn)
}

// unary calls Check. It returns the status and the header x-circuit-breaker of the reply.
func unary(ctx context.Context, c healthpb.HealthClient) (code codes.Code, breaker string) {
	var header, trailer metadata.MD
	_, err := c.Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	return status.Code(err), strings.Join(metadata.Join(header, trailer).Get("x-circuit-breaker"), ",")
}

// streaming calls Watch, as unary does Check. A message comes before the status.
func streaming(ctx context.Context, c healthpb.HealthClient) (code codes.Code, breaker string) {
	stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if stream == nil {
		return status.Code(err), ""
	}
	header, _ := stream.Header()
	breaker = strings.Join(metadata.Join(header, stream.Trailer()).Get("x-circuit-breaker"), ",")
	if errors.Is(err, io.EOF) {
		return codes.OK, breaker
	}
	return status.Code(err), breaker
}

func TestGRPCStatusesOpenTheBreaker(t *testing.T) {
	t.Parallel()
	names := []string{"unary", "mixed", "unknown"}
	backends := map[string]*grpcBackend{}
	var docs []string
	for _, name := range names {
		backends[name] = newGRPCBackend(t, codes.OK)
		docs = append(docs, "service: "+name+"\nupstream: "+backends[name].String()+"\nbreaker: {failure_threshold: 4}\n")
	}
	s := newStack(t, policies(docs...))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	type call = func(context.Context, healthpb.HealthClient) (codes.Code, string)
	for _, tt := range []struct {
		service string
		call    call
		code    codes.Code
		failure bool
	}{
		{"unary", unary, codes.Unavailable, true},
		// What the caller is to blame for is no failure of the host's.
		{"mixed", unary, codes.NotFound, false},
		{"mixed", streaming, codes.InvalidArgument, false},
		{"unknown", unary, codes.Internal, true},
	} {
		client, b := s.grpcClient(tt.service), backends[tt.service]
		b.code.Store(uint32(codes.OK))
		for range 10 {
			if code, breaker := tt.call(ctx, client); code != codes.OK || breaker != "" {
				t.Fatalf("%s: a healthy service: %v, breaker %q", tt.service, code, breaker)
			}
		}
		before := b.calls.Load()
		b.code.Store(uint32(tt.code))
		for i := range 4 {
			if code, breaker := tt.call(ctx, client); code != tt.code || breaker != "" {
				t.Errorf("%s: call %d: %v, breaker %q; want the service's own %v", tt.service, i+1, code, breaker, tt.code)
			}
		}
		if !tt.failure {
			for range 10 {
				tt.call(ctx, client)
			}
			if got := s.ejected(tt.service); len(got) != 0 {
				t.Errorf("%s: ejected for %v: %v", tt.service, tt.code, got)
			}
			continue
		}
		s.untilAllEjected(tt.service, 1)
		for range 3 {
			if code, breaker := tt.call(ctx, client); code != codes.Unavailable || breaker != "open" {
				t.Errorf("%s: an open breaker answers %v, breaker %q", tt.service, code, breaker)
			}
		}
		if got := b.calls.Load() - before; got != 4 {
			t.Errorf("%s: %d calls reached the service, want 4", tt.service, got)
		}
	}
}

// Envoy's outlier detection judges a reply by its headers: a status that comes in trailers after a message ejects
// nobody (https://github.com/envoyproxy/envoy/issues/8228). Envoy counts it as an error of the host all the same,
// which is what load reports carry.
func TestGRPCStatusAfterAMessageIsAnErrorButEjectsNobody(t *testing.T) {
	t.Parallel()
	b := newGRPCBackend(t, codes.OK)
	s := newStack(t, policies("service: svc\nupstream: "+b.String()+"\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := s.grpcClient("svc")
	const good, bad = 3, 12
	for i := range good + bad {
		want := codes.OK
		if i >= good {
			want = codes.Unavailable
		}
		b.code.Store(uint32(want))
		if code, breaker := streaming(ctx, client); code != want || breaker != "" {
			t.Errorf("stream %d: %v, breaker %q; want the service's own %v", i+1, code, breaker, want)
		}
	}
	s.until("Envoy has counted the errors", func() error {
		status, err := s.envoy.Admin().Clusters(t.Context(), "svc")
		if err != nil {
			return err
		}
		host := hostStates(status.GetClusterStatuses()[0])[0]
		if host.Requests != good+bad || host.Errors != bad || host.Ejected {
			return fmt.Errorf("%+v", host)
		}
		return nil
	})
}

// The schemes choose the protocol: HTTP/1.1 for http, HTTP/2 with prior knowledge for h2c.
func TestProtocolOfClearTextUpstreams(t *testing.T) {
	t.Parallel()
	u := newBackend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	s := newStack(t, policies(at("one", "http://"+u.addr), at("two", "h2c://"+u.addr)))
	for path, proto := range map[string]string{"/one": "HTTP/1.1", "/two": "HTTP/2.0"} {
		if r := s.get(path); r.status != http.StatusOK || r.body != proto {
			t.Errorf("%s: %d over %q, want %s", path, r.status, r.body, proto)
		}
	}
}
