package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// post sends a POST to Breakwater's HTTP API.
func (s *stack) post(path string) (status int, body string) {
	s.t.Helper()
	resp, err := s.client.Post("http://"+s.http+path, "application/json", strings.NewReader("{}"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// An address that only shows is asked for by a flag or its variable; the commands work on.
func TestHTTPReadOnly(t *testing.T) {
	t.Parallel()
	s := newPlane(t, policies(at("svc", "127.0.0.1:1")), "--http-read-only")
	check := func(readOnly bool) {
		t.Helper()
		var version struct {
			ReadOnly bool `json:"read_only"`
		}
		if s.api("/api/v1/version", &version); version.ReadOnly != readOnly {
			t.Errorf("read_only is %t", version.ReadOnly)
		}
		if _, err := s.fetch("http://" + s.http + "/api/v1/circuit-breakers"); err != nil {
			t.Error(err)
		}
		for _, path := range []string{"/api/v1/breakers/svc/disable", "/api/v1/circuit-breakers/svc/reset"} {
			if status, body := s.post(path); (status == http.StatusForbidden && strings.Contains(body, `"code":7`)) != readOnly {
				t.Errorf("POST %s: %d %s", path, status, body)
			}
		}
		out, stderr, code := s.command("disable", "svc", "--reason", "a test")
		if !strings.Contains(out, "it holds for those that connect") || !strings.Contains(stderr, "svc was disabled on no proxy") || code != 1 {
			t.Errorf("over gRPC: %s%s exit code %d", out, stderr, code)
		}
	}
	check(true)
	s.stop()
	s.args, s.env = nil, []string{"BREAKWATER_HTTP_READ_ONLY=true"}
	s.start()
	check(true)
	s.stop()
	s.env = nil
	s.start()
	check(false)
}
