package page

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

const (
	serveTimeout = 60 * time.Second
	stopGrace    = 10 * time.Second
)

// TestPage is what operators do with the page of a running shop.
func TestPage(t *testing.T) {
	t.Parallel()
	chromium(t)
	shop.PythonEnv(t)
	s := shop.Start(t)
	at := "http://" + s.HTTP
	env := slices.Concat(s.Env, []string{"SHOP=" + s.Dir})
	// What is resumed in one story goes on for the next: it is the whole test's.
	power := map[string]func(){"stop": s.Stop, "resume": func() { s.Resume(t) }}
	t.Run("history", func(t *testing.T) { story(t, "history.py", at, env, power) })
	t.Run("live", func(t *testing.T) { story(t, "live.py", at, env, nil) })
	t.Run("config", func(t *testing.T) {
		story(t, "config.py", at, env, map[string]func(){"lose a proxy": func() { loseProxy(t, s.Addrs) }})
	})
	t.Run("doubt", func(t *testing.T) { story(t, "doubt.py", at, env, nil) })
	t.Run("viewer", func(t *testing.T) {
		viewer := serve(t, s)
		story(t, "viewer.py", behindPath(t, "http://"+viewer.HTTP), env, map[string]func(){"lose a proxy": func() { loseProxy(t, viewer) }})
	})
	t.Run("restart", func(t *testing.T) { story(t, "restart.py", at, env, power) })
}

// TestAccessible looks at every view in every size and theme. Its shop is its own, for it takes as long as all the rest.
func TestAccessible(t *testing.T) {
	t.Parallel()
	chromium(t)
	shop.PythonEnv(t)
	s := shop.Start(t)
	loseProxy(t, s.Addrs) // so that one is disconnected
	story(t, "accessible.py", "http://"+s.HTTP, slices.Concat(s.Env, []string{"SHOP=" + s.Dir}), nil)
}

// behindPath is the page at url as it is seen through a proxy that has it under a path of its own.
func behindPath(t *testing.T, to string) string {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/tools/breakwater"
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.StripPrefix(path, proxy))
	t.Cleanup(server.Close)
	return server.URL + path
}

// serve runs another Breakwater on the shop's policies, whose HTTP address only shows, without an Envoy, and returns its
// addresses.
func serve(t *testing.T, s *shop.Shop) shop.Addrs {
	t.Helper()
	addrs := shop.FreeAddrs(t)
	cmd := exec.Command(filepath.Join(s.Dir, "bin", "breakwater"), "serve", "--policies", "examples/shop", "--state", t.TempDir(), "--http-read-only")
	cmd.Dir, cmd.Env = s.Dir, slices.Concat(s.Env, addrs.Env())
	launch(t, cmd, addrs)
	return addrs
}

// launch starts a server, which ends with the test, and waits until it is ready.
func launch(t *testing.T, cmd *exec.Cmd, addrs shop.Addrs) {
	t.Helper()
	var log envoytest.Output
	cmd.Stdout, cmd.Stderr = &log, &log
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(stopGrace)
		if t.Failed() {
			t.Logf("end of the log of breakwater:\n%s", envoytest.LastLines(log.String(), 20))
		}
	})
	at := "http://" + addrs.HTTP
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	envoytest.Eventually(t, serveTimeout, at+" is ready", func() error {
		return shop.Get(t.Context(), client, at+"/readyz")
	})
}
