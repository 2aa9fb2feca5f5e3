package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// breakerJSON is the part of a breaker in the API that these tests look at.
type breakerJSON struct {
	State   string `json:"state"`
	Summary string `json:"summary"`
	Proxies []struct {
		Proxy string `json:"proxy"`
		State string `json:"state"`
		Cause string `json:"cause"`
	} `json:"proxies"`
}

func (s *stack) breaker(service string) breakerJSON {
	s.t.Helper()
	var reply struct {
		Breaker breakerJSON `json:"breaker"`
	}
	s.api("/api/v1/breakers/"+service, &reply)
	return reply.Breaker
}

// untilState waits for the states that a service has over all proxies and in each.
func (s *stack) untilState(service, state string, byProxy map[string]string) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s is %s, %v", service, state, byProxy), func() error {
		b := s.breaker(service)
		ok := b.State == state && len(b.Proxies) == len(byProxy)
		for _, p := range b.Proxies {
			ok = ok && byProxy[p.Proxy] == p.State && (p.State == "closed" || p.Cause != "")
		}
		if !ok {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
}

// adminPort lets a node claim that its admin API is at that port.
func adminPort(port uint16) func(*bootstrapv3.Bootstrap) {
	return func(b *bootstrapv3.Bootstrap) {
		b.GetNode().GetMetadata().GetFields()[envoy.MetadataKey].GetStructValue().
			Fields[envoy.MetadataAdminPort] = structpb.NewNumberValue(float64(port))
	}
}

// TestProxiesComeAndGo: a state that can not be seen is unknown, and never closed.
func TestProxiesComeAndGo(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newPlane(t, map[string]string{"svc.yaml": twoHosts(a, b)})
	s.untilState("svc", "unknown", nil)
	if got := s.state("svc"); got != "unknown" {
		t.Errorf("the original system's call says %s without a proxy", got)
	}
	if out := s.run("status"); !strings.Contains(out, "unknown") || strings.Contains(out, "closed") {
		t.Errorf("status without a proxy says:\n%s", out)
	}
	_, stderr, code := s.command("reset", "svc")
	if code != 1 || !strings.Contains(stderr, "no proxy") {
		t.Errorf("reset without a proxy: exit code %d, %q", code, stderr)
	}

	one := s.startEnvoy("one")
	s.untilState("svc", "closed", map[string]string{"one": "closed"})
	blind := s.startEnvoy("blind", adminPort(envoytest.FreePort(t)))
	s.untilState("svc", "unknown", map[string]string{"one": "closed", "blind": "unknown"})
	if out := s.run("proxies"); !strings.Contains(out, "one") || !strings.Contains(out, "blind") || !strings.Contains(out, "refused") {
		t.Errorf("proxies says:\n%s", out)
	}
	blind.Stop()
	s.untilState("svc", "closed", map[string]string{"one": "closed"})

	two := s.startEnvoy("two")
	s.untilState("svc", "closed", map[string]string{"one": "closed", "two": "closed"})
	one.Kill()
	s.untilState("svc", "closed", map[string]string{"two": "closed"})
	two.Kill()
	s.untilState("svc", "unknown", nil)
	s.startEnvoy("two")
	s.untilState("svc", "closed", map[string]string{"two": "closed"})
	s.untilConnected(1)
}

// change is one thing that a watcher was told: the state of a service.
type change struct{ service, state string }

// watchHTTP follows the stream of server-sent events until ctx ends.
func (s *stack) watchHTTP(ctx context.Context, to chan<- change) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/api/v1/breakers:watch", http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.client.Transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var m struct {
			Breakers []struct {
				Service string `json:"service"`
				State   string `json:"state"`
			} `json:"breakers"`
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			return fmt.Errorf("%s: %w", data, err)
		}
		for _, b := range m.Breakers {
			to <- change{b.Service, b.State}
		}
	}
	return nil
}

// watchGRPC is watchHTTP by WatchBreakers.
func (s *stack) watchGRPC(ctx context.Context, to chan<- change) (err error) {
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := adminpb.NewAdminServiceClient(conn).WatchBreakers(ctx, &adminpb.WatchBreakersRequest{})
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, b := range m.GetBreakers() {
			to <- change{b.GetService(), b.GetState()}
		}
	}
}

// TestWatchersSeeATrip: both ways of watching tell of closed and then of open, within 2 s of the trip.
func TestWatchersSeeATrip(t *testing.T) {
	t.Parallel()
	a, b := envoytest.NewUpstream(t), envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"svc.yaml": twoHosts(a, b)})
	s.untilState("svc", "closed", map[string]string{"e2e": "closed"})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 2)
	told := map[string]chan change{"HTTP": make(chan change, 1000), "gRPC": make(chan change, 1000)}
	go func() { ended <- s.watchHTTP(ctx, told["HTTP"]) }()
	go func() { ended <- s.watchGRPC(ctx, told["gRPC"]) }()
	await := func(way, state string, within time.Duration) {
		t.Helper()
		timeout := time.NewTimer(within)
		defer timeout.Stop()
		last := change{}
		for last != (change{"svc", state}) {
			select {
			case last = <-told[way]:
			case <-timeout.C:
				t.Fatalf("%s: not told of %s within %v; last: %+v", way, state, within, last)
			}
		}
	}
	for way := range told {
		await(way, "closed", startTimeout)
	}
	a.Behave(failing)
	b.Behave(failing)
	for range 10 {
		s.get("/svc")
	}
	if got := s.ejected("svc"); len(got) != 2 {
		t.Fatalf("ejected: %v, want both", got)
	}
	for way := range told {
		await(way, "open", 2*time.Second)
	}
	s.run("reset", "svc")
	for way := range told {
		await(way, "closed", 2*time.Second)
	}
	cancel()
	for range told {
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a watch ended: %v", err)
		}
	}
}
