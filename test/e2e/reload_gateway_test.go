package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

func freeAddr(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t))))
}

// TestGatewayMoves edits the address that Envoy listens on, while it runs.
func TestGatewayMoves(t *testing.T) {
	t.Parallel()
	o := envoytest.NewUpstream(t)
	first, second := freeAddr(t), freeAddr(t)
	// The empty flag takes back the one that the stack gives.
	s := newPlane(t, map[string]string{"other.yaml": other(o, 5), "gateway.yaml": "address: " + first + "\n"}, "--gateway", "")
	s.gateway = first
	s.envoy = s.startEnvoy("e2e")
	s.live("/other", o, 5)

	// A request that is under way is not cut off.
	o.Behave(envoytest.Behaviour{Delay: time.Second})
	arrived := o.Requests()
	slow := make(chan error, 1)
	go func() {
		r, err := s.try(http.MethodGet, "/other", nil)
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("%d: %s", r.status, r.body)
		}
		slow <- err
	}()
	s.until("the slow request has arrived", func() error {
		if o.Requests() == arrived {
			return errors.New("it has not")
		}
		return nil
	})
	o.Behave(envoytest.Behaviour{})
	s.write("gateway.yaml", "address: "+second+"\n")
	s.until("the gateway answers at its new address", func() error {
		_, err := s.fetch("http://" + second + "/other")
		return err
	})
	if err := <-slow; err != nil {
		t.Errorf("a request from before the move: %v", err)
	}
	s.untilClear()
	// The old address is given up: who connects there anew is refused.
	s.until("the old address is free", func() error {
		if r, err := s.try(http.MethodGet, "/other", nil); err == nil {
			return fmt.Errorf("it answers %d", r.status)
		}
		return nil
	})
	s.gateway = second
	s.write("other.yaml", other(o, 6))
	s.live("/other", o, 6)

	// An address that Envoy can not have is shown as such; the gateway stays where it is.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.write("gateway.yaml", "# moved again\naddress: "+taken.Addr().String()+"\n")
	s.until("the rejection is shown", func() error {
		c := s.config()
		if len(c.Rejections) != 1 || c.OK || c.Rejections[0].Position.File != "gateway.yaml" ||
			!strings.Contains(c.Rejections[0].Message, taken.Addr().String()) {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if out := s.run("status"); !strings.Contains(out, "rejected: gateway.yaml:") {
		t.Errorf("status says:\n%s", out)
	}
	s.write("other.yaml", other(o, 7))
	s.live("/other", o, 7)
	s.write("gateway.yaml", "address: "+second+"\n")
	s.untilNotRefused()
}
