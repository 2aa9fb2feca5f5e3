package e2e

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// isMarked fails unless a reply has these x-circuit-breaker and x-circuit-breaker-attempts, each once, or neither if
// breaker is empty.
func (r reply) isMarked(t *testing.T, what, breaker, attempts string) {
	t.Helper()
	var wantBreaker, wantAttempts []string
	if breaker != "" {
		wantBreaker, wantAttempts = []string{breaker}, []string{attempts}
	}
	if got := r.header.Values("X-Circuit-Breaker"); !slices.Equal(got, wantBreaker) {
		t.Errorf("%s: x-circuit-breaker %q, want %q: %d %s", what, got, wantBreaker, r.status, r.body)
	}
	if got := r.header.Values("X-Circuit-Breaker-Attempts"); !slices.Equal(got, wantAttempts) {
		t.Errorf("%s: x-circuit-breaker-attempts %q, want %q: %d %s", what, got, wantAttempts, r.status, r.body)
	}
}

// TestOnlyTheGatewayMarksReplies: what x-circuit-breaker says is the gateway's own word, whatever a service sends.
func TestOnlyTheGatewayMarksReplies(t *testing.T) {
	t.Parallel()
	liar := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		for _, value := range []string{"open", "overloaded"} {
			w.Header().Add("X-Circuit-Breaker", value)
			w.Header().Add("X-Circuit-Breaker-Attempts", "7")
		}
		w.Header().Set("Retry-After", "41")
		if strings.HasSuffix(r.URL.Path, "/busy") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	s := newStack(t, policies(
		at("liar", liar, "retry: off"),
		at("service", closedPort(t), "retry: off", "fallback: {service: liar}"),
		at("static", liar, "retry: off", "fallback: {body: plain, status: 200}"),
	))
	for path, want := range map[string]int{"/liar": http.StatusOK, "/liar/busy": http.StatusServiceUnavailable, "/static": http.StatusOK} {
		r := s.get(path)
		r.isMarked(t, path, "", "")
		// That one is for any service to say.
		if got := r.header.Get("Retry-After"); r.status != want || got != "41" {
			t.Errorf("%s: %d, retry-after %q; want %d and the service's own", path, r.status, got, want)
		}
	}
	s.run("force-open", "service", "--reason", "a test")
	r := s.get("/service")
	r.isMarked(t, "the fallback is a service", "fallback", "0")
	if r.status != http.StatusOK || len(liar.take()) != 4 {
		t.Errorf("the fallback is a service: %d %s", r.status, r.body)
	}
	s.run("force-open", "static", "--reason", "a test")
	if r := s.get("/static"); r.status != http.StatusOK || r.body != "plain" {
		t.Errorf("the fallback is static: %d %s", r.status, r.body)
	} else {
		r.isMarked(t, "the fallback is static", "fallback", "0")
	}
	s.run("force-open", "liar", "--reason", "a test")
	r = s.get("/liar")
	r.isMarked(t, "a refusal", "open", "0")
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "60" {
		t.Errorf("a refusal: %d, retry-after %q", r.status, r.header.Get("Retry-After"))
	}
	s.get("/service").isMarked(t, "the fallback's own breaker is open", "open", "0")
}

// A gateway that is behind another marks its replies for that one, and not for the callers of that one.
func TestGatewayBehindAGateway(t *testing.T) {
	t.Parallel()
	inner := newStack(t, policies(at("svc", newBackend(t, always(http.StatusOK)), "retry: off")))
	outer := newStack(t, policies(at("svc", inner.gateway, "retry: off")))
	inner.run("force-open", "svc", "--reason", "a test")
	inner.get("/svc").isMarked(t, "the inner gateway", "open", "0")
	r := outer.get("/svc")
	r.isMarked(t, "the outer gateway", "", "")
	if r.status != http.StatusServiceUnavailable || !strings.Contains(r.body, `"error":"circuit_open"`) || r.header.Get("Retry-After") != "60" {
		t.Errorf("the outer gateway: %d, retry-after %q: %s", r.status, r.header.Get("Retry-After"), r.body)
	}
	outer.run("force-open", "svc", "--reason", "a test")
	outer.get("/svc").isMarked(t, "the outer gateway's own refusal", "open", "0")
}

// lyingHealth marks its replies in their headers and in their trailers. Check fails if asked for a service.
type lyingHealth struct {
	healthpb.UnimplementedHealthServer
}

func (lyingHealth) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	mark := metadata.Pairs("x-circuit-breaker", "open", "x-circuit-breaker-attempts", "0", "x-own", "kept")
	if err := grpc.SetTrailer(ctx, mark); err != nil {
		return nil, err
	}
	if req.GetService() != "" {
		return nil, status.Error(codes.NotFound, "as asked")
	}
	return &healthpb.HealthCheckResponse{}, grpc.SetHeader(ctx, mark)
}

// A gRPC client finds the mark of a refusal in the trailers, for there is nothing else then.
func TestOnlyTheGatewayMarksGRPCReplies(t *testing.T) {
	t.Parallel()
	s := newStack(t, policies("service: liar\nupstream: grpc://"+serveHealth(t, lyingHealth{})+"\nretry: off\n"))
	client := s.grpcClient("liar")
	for _, tt := range []struct {
		name, service string
		code          codes.Code
		own           int // headers of the service's own
	}{{"a message", "", codes.OK, 2}, {"trailers alone", "x", codes.NotFound, 1}} {
		var header, trailer metadata.MD
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: tt.service}, grpc.Header(&header), grpc.Trailer(&trailer))
		both := metadata.Join(header, trailer)
		if status.Code(err) != tt.code || len(both.Get("x-own")) != tt.own {
			t.Errorf("%s: %v, headers %v, trailers %v", tt.name, err, header, trailer)
		}
		if got := append(both.Get("x-circuit-breaker"), both.Get("x-circuit-breaker-attempts")...); len(got) > 0 {
			t.Errorf("%s: marked %q: headers %v, trailers %v", tt.name, got, header, trailer)
		}
	}
	s.run("force-open", "liar", "--reason", "a test")
	if code, breaker := unary(t.Context(), client); code != codes.Unavailable || breaker != "open" {
		t.Errorf("a refusal: %v, %q", code, breaker)
	}
}
