package envoytest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakwater/breakwater/test/envoytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get makes one request over HTTP/1.1, or HTTP/2 in clear text.
func get(ctx context.Context, t *testing.T, u *envoytest.Upstream, http2 bool) (*http.Response, string, error) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+u.Addr()+"/path", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestUpstreamAnswers(t *testing.T) {
	u := envoytest.NewUpstream(t)
	for _, http2 := range []bool{false, true} {
		u.Behave(envoytest.Behaviour{Status: http.StatusTeapot, Header: http.Header{"x-kind": {"tea"}}, Body: "short and stout"})
		resp, body, err := get(t.Context(), t, u, http2)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusTeapot || body != "short and stout" || resp.Header.Get("X-Kind") != "tea" {
			t.Errorf("reply = %d %v %q", resp.StatusCode, resp.Header, body)
		}
		if want := map[bool]int{false: 1, true: 2}[http2]; resp.ProtoMajor != want {
			t.Errorf("HTTP/%d, want %d", resp.ProtoMajor, want)
		}
		u.Behave(envoytest.Behaviour{GRPC: true, GRPCStatus: 14})
		resp, _, err = get(t.Context(), t, u, http2)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Grpc-Status") != "14" {
			t.Errorf("gRPC reply = %+v, %v", resp, err)
		}
		u.Behave(envoytest.Behaviour{})
		if _, body, err := get(t.Context(), t, u, http2); err != nil || body != u.Addr() {
			t.Errorf("reply = %q, %v, want %q", body, err, u.Addr())
		}
	}
	if got := u.Requests(); got != 6 {
		t.Errorf("%d requests, want 6", got)
	}
	if got := u.Last(); got.URL.Path != "/path" {
		t.Errorf("the last request is for %s", got.URL.Path)
	}
}

func TestUpstreamMisbehaves(t *testing.T) {
	u := envoytest.NewUpstream(t)
	for _, http2 := range []bool{false, true} {
		u.Behave(envoytest.Behaviour{Delay: 50 * time.Millisecond})
		began := time.Now()
		if _, _, err := get(t.Context(), t, u, http2); err != nil || time.Since(began) < 50*time.Millisecond {
			t.Errorf("a delayed reply came after %v, %v", time.Since(began), err)
		}
		for _, b := range []envoytest.Behaviour{{Hang: true}, {Delay: time.Hour}} {
			u.Behave(b)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if _, _, err := get(ctx, t, u, http2); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v: %v, want the deadline", b, err)
			}
			cancel()
		}
		u.Behave(envoytest.Behaviour{Reset: true})
		if _, _, err := get(t.Context(), t, u, http2); err == nil || (!http2 && !errors.Is(err, syscall.ECONNRESET)) {
			t.Errorf("error %v, want a reset", err)
		}
	}
}
