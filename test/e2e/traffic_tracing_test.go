package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OTLP/gRPC receiver of traces.
type receiver struct {
	collectorv1.UnimplementedTraceServiceServer
	addr string

	mu    sync.Mutex
	spans []span // guarded by mu
}

// span is one that was received, with its attributes and those of its resource.
type span struct {
	*tracev1.Span
	attributes, resource map[string]string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{addr: l.Addr().String()}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, r)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return r
}

func (r *receiver) Export(_ context.Context, req *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				r.spans = append(r.spans, span{s, texts(s.GetAttributes()), texts(resource.GetResource().GetAttributes())})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func texts(attributes []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range attributes {
		out[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return out
}

// of returns the gateway's own span of the request with that correlation id, and those of its attempts.
func (r *receiver) of(correlation string) (own *span, attempts []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.spans {
		if r.spans[i].GetKind() == tracev1.Span_SPAN_KIND_SERVER && r.spans[i].attributes["correlation_id"] == correlation {
			own = &r.spans[i]
		}
	}
	for _, s := range r.spans {
		if own != nil && bytes.Equal(s.GetParentSpanId(), own.GetSpanId()) {
			attempts = append(attempts, s)
		}
	}
	return own, attempts
}

// TestTracing: a request that is sampled gives a span, and one below it for each attempt, in the caller's trace; and
// tracing is switched, and its share changed, while Envoy runs.
func TestTracing(t *testing.T) {
	t.Parallel()
	collector := newReceiver(t)
	u := newBackend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Envoy-Attempt-Count") == "1" && r.URL.Path == "/svc/flaky" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	files := policies(at("svc", u, "retry: {base_delay: 1ms, max_retries: 1}"))
	traced := func(share string) string {
		return fmt.Sprintf("tracing: {collector: %q, sampling: %s, service_name: shop-gateway}\n", collector.addr, share)
	}
	files["gateway.yaml"] = traced("0%")
	s := newStack(t, files)

	const traceID, callerID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	ask := func(path, correlation string) reply {
		t.Helper()
		return s.do(http.MethodGet, path, http.Header{
			"X-Correlation-Id": {correlation},
			"X-Request-Id":     {"no UUID"},
			"Traceparent":      {"00-" + traceID + "-" + callerID + "-01"},
		})
	}
	// sampled is what the service is told of a request's trace.
	sampled := func() (parent, flags string) {
		t.Helper()
		u.take()
		ask("/svc", "probe")
		context := strings.Split(u.one(t).Header.Get("Traceparent"), "-")
		if len(context) != 4 || context[1] != traceID {
			t.Fatalf("the service is told of the trace %q, want %s", context, traceID)
		}
		return context[2], context[3]
	}

	if _, flags := sampled(); flags != "00" {
		t.Errorf("with 0 %% the service is told the flags %s, want 00", flags)
	}
	ask("/svc", "unsampled")

	s.write("gateway.yaml", traced("100%"))
	s.until("requests are sampled", func() error {
		if _, flags := sampled(); flags != "01" {
			return fmt.Errorf("the flags are %s", flags)
		}
		return nil
	})
	ask("/svc/flaky", "flaky")
	s.run("force-open", "svc", "--reason", "a test")
	ask("/svc", "shut")
	s.run("release", "svc")

	var own *span
	var attempts []span
	s.until("the spans are received", func() error {
		own, attempts = collector.of("flaky")
		shut, none := collector.of("shut")
		if own == nil || len(attempts) < 2 || shut == nil {
			return fmt.Errorf("there are %v with %d attempts, and %v", own, len(attempts), shut)
		}
		if len(none) > 0 || shut.attributes["response_flags"] != "UO" || shut.attributes["http.status_code"] != "503" {
			t.Fatalf("a request to an open circuit has the attempts %v and the attributes %v", none, shut.attributes)
		}
		return nil
	})
	if got := hex.EncodeToString(own.GetTraceId()); got != traceID {
		t.Errorf("the trace is %s, want the caller's %s", got, traceID)
	}
	if got := hex.EncodeToString(own.GetParentSpanId()); got != callerID {
		t.Errorf("the span's parent is %s, want the caller's %s", got, callerID)
	}
	for name, want := range map[string]string{
		"breakwater.service": "svc", "guid:x-request-id": "no UUID", "http.status_code": "200", "response_flags": "-",
	} {
		if got := own.attributes[name]; got != want {
			t.Errorf("the attribute %s is %q, want %q", name, got, want)
		}
	}
	if got := own.resource["service.name"]; got != "shop-gateway" {
		t.Errorf("the gateway is called %q", got)
	}
	statuses := map[string]bool{}
	for _, a := range attempts {
		statuses[a.attributes["http.status_code"]] = true
		if a.GetKind() != tracev1.Span_SPAN_KIND_CLIENT || a.attributes["upstream_cluster"] != "svc" {
			t.Errorf("an attempt is the span %v of kind %v", a.attributes, a.GetKind())
		}
	}
	if len(attempts) != 2 || !statuses["503"] || !statuses["200"] {
		t.Errorf("there are %d attempts with the statuses %v, want one 503 and one 200", len(attempts), statuses)
	}
	if unsampled, _ := collector.of("unsampled"); unsampled != nil {
		t.Errorf("with 0 %% there is the span %v", unsampled.attributes)
	}

	s.write("gateway.yaml", "tracing: off\n")
	s.until("the caller's own context is passed on as it is", func() error {
		if parent, _ := sampled(); parent != callerID {
			return fmt.Errorf("the parent is %s", parent)
		}
		return nil
	})
	s.until("Envoy has no cluster of the collector", func() error {
		c, err := s.envoy.Admin().Clusters(t.Context(), "breakwater_tracing")
		if err == nil && len(c.GetClusterStatuses()) > 0 {
			err = fmt.Errorf("it has %v", c)
		}
		return err
	})
}
