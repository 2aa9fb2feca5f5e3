package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/test/envoytest"
)

// planJSON is an answer of POST /api/v1/plan.
type planJSON struct {
	OK       bool `json:"ok"`
	Services []struct {
		Service  string `json:"service"`
		Action   string `json:"action"`
		Settings []struct {
			Path, From, To string
		} `json:"settings"`
		Effects []struct {
			Severity string   `json:"severity"`
			Text     string   `json:"text"`
			Proxies  []string `json:"proxies"`
		} `json:"effects"`
	} `json:"services"`
	Resources []struct {
		TypeURL string `json:"type_url"`
		Name    string `json:"name"`
		Action  string `json:"action"`
		Diff    string `json:"diff"`
	} `json:"resources"`
	Digest string `json:"digest"`
}

// planner is a stack of which it is planned what edits do.
type planner struct {
	*stack
	// markers is how many edits of the marker there were.
	markers int
}

// newPlanner starts Breakwater and an Envoy that drains connections within 3 s.
func newPlanner(t testing.TB, files map[string]string) *planner {
	t.Helper()
	s := newPlane(t, files)
	s.envoy = envoytest.StartWith(t, s.bootstrap("e2e"), envoytest.Options{Args: []string{"--drain-time-s", "3"}})
	s.envoy.WaitReady(t, startTimeout)
	return &planner{stack: s}
}

// files are the policy files on disk.
func (s *planner) files() map[string]string {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}

// plan asks what one file would change; without content, what its absence would.
func (s *planner) plan(name, content string) planJSON {
	s.t.Helper()
	if content != "" {
		return s.ask(map[string]string{name: content}, false)
	}
	files := s.files()
	delete(files, name)
	return s.planAll(files)
}

// planAll asks what a whole directory would change.
func (s *planner) planAll(files map[string]string) planJSON {
	s.t.Helper()
	return s.ask(files, true)
}

func (s *planner) ask(files map[string]string, complete bool) planJSON {
	s.t.Helper()
	list := []map[string]string{}
	for name, content := range files {
		list = append(list, map[string]string{"name": name, "content": content})
	}
	body, err := json.Marshal(map[string]any{"files": list, "complete": complete})
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Post("http://"+s.http+"/api/v1/plan", "application/json", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var p planJSON
	if err := json.Unmarshal(text, &p); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("POST /api/v1/plan: %d %s %v", resp.StatusCode, text, err)
	}
	return p
}

// effects are those of one service, a warning as "! text" and the others as "- text", with the proxies at the end.
func (p planJSON) effects(service string) []string {
	var out []string
	for _, s := range p.Services {
		if s.Service != service {
			continue
		}
		for _, e := range s.Effects {
			text := map[string]string{"warning": "! ", "info": "- "}[e.Severity] + e.Text
			if len(e.Proxies) > 0 {
				text += " (" + strings.Join(e.Proxies, ", ") + ")"
			}
			out = append(out, text)
		}
	}
	return out
}

// expect fails unless a service's effects are these.
func (p planJSON) expect(t *testing.T, service string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.effects(service)); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// sent are the planned resources that Envoy's configuration has by name and version: all but endpoints.
func (p planJSON) sent() []string {
	out := []string{}
	for _, r := range p.Resources {
		if kind := r.TypeURL[strings.LastIndex(r.TypeURL, ".")+1:]; kind != "ClusterLoadAssignment" {
			out = append(out, fmt.Sprintf("%s %s %s", kind, r.Name, r.Action))
		}
	}
	slices.Sort(out)
	return out
}

// versions are those of the clusters and route tables that Envoy has, and the listeners themselves: one that is updated in
// place keeps the version that it came with.
func (s *planner) versions() map[string]string {
	s.t.Helper()
	body, err := s.fetch("http://" + s.envoy.AdminAddr + "/config_dump")
	if err != nil {
		s.t.Fatal(err)
	}
	type named struct {
		Name string `json:"name"`
	}
	var dump struct {
		Configs []struct {
			Clusters []struct {
				Version string `json:"version_info"`
				Cluster named  `json:"cluster"`
			} `json:"dynamic_active_clusters"`
			Listeners []struct {
				Name   string `json:"name"`
				Active struct {
					Listener json.RawMessage `json:"listener"`
				} `json:"active_state"`
			} `json:"dynamic_listeners"`
			Routes []struct {
				Version string `json:"version_info"`
				Table   named  `json:"route_config"`
			} `json:"dynamic_route_configs"`
		} `json:"configs"`
	}
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		s.t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range dump.Configs {
		for _, x := range c.Clusters {
			out["Cluster "+x.Cluster.Name] = x.Version
		}
		for _, x := range c.Listeners {
			out["Listener "+x.Name] = string(x.Active.Listener)
		}
		for _, x := range c.Routes {
			out["RouteConfiguration "+x.Table.Name] = x.Version
		}
	}
	return out
}

