package admin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a Server on two free ports of loopback.
type running struct {
	grpcAddr string
	url      string
	client   adminpb.AdminServiceClient
	conn     *grpc.ClientConn
	// stop ends the server and waits for it. It may be called more than once.
	stop func()
}

// start serves model until the test ends. It fails the test if serving fails.
func start(t *testing.T, opts admin.Options) *running {
	t.Helper()
	server, err := admin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 2)
	run := &running{}
	for _, way := range []struct {
		addr  *string
		serve func(context.Context, net.Listener) error
	}{{&run.grpcAddr, server.ServeGRPC}, {&run.url, server.ServeHTTP}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*way.addr = l.Addr().String()
		go func() { served <- way.serve(ctx, l) }()
	}
	run.url = "http://" + run.url
	run.conn, err = grpc.NewClient(run.grpcAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	run.client = adminpb.NewAdminServiceClient(run.conn)
	stopped := false
	run.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		for range cap(served) {
			if err := <-served; err != nil {
				t.Errorf("serving ended with %v", err)
			}
		}
	}
	t.Cleanup(func() {
		_ = run.conn.Close()
		http.DefaultClient.CloseIdleConnections()
		run.stop()
	})
	return run
}

// eventually waits until ok or fails with the last state.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestStopEndsOpenStreams(t *testing.T) {
	model := newFakeModel()
	// The health stream ends only with its client, so stopping takes the whole grace period.
	run := start(t, admin.Options{Model: model, GracePeriod: 300 * time.Millisecond})
	watch, err := run.client.WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	healthy, err := healthpb.NewHealthClient(run.conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "breakwater.admin.v1.AdminService"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := healthy.Recv(); err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("health is %v, %v", got, err)
	}
	resp, err := http.Get(run.url + "/api/v1/breakers:watch")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}

	begin := time.Now()
	run.stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the gRPC stream ended with %v, want Unavailable", err)
	}
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("the HTTP stream ended with %q, %v", rest, err)
	}
	if n := model.watching(); n != 0 {
		t.Errorf("%d watches of the model are left", n)
	}
}

func TestStopCutsHangingCallsOff(t *testing.T) {
	model := newFakeModel()
	model.block = make(chan struct{})
	run := start(t, admin.Options{Model: model, GracePeriod: 100 * time.Millisecond})
	answered := make(chan error, 2)
	go func() {
		_, err := run.client.ListBreakers(context.WithoutCancel(t.Context()), &adminpb.ListBreakersRequest{})
		answered <- err
	}()
	go func() {
		resp, err := http.Get(run.url + "/api/v1/breakers")
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			err = errors.Join(err, resp.Body.Close())
		}
		answered <- err
	}()
	eventually(t, "both calls hang in the model", func() bool { return model.blocked.Load() == 2 })
	run.stop()
	for range 2 {
		if err := <-answered; err == nil {
			t.Error("a hanging call was answered")
		}
	}
}

func TestNewRefusesWhatItCanNotServe(t *testing.T) {
	if _, err := admin.New(admin.Options{}); err == nil {
		t.Error("no error without a model")
	}
	reg := prometheus.NewRegistry()
	for i, want := range []bool{true, false} {
		_, err := admin.New(admin.Options{Model: newFakeModel(), Registerer: reg})
		if ok := err == nil; ok != want {
			t.Errorf("server %d on one registry: %v", i+1, err)
		}
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	server, err := admin.New(admin.Options{Model: newFakeModel()})
	if err != nil {
		t.Fatal(err)
	}
	for name, serve := range map[string]func(context.Context, net.Listener) error{"gRPC": server.ServeGRPC, "HTTP": server.ServeHTTP} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if err := serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s on a closed listener: %v", name, err)
		}
	}
}

// A server that is stopped before it has begun has not failed.
func TestServeOfADoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // whether it has begun is up to the scheduler
		server, err := admin.New(admin.Options{Model: newFakeModel()})
		if err != nil {
			t.Fatal(err)
		}
		for _, serve := range []func(context.Context, net.Listener) error{server.ServeGRPC, server.ServeHTTP} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := serve(ctx, l); err != nil {
				t.Fatal(err)
			}
		}
	}
}
