package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// fakeAdmin is a client of an admin API that answers as h does.
func fakeAdmin(t *testing.T, h http.HandlerFunc, opts ...envoy.AdminOption) *envoy.Admin {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	admin := envoy.NewAdmin(strings.TrimPrefix(server.URL, "http://"), opts...)
	t.Cleanup(admin.Close)
	return admin
}

func TestAdminErrorsTellPathCodeAndState(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "PRE_INITIALIZING", http.StatusServiceUnavailable)
	})
	err := admin.Ready(t.Context())
	if want := fmt.Sprintf("envoy admin %s: GET /ready: 503 Service Unavailable: PRE_INITIALIZING", admin.Addr()); err == nil || err.Error() != want {
		t.Errorf("Ready() = %v, want %s", err, want)
	}
	var status *envoy.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
		t.Errorf("Ready() = %#v, want a StatusError with 503", err)
	}
}

// TestAdminErrorsQuoteNothing: whatever server is behind the address, no error has any of its words.
func TestAdminErrorsQuoteNothing(t *testing.T) {
	const secret = "hunter2"
	for _, reply := range []string{
		"HTTP/1.1 403 Forbidden\r\nX-Token: hunter2\r\nContent-Length: 17\r\n\r\npassword: hunter2",
		"HTTP/1.1 500 hunter2\r\nContent-Length: 7\r\n\r\nhunter2",
		"HTTP/1.1 799 hunter2\r\nContent-Length: 7\r\n\r\nhunter2",
		"HTTP/1.1 302 Found\r\nLocation: http://hunter2/\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhunter2",
		"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"hunter2\": 1]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhunter2\r\n",
		"HTTP/1.1 hunter2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nhunter2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
		"SSH-2.0-hunter2\r\n",
		"-ERR hunter2\r\n",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 4096))
				_, _ = c.Write([]byte(reply))
				c.Close()
			}
		}()
		admin := envoy.NewAdmin(l.Addr().String())
		t.Cleanup(admin.Close)
		for name, ask := range map[string]func() error{
			"Ready":             func() error { return admin.Ready(t.Context()) },
			"ServerInfo":        func() error { _, err := admin.ServerInfo(t.Context()); return err },
			"Clusters":          func() error { _, err := admin.Clusters(t.Context(), "a"); return err },
			"Stats":             func() error { _, err := admin.Stats(t.Context(), envoy.StatsQuery{}); return err },
			"ClusterHistograms": func() error { _, err := admin.ClusterHistograms(t.Context(), []string{"a"}, "b"); return err },
			"Traffic":           func() error { _, err := admin.Traffic(t.Context(), "a"); return err },
			"RuntimeKeys":       func() error { _, err := admin.Runtime(t.Context()); return err },
			"Enforces":          func() error { _, err := admin.Enforces(t.Context(), "a"); return err },
			"SetLogLevel":       func() error { return admin.SetLogLevel(t.Context(), "debug") },
		} {
			if err := ask(); err != nil && (strings.Contains(err.Error(), secret) || len(err.Error()) > 200) {
				t.Errorf("%s of %q: %v", name, reply, err)
			}
		}
	}
}

func TestAdminErrorsDoNotRepeatTheFilter(t *testing.T) {
	admin := envoy.NewAdmin("127.0.0.1:" + fmt.Sprint(envoytest.FreePort(t)))
	_, err := admin.Clusters(t.Context(), strings.Repeat("a", 1000))
	if err == nil || len(err.Error()) > 200 || !strings.Contains(err.Error(), "GET /clusters: dial tcp") {
		t.Errorf("Clusters() = %v, want a short error", err)
	}
}

