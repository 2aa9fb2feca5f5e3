package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCallersDoNotSpeakForTheGateway: by HTTP/1.1 and HTTP/2 no service sees, in headers or trailers, what a caller says by the
// names of the gateway's own words.
func TestCallersDoNotSpeakForTheGateway(t *testing.T) {
	t.Parallel()
	seen := make(chan []string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the trailers come after it
			var names []string
			for _, h := range []http.Header{r.Header, r.Trailer} {
				for name, values := range h { // a trailer that is only announced has none
					if name = strings.ToLower(name); len(values) > 0 && (strings.Contains(name, "-breaker") || strings.Contains(name, "breakwater") || name == "x-end") {
						names = append(names, name)
					}
				}
			}
			slices.Sort(names)
			seen <- names
		}),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	s := newStack(t, policies(fmt.Sprintf("service: svc\nupstream: h2c://%s\nroutes: [{prefix: /svc}]\n", l.Addr())))
	for _, tt := range []struct {
		name  string
		http2 bool
		want  []string
	}{
		{"HTTP/1.1", false, []string{"my-circuit-breaker"}},
		{"HTTP/2", true, []string{"my-circuit-breaker", "x-end"}},
	} {
		transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!tt.http2)
		transport.Protocols.SetUnencryptedHTTP2(tt.http2)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.gateway+"/svc", io.MultiReader(strings.NewReader("a body")))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"x-circuit-breaker", "x-circuit-breaker-attempts", "x-circuit-breaker-new", "x-breakwater-gateway", "my-circuit-breaker"} {
			req.Header.Set(name, "open")
		}
		req.Trailer = http.Header{"X-Circuit-Breaker": {"open"}, "X-Circuit-Breaker-Attempts": {"7"}, "X-Breakwater-Gateway": {"a guess"}, "X-End": {"1"}}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := <-seen; resp.StatusCode != http.StatusOK || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d, the service sees %q, want %q", tt.name, resp.StatusCode, got, tt.want)
		}
	}
}
