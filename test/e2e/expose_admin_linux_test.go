package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// TestExposedAdminIsGuarded: through the gateway's port the API refuses browsers of other origins and rebound names as on its
// own, and names who asked by the address from which the gateway was called, whatever the caller claims.
func TestExposedAdminIsGuarded(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, operated(u))
	s.write("gateway.yaml", "expose_admin: "+s.http+"\n")
	// Linux has every address of 127.0.0.0/8.
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	s.client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == s.gateway {
			return dialer.DialContext(ctx, network, addr)
		}
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
	}}
	s.until("the API is on the gateway's port", func() error {
		if r := s.get("/api/v1/circuit-breakers"); r.status != http.StatusOK {
			return fmt.Errorf("%d %s", r.status, r.body)
		}
		return nil
	})
	// A reset of what needs none is no event, but it is in the log.
	actors := func() []string {
		var out []string
		for _, m := range regexp.MustCompile(`breakwater\.admin: reset: actor=(\S+)`).FindAllStringSubmatch(s.log.String(), -1) {
			out = append(out, m[1])
		}
		return out
	}
	const reset = "/api/v1/circuit-breakers/svc/reset"
	for name, header := range map[string]http.Header{
		"another site":                     {"Origin": {"https://evil.example"}},
		"another site in a new browser":    {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
		"a rebound name":                   {"Host": {"evil.example"}, "Origin": {"http://evil.example"}},
		"a rebound name in a new browser":  {"Host": {"evil.example"}, "Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"same-origin"}},
		"another site that knows its name": {"Origin": {"https://evil.example"}, "X-Forwarded-Host": {"evil.example"}},
	} {
		if r := s.do(http.MethodPost, reset, header); r.status != http.StatusForbidden && r.status != http.StatusMisdirectedRequest {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	if got := actors(); len(got) > 0 {
		t.Fatalf("resets by %q although all were refused", got)
	}
	forged := http.Header{"X-Forwarded-For": {"192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, "X-Envoy-External-Address": {"192.0.2.1"}, envoy.GatewayProof: {"a guess 192.0.2.1"}}
	if r := s.do(http.MethodPost, reset, forged); r.status != http.StatusOK {
		t.Fatalf("a reset through the gateway: %d %s", r.status, r.body)
	}
	logged := func(want ...string) {
		t.Helper()
		s.until("the log names who asked", func() error {
			if got := actors(); !slices.Equal(got, want) {
				return fmt.Errorf("resets by %q, want %q", got, want)
			}
			return nil
		})
	}
	logged("127.0.0.2")
	// Who asks the API itself is whom it sees.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.http+reset, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = forged
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ OK bool }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || !answer.OK {
		t.Fatalf("a reset by the API's own port: %+v, %v", answer, err)
	}
	logged("127.0.0.2", "127.0.0.1")
}