func TestAdminBoundsReplies(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"stats":[]}`+strings.Repeat(" ", 100))
	}, envoy.WithMaxResponse(100))
	if _, err := admin.Stats(t.Context(), envoy.StatsQuery{}); err == nil || !strings.Contains(err.Error(), "larger than 100 bytes") {
		t.Errorf("Stats() = %v, want that the reply is too large", err)
	}
}

func TestAdminBoundsTime(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	if err := fakeAdmin(t, hang, envoy.WithTimeout(20*time.Millisecond)).Ready(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready() = %v, want the client's deadline", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fakeAdmin(t, hang).Ready(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Ready() = %v, want the caller's cancellation", err)
	}
}

func TestAdminDoesNotFollowRedirects(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	var status *envoy.StatusError
	if err := admin.Ready(t.Context()); !errors.As(err, &status) || status.Code != http.StatusFound {
		t.Errorf("Ready() = %v, want a 302", err)
	}
}

func TestAdminIgnoresUnknownFields(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"cluster_statuses": [{"name": "a", "invented_tomorrow": {"b": 1}}]}`)
	})
	got, err := admin.Clusters(t.Context(), "a")
	if err != nil || len(got.GetClusterStatuses()) != 1 {
		t.Errorf("Clusters() = %v, %v", got, err)
	}
}

func TestAdminRejectsWhatIsNotJSON(t *testing.T) {
	admin := fakeAdmin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, err := admin.Clusters(t.Context()); err == nil || !strings.Contains(err.Error(), "GET /clusters: ") {
		t.Errorf("Clusters() = %v, want a syntax error", err)
	}
	if _, err := admin.Stats(t.Context(), envoy.StatsQuery{}); err == nil || !strings.Contains(err.Error(), "GET /stats: ") {
		t.Errorf("Stats() = %v, want a syntax error", err)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	g := startGateway(t, cluster{name: "a", port: u.Port()})
	if _, err := g.get(t.Context(), "/a"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		query     envoy.StatsQuery
		in, notIn string
	}{
		{envoy.StatsQuery{Filter: `^cluster\.a\.`}, "cluster.a.upstream_rq_total", "server.live"},
		{envoy.StatsQuery{Filter: `^cluster\.a\.`, UsedOnly: true}, "cluster.a.upstream_rq_total", "cluster.a.upstream_rq_timeout"},
		{envoy.StatsQuery{Type: envoy.Counters}, "cluster.a.upstream_rq_total", "cluster.a.upstream_rq_active"},
		{envoy.StatsQuery{Type: envoy.Gauges}, "cluster.a.upstream_rq_active", "cluster.a.upstream_rq_total"},
		{envoy.StatsQuery{}, "cluster.a.upstream_rq_active", "cluster.a.upstream_rq_time"},
	} {
		stats, err := g.Admin().Stats(t.Context(), tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := stats[tt.in]; !ok {
			t.Errorf("%+v: without %s", tt.query, tt.in)
		}
		if _, ok := stats[tt.notIn]; ok {
			t.Errorf("%+v: with %s", tt.query, tt.notIn)
		}
	}
	if stats, err := g.Admin().Stats(t.Context(), envoy.StatsQuery{Filter: "^cluster.a.upstream_rq_total$"}); err != nil || stats["cluster.a.upstream_rq_total"] != 1 {
		t.Errorf("Stats() = %v, %v, want one request", stats, err)
	}
	var status *envoy.StatusError
	if _, err := g.Admin().Stats(t.Context(), envoy.StatsQuery{Filter: "["}); !errors.As(err, &status) || status.Code != http.StatusBadRequest {
		t.Errorf("Stats of a bad expression = %v, want a 400", err)
	}
}

func TestServerInfoAndLogLevel(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	info, err := g.Admin().ServerInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.GetState() != adminv3.ServerInfo_LIVE || info.GetNode().GetId() != "gateway" {
		t.Errorf("ServerInfo() = %v", info)
	}
	for _, level := range envoy.LogLevels {
		if err := g.Admin().SetLogLevel(t.Context(), level); err != nil {
			t.Errorf("SetLogLevel(%s) = %v", level, err)
		}
	}
	if err := g.Admin().SetLogLevel(t.Context(), "debug"); err != nil {
		t.Fatal(err)
	}
	if _, err := g.get(t.Context(), "/nowhere"); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, 5*time.Second, "Envoy logs at the level debug", func() error {
		if !strings.Contains(g.Log(), "[debug]") {
			return errors.New("no such entry in its log")
		}
		return nil
	})
	if err := g.Admin().SetLogLevel(t.Context(), "loud"); err == nil || !strings.Contains(err.Error(), `log level "loud": must be one of trace, debug`) {
		t.Errorf("SetLogLevel(loud) = %v", err)
	}
}
