package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/test/envoytest"
)

// listeningServer is a server of ADS that answers nothing, and tells how each stream that a proxy has used ends.
type listeningServer struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	begun chan struct{}
	ended chan error
}

func (s *listeningServer) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for begun := false; ; begun = true {
		if _, err := stream.Recv(); err != nil {
			s.ended <- err
			return nil
		}
		if !begun {
			s.begun <- struct{}{}
		}
	}
}

// cutter forwards connections until they are cut.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func (c *cutter) forward(to string) {
	for {
		conn, err := c.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", to)
		if err != nil {
			conn.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, conn, up)
		c.mu.Unlock()
		copyTo := func(dst, src net.Conn) {
			_, _ = io.Copy(dst, src)
			dst.Close()
		}
		go copyTo(up, conn)
		go copyTo(conn, up)
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

// TestEndsOfAStreamLookAlike: that an Envoy ended in order cannot be told from its stream. A server sees the same when it
// is drained and ended, gets SIGTERM, is killed or loses its connection: no end of the stream, and no status but Canceled.
// So the rule by which a proxy is replaced does not ask how its stream ended.
func TestEndsOfAStreamLookAlike(t *testing.T) {
	t.Parallel()
	post := func(e *envoytest.Process, path string) error {
		resp, err := http.Post("http://"+e.AdminAddr+path, "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("POST %s: %s", path, resp.Status)
		}
		return nil
	}
	for name, end := range map[string]func(*envoytest.Process, *cutter) error{
		"SIGTERM":       func(e *envoytest.Process, _ *cutter) error { return syscall.Kill(e.Pid(), syscall.SIGTERM) },
		"/quitquitquit": func(e *envoytest.Process, _ *cutter) error { return post(e, "/quitquitquit") },
		"drain and quit": func(e *envoytest.Process, _ *cutter) error {
			return errors.Join(post(e, "/healthcheck/fail"), post(e, "/drain_listeners?graceful"), post(e, "/quitquitquit"))
		},
		"SIGKILL":        func(e *envoytest.Process, _ *cutter) error { return syscall.Kill(e.Pid(), syscall.SIGKILL) },
		"cut connection": func(_ *envoytest.Process, c *cutter) error { c.cut(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listen := func() net.Listener {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
			// A cut Envoy connects again, and its end with the test is told too.
			s := &listeningServer{begun: make(chan struct{}, 10), ended: make(chan error, 10)}
			g, l := grpc.NewServer(), listen()
			discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
			served := make(chan error, 1)
			go func() { served <- g.Serve(l) }()
			c := &cutter{Listener: listen()}
			go c.forward(l.Addr().String())
			t.Cleanup(func() {
				c.Close()
				c.cut()
				g.Stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
			})
			e := envoytest.Start(t, (&stack{t: t, xds: c.Addr().String()}).bootstrap("e2e", func(b *bootstrapv3.Bootstrap) { b.GetAdmin().AllowPaths = nil }))
			select {
			case <-s.begun:
			case <-time.After(patience):
				t.Fatal("Envoy asks for nothing")
			}
			if err := end(e, c); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-s.ended:
				if status.Code(err) != codes.Canceled {
					t.Errorf("the stream ended with %v", err)
				}
			case <-time.After(patience):
				t.Fatal("the stream has not ended")
			}
		})
	}
}

// proxyLists are the ids of the proxies, as `breakwater proxies` and the API list them.
type proxyLists struct{ connected, disconnected, replaced []string }

func (s *stack) proxyLists() proxyLists {
	s.t.Helper()
	var reply struct {
		Proxies []struct {
			ID string `json:"id"`
		} `json:"proxies"`
		Missed []struct {
			ID       string `json:"id"`
			Replaced bool   `json:"replaced"`
		} `json:"missed"`
	}
	s.api("/api/v1/proxies", &reply)
	var out proxyLists
	for _, p := range reply.Proxies {
		out.connected = append(out.connected, p.ID)
	}
	for _, p := range reply.Missed {
		if p.Replaced {
			out.replaced = append(out.replaced, p.ID)
		} else {
			out.disconnected = append(out.disconnected, p.ID)
		}
	}
	return out
}

func (s *stack) untilProxies(what, want string) {
	s.t.Helper()
	s.until(what, func() error {
		if got := fmt.Sprint(s.proxyLists()); got != want {
			return fmt.Errorf("the connected, disconnected and replaced proxies are %s, want %s", got, want)
		}
		return nil
	})
}

// untilConnectedFor waits until a proxy has been connected for a time.
func (s *stack) untilConnectedFor(id string, d time.Duration) {
	s.t.Helper()
	s.until(fmt.Sprintf("%s has been connected for %v", id, d), func() error {
		var reply struct {
			Proxies []struct {
				ID    string    `json:"id"`
				Since time.Time `json:"connected_since"`
			} `json:"proxies"`
		}
		s.api("/api/v1/proxies", &reply)
		for _, p := range reply.Proxies {
			if p.ID == id && time.Since(p.Since) >= d {
				return nil
			}
		}
		return fmt.Errorf("%+v", reply.Proxies)
	})
}

// TestRollingDeploymentOfEnvoys: the old Envoy of a rolling deployment is listed apart from those that are missing, and
// neither scraped nor counted, whether the new one comes first or the old one ends first, and over a restart of Breakwater.
func TestRollingDeploymentOfEnvoys(t *testing.T) {
	t.Parallel()
	s := newPlane(t, policies(layer2("svc", newScript(t), time.Minute)))
	one := s.startEnvoy("one")
	s.untilConnectedFor("one", 10*time.Second)
	two := s.startEnvoy("two")
	one.Stop()
	s.untilProxies("the new one came first", "{[two] [] [one]}")
	s.untilDisconnected()
	two.Stop()
	s.untilProxies("the old one ends", "{[] [two] [one]}")
	three := s.startEnvoy("three")
	s.untilProxies("the next comes", "{[three] [] [one two]}")
	if out := s.run("proxies"); !strings.Contains(out, "REPLACED") || strings.Contains(out, "DISCONNECTED") {
		t.Errorf("proxies says:\n%s", out)
	}
	want := fmt.Sprintf(`[{"targets":[%q],"labels":{"proxy":"three"}}]`, three.AdminAddr)
	if body, err := s.fetch("http://" + s.http + "/api/v1/prometheus/targets"); err != nil || body != want {
		t.Errorf("the targets are %s, %v; want %s", body, err, want)
	}
	if out := s.run("forget", "one"); !strings.HasPrefix(out, "one: forgotten") {
		t.Errorf("forget says %q", out)
	}
	s.kill()
	s.start()
	s.untilProxies("after a restart", "{[three] [] [two]}")
	three.Kill()
	s.untilProxies("one is killed, and no new one comes", "{[] [three] [two]}")
	s.untilDisconnected("three")
}
