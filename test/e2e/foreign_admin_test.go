package e2e

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// TestForeignServerAsAdminAPI: a node names the port of some other server as its admin API's, and nobody learns from Breakwater
// what that server says.
func TestForeignServerAsAdminAPI(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
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
			go func() {
				defer c.Close()
				request := make([]byte, 4096)
				for {
					if _, err := c.Read(request); err != nil {
						return
					}
					// The second reply, for which nobody has asked, is in the same segment.
					reply := "HTTP/1.1 404 Not Found\r\nX-Token: " + secret + "\r\nContent-Length: 7\r\n\r\n" + secret
					if _, err := c.Write([]byte(reply + reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	u := envoytest.NewUpstream(t)
	s := newPlane(t, operated(u))
	s.startEnvoy("edge", adminPort(uint16(l.Addr().(*net.TCPAddr).Port)))
	said := ""
	s.until("the admin API is said to be none", func() error {
		if said = s.run("proxies", "-o", "json", "--server", s.grpc); !strings.Contains(said, "404 Not Found") {
			return errors.New(said)
		}
		return nil
	})
	for _, args := range [][]string{{"status"}, {"status", "svc", "-o", "json"}, {"explain", "svc", "-o", "json"}, {"events"}} {
		said += s.run(append(args, "--server", s.grpc)...)
	}
	for _, path := range []string{"/api/v1/breakers/svc/traffic", "/api/v1/circuit-breakers", "/metrics"} {
		body, err := s.fetch("http://" + s.http + path)
		if err != nil {
			t.Fatal(err)
		}
		said += body
	}
	if _, text, found := strings.Cut(said+s.log.String(), secret); found {
		t.Errorf("the server's words are told: %s%.200s", secret, text)
	}
}
