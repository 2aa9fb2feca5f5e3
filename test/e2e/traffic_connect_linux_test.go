package e2e

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// swallow returns an address of the loopback interface that lets connections hang: nobody accepts them,
// and when the queue of a listener is full Linux answers no SYN.
func swallow(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() {
		if err := syscall.Close(fd); err != nil {
			t.Error(os.NewSyscallError("close", err))
		}
	})
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return addr
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatalf("%s still takes connections that nobody accepts", addr)
	return ""
}

func TestFailuresToConnectOpenTheBreaker(t *testing.T) {
	t.Parallel()
	s := newStack(t, policies(
		at("closed", closedPort(t), "retry: off"),
		at("silent", swallow(t), "retry: off", "timeout: {connect: 300ms, request: 20s}"),
		at("retried", closedPort(t), "retry: {max_retries: 4, "+quick+"}"),
	))
	for _, tt := range []struct {
		service string
		after   time.Duration
	}{{"closed", 0}, {"silent", 300 * time.Millisecond}} {
		for range 5 {
			r := s.get("/" + tt.service)
			if err := r.fails(tt.service, http.StatusServiceUnavailable, "connect_failure"); err != nil {
				t.Errorf("%s: %v", tt.service, err)
			}
			if r.header.Get("X-Circuit-Breaker") != "" {
				t.Errorf("%s: open before the fifth failure", tt.service)
			}
			r.tookAbout(t, tt.service, tt.after)
		}
		s.untilAllEjected(tt.service, 1)
		r := s.get("/" + tt.service)
		if err := r.isOpen(); err != nil {
			t.Errorf("%s: %v", tt.service, err)
		}
		if r.took > 200*time.Millisecond {
			t.Errorf("%s: an open breaker answers after %v", tt.service, r.took)
		}
		if got := s.state(tt.service); got != "open" {
			t.Errorf("%s is %s, want open", tt.service, got)
		}
	}

	// Each attempt counts: the five of one POST open the breaker.
	if err := s.do(http.MethodPost, "/retried", nil).fails("retried", http.StatusServiceUnavailable, "connect_failure"); err != nil {
		t.Error(err)
	}
	s.untilAllEjected("retried", 1)
	if err := s.get("/retried").isOpen(); err != nil {
		t.Error(err)
	}
}