// carryOut does what was planned, and waits until Envoy's configuration differs from what it was in just what the plan
// names. An edit of another service then proves that nothing else was on its way.
func (s *planner) carryOut(p planJSON, do func()) {
	s.t.Helper()
	before := s.versions()
	differs := func() []string {
		after, out := s.versions(), []string{}
		for name, version := range after {
			if old, ok := before[name]; !ok {
				out = append(out, name+" added")
			} else if old != version {
				out = append(out, name+" changed")
			}
		}
		for name := range before {
			if _, ok := after[name]; !ok {
				out = append(out, name+" removed")
			}
		}
		slices.Sort(out)
		return out
	}
	do()
	s.until("Envoy has what was planned", func() error {
		if c := s.config(); c.Digest != p.Digest {
			return fmt.Errorf("digest %s, planned %s", c.Digest, p.Digest)
		}
		if diff := cmp.Diff(p.sent(), differs()); diff != "" {
			return fmt.Errorf("resources (-planned +in Envoy):\n%s", diff)
		}
		return nil
	})
	s.markers++
	s.write("marker.yaml", marker(s.markers))
	name := fmt.Sprintf("Cluster marker-%d", s.markers)
	s.until("Envoy has a later edit", func() error {
		if _, ok := s.versions()[name]; !ok {
			return fmt.Errorf("no %s", name)
		}
		return nil
	})
	want := append(p.sent(), name+" added")
	if s.markers > 1 {
		want = append(want, fmt.Sprintf("Cluster marker-%d removed", s.markers-1))
	}
	if table := "RouteConfiguration gateway changed"; !slices.Contains(want, table) {
		want = append(want, table)
	}
	slices.Sort(want)
	s.until("Envoy has nothing but what was planned and the later edit", func() error {
		if diff := cmp.Diff(want, differs()); diff != "" {
			return fmt.Errorf("resources (-planned +in Envoy):\n%s", diff)
		}
		return nil
	})
}

// marker is a service that comes with the nth edit.
func marker(n int) string {
	return fmt.Sprintf("service: marker-%d\nupstream: 127.0.0.1:9\nroutes: [{prefix: /marker-%d}]\n", n, n)
}

// caller keeps one connection to the gateway.
type caller struct {
	s      *planner
	client *http.Client
}

func (s *planner) newCaller() *caller {
	c := &caller{s, &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}}
	s.t.Cleanup(c.client.CloseIdleConnections)
	return c
}

// get returns the status, and whether the connection is that of the call before and is to be used again.
func (c *caller) get(path string) (status int, reused, closes bool) {
	c.s.t.Helper()
	ctx := httptrace.WithClientTrace(c.s.t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.s.gateway+path, http.NoBody)
	if err != nil {
		c.s.t.Fatal(err)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		c.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.s.t.Fatal(err)
	}
	return resp.StatusCode, reused, resp.Close
}

// counted is a backend that counts its connections.
type counted struct {
	*backend

	mu sync.Mutex
	// opened and open are guarded by mu.
	opened, open int
}

func newCounted(t testing.TB, answer http.HandlerFunc) *counted {
	t.Helper()
	c := &counted{}
	c.backend = newBackend(t, answer, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch state {
			case http.StateNew:
				c.opened++
				c.open++
			case http.StateClosed:
				c.open--
			default:
			}
		}
	})
	return c
}

// connections are how many were opened so far, and how many are open.
func (c *counted) connections() (opened, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened, c.open
}

// untilClosed waits until no connection to the backend is open.
func (s *planner) untilClosed(what string, b *counted) {
	s.t.Helper()
	s.until(what, func() error {
		if opened, open := b.connections(); open > 0 {
			return fmt.Errorf("%d of %d are open", open, opened)
		}
		return nil
	})
}
