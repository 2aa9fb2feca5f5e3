package adminclient_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminclient"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/test/shop"
)

// deadline bounds what a test waits for.
const deadline = 20 * time.Second

func newClient(t *testing.T, server string) *adminclient.Client {
	t.Helper()
	c, err := adminclient.New(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestOnShop acts on the example behind a real Envoy, and watches what becomes of it.
func TestOnShop(t *testing.T) {
	t.Parallel()
	s := shop.Start(t)
	c := newClient(t, s.GRPC)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()

	all, err := c.Breakers(ctx)
	if err != nil || len(all) != 7 {
		t.Fatalf("%d breakers, %v; want seven", len(all), err)
	}
	if _, err := c.Breaker(ctx, "no-service"); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown service: %v", err)
	}
	if err := c.Reset(ctx, "no-service", adminclient.Action{}); status.Code(err) != codes.NotFound {
		t.Errorf("the reset of an unknown service: %v", err)
	}

	states := make(chan string, 100)
	watching := make(chan error, 1)
	watch, stop := context.WithCancel(ctx)
	go func() {
		watching <- c.Watch(watch, func(change adminclient.Change) error {
			for _, b := range change.Breakers {
				if b.GetService() != "fraud-service" {
					t.Errorf("%s is watched too", b.GetService())
				}
				states <- b.GetState()
			}
			return change.Lost
		}, "fraud-service")
	}()
	until := func(want string) {
		t.Helper()
		for {
			select {
			case got := <-states:
				if got == want {
					return
				}
			case err := <-watching:
				t.Fatalf("the watch ended before %s: %v", want, err)
			case <-ctx.Done():
				t.Fatalf("no %s was told", want)
			}
		}
	}
	until("closed")
	by := adminclient.Action{Actor: "a test", Reason: "to see", TTL: time.Minute}
	for _, step := range []struct {
		act   func(context.Context, string, adminclient.Action) error
		state string
	}{
		{c.ForceOpen, "forced_open"},
		{c.Release, "closed"},
		{c.Disable, "disabled"},
		{c.Reset, "closed"},
	} {
		if err := step.act(ctx, "fraud-service", by); err != nil {
			t.Fatalf("to %s: %v", step.state, err)
		}
		until(step.state)
		b, err := c.Breaker(ctx, "fraud-service")
		if err != nil || b.GetState() != step.state {
			t.Errorf("the breaker is %s, %v; want %s", b.GetState(), err, step.state)
		}
	}
	events, err := c.API().ListEvents(ctx, &adminpb.ListEventsRequest{Service: "fraud-service"})
	if err != nil || len(events.GetEvents()) == 0 || !strings.Contains(events.String(), "a test") {
		t.Errorf("the events do not name who acted: %v, %v", events, err)
	}
	stop()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ends with %v", err)
	}
}

// server is a Breakwater that proves nothing.
type server struct {
	adminpb.UnimplementedAdminServiceServer
	watches atomic.Int32
}

func (s *server) ResetBreaker(context.Context, *adminpb.ResetBreakerRequest) (*adminpb.ResetBreakerResponse, error) {
	return &adminpb.ResetBreakerResponse{Proxies: []*adminpb.ProxyReset{
		{Proxy: "edge-1"}, {Proxy: "edge-3", Error: "gone"}, {Proxy: "edge-2", Error: "no answer"},
	}}, nil
}

func (s *server) WatchBreakers(_ *adminpb.WatchBreakersRequest, stream grpc.ServerStreamingServer[adminpb.WatchBreakersResponse]) error {
	if s.watches.Add(1) == 4 {
		return status.Error(codes.PermissionDenied, "not any more")
	}
	return stream.Send(&adminpb.WatchBreakersResponse{Snapshot: true})
}

func (s *server) serve(t *testing.T) string {
	t.Helper()
	return s.serveOn(t, "tcp", "127.0.0.1:0")
}

func (s *server) serveOn(t *testing.T, network, addr string) string {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	adminpb.RegisterAdminServiceServer(g, s)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestUnproved(t *testing.T) {
	t.Parallel()
	c := newClient(t, (&server{}).serve(t))
	err := c.Reset(t.Context(), "svc", adminclient.Action{})
	var unproved *adminclient.UnprovedError
	if !errors.As(err, &unproved) || len(unproved.Proxies) != 2 {
		t.Fatalf("the reset ends with %v", err)
	}
	if want := "reset svc is not proved by every proxy: edge-2: no answer; edge-3: gone"; err.Error() != want {
		t.Errorf("it says %q, want %q", err, want)
	}
}

// TestWatchGoesOn: a watch that the server ends is begun anew, and is told as lost; a refusal ends it.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	c := newClient(t, (&server{}).serve(t))
	var told []string
	err := c.Watch(t.Context(), func(change adminclient.Change) error {
		if change.Lost != nil {
			told = append(told, "lost")
		} else if change.Snapshot {
			told = append(told, "snapshot")
		}
		return nil
	})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the watch ends with %v", err)
	}
	if got, want := strings.Join(told, " "), "snapshot lost snapshot lost snapshot lost"; got != want {
		t.Errorf("told were %s, want %s", got, want)
	}

	own := errors.New("enough")
	if err := c.Watch(t.Context(), func(adminclient.Change) error { return own }); !errors.Is(err, own) {
		t.Errorf("the watch ends with %v, want the error of who was told", err)
	}
}

// TestTargets: a server is named as callers of gRPC name one.
func TestTargets(t *testing.T) {
	t.Parallel()
	tcp, socket := (&server{}).serve(t), (&server{}).serveOn(t, "unix", filepath.Join(t.TempDir(), "s"))
	_, port, err := net.SplitHostPort(tcp)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{tcp, "localhost:" + port, "dns:///" + tcp, "dns:" + tcp, "passthrough:///" + tcp, "unix:" + socket, "unix://" + socket} {
		var unproved *adminclient.UnprovedError // what this server answers
		if err := newClient(t, target).Reset(t.Context(), "svc", adminclient.Action{}); !errors.As(err, &unproved) {
			t.Errorf("%s: %v", target, err)
		}
	}
	for _, target := range []string{"nowhere", "", "127.0.0.1"} {
		if _, err := adminclient.New(target); err == nil {
			t.Errorf("the server %q is accepted", target)
		}
	}
}
