package envoy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// supervise runs an Envoy on a free admin port until the test ends.
func supervise(t *testing.T, change func(*envoy.Supervisor)) (s *envoy.Supervisor, admin *envoy.Admin, stop func() error) {
	t.Helper()
	_, xds := startADS(t, "127.0.0.1:0", nil)
	adminAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t))))
	s = newSupervisor(t, envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: xds, AdminAddr: adminAddr})
	if change != nil {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	admin = envoy.NewAdmin(adminAddr)
	t.Cleanup(admin.Close)
	return s, admin, stop
}

func newSupervisor(t *testing.T, config envoy.BootstrapConfig) *envoy.Supervisor {
	t.Helper()
	b, err := config.Build()
	if err != nil {
		t.Fatal(err)
	}
	return &envoy.Supervisor{
		Binary:      envoy.Binary{Path: envoytest.Binary(t)},
		Bootstrap:   b,
		Dir:         filepath.Join(t.TempDir(), "run"),
		Concurrency: 1,
	}
}

func waitReady(t *testing.T, admin *envoy.Admin) {
	t.Helper()
	envoytest.Eventually(t, 20*time.Second, "Envoy is ready", func() error { return admin.Ready(context.Background()) })
}

// gone returns nil if there is no such process, not even a dead one to be waited for.
func gone(pid int) error {
	switch err := syscall.Kill(pid, 0); {
	case errors.Is(err, syscall.ESRCH):
		return nil
	case err != nil:
		return fmt.Errorf("process %d is there: %w", pid, err)
	}
	return fmt.Errorf("process %d is there", pid)
}

func TestSupervisorStartsAndStops(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var started []int
	var stderr bytes.Buffer
	s, admin, stop := supervise(t, func(s *envoy.Supervisor) {
		s.Stderr, s.LogLevel = &stderr, "debug"
		s.OnStart = func(pid int) { mu.Lock(); defer mu.Unlock(); started = append(started, pid) }
	})
	waitReady(t, admin)
	pid := s.Pid()
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
	if got := s.Pid(); got != 0 {
		t.Errorf("Pid() after the end = %d, want 0", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(started) != 1 || started[0] != pid {
		t.Errorf("OnStart got %v, want [%d]", started, pid)
	}
	if !strings.Contains(stderr.String(), "[debug]") {
		t.Error("Stderr has not Envoy's log at the level that was asked")
	}
}

func TestSupervisorRestartsAKilledEnvoy(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s, admin, stop := supervise(t, func(s *envoy.Supervisor) { s.Log = hclog.New(&hclog.LoggerOptions{Output: &log}) })
	waitReady(t, admin)
	first := s.Pid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, 10*time.Second, "another Envoy", func() error {
		if pid := s.Pid(); pid == 0 || pid == first {
			return fmt.Errorf("pid is %d", pid)
		}
		return nil
	})
	waitReady(t, admin)
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if want := `envoy ended: exit="signal: killed"`; !strings.Contains(log.String(), want) {
		t.Errorf("the log has no %s:\n%s", want, log.String())
	}
}

func TestSupervisorGoesOnWhileEnvoyCrashes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSupervisor(t, envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: "127.0.0.1:1", AdminAddr: "127.0.0.1:0"})
	s.Binary.Path = filepath.Join(t.TempDir(), "envoy")
	if err := os.WriteFile(s.Binary.Path, []byte("#!/bin/sh\necho crash >&2\nkill -SEGV $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	starts := 0
	s.OnStart = func(int) {
		if starts++; starts == 5 {
			cancel()
		}
	}
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil once its context has ended", err)
	}
	if starts != 5 {
		t.Errorf("%d starts, want 5", starts)
	}
}

func TestSupervisorKillsAnEnvoyThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s, admin, stop := supervise(t, func(s *envoy.Supervisor) { s.StopGrace = 50 * time.Millisecond })
	waitReady(t, admin)
	pid := s.Pid()
	// A stopped process takes no SIGTERM.
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if err := gone(pid); err != nil {
		t.Error(err)
	}
}

func TestSupervisorGivesUpOnATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newSupervisor(t, envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: "127.0.0.1:1", AdminAddr: taken.Addr().String()})
	want := fmt.Sprintf("envoy does not start: cannot bind '%s': Address already in use", taken.Addr())
	if err := s.Run(t.Context()); err == nil || err.Error() != want {
		t.Errorf("Run = %v, want %s", err, want)
	}
}

func TestSupervisorGivesUpOnABadConfiguration(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: "127.0.0.1:1", AdminAddr: "127.0.0.1:0"})
	s.Bootstrap.DynamicResources.AdsConfig.GrpcServices[0].GetEnvoyGrpc().ClusterName = "nowhere"
	err := s.Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "envoy does not start: ") || !strings.Contains(err.Error(), "nowhere") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("Run = %v, want Envoy's reason in one line", err)
	}
}

func TestSupervisorWithoutABinary(t *testing.T) {
	t.Parallel()
	s := newSupervisor(t, envoy.BootstrapConfig{NodeID: nodeID, XDSAddr: "127.0.0.1:1", AdminAddr: "127.0.0.1:0"})
	s.Binary.Path = filepath.Join(t.TempDir(), "missing")
	if err := s.Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Run = %v, want that it does not exist", err)
	}
}

func TestSupervisorReplacesAnEnvoyThatHangs(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	hung := make(chan int, 1)
	s, admin, stop := supervise(t, func(s *envoy.Supervisor) {
		s.Log = hclog.New(&hclog.LoggerOptions{Output: &log})
		s.OnHang = func(pid int) { hung <- pid }
	})
	waitReady(t, admin)
	first := s.Pid()
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, 40*time.Second, "another Envoy", func() error {
		if pid := s.Pid(); pid == 0 || pid == first {
			return fmt.Errorf("pid is %d", pid)
		}
		return gone(first)
	})
	if pid := <-hung; pid != first {
		t.Errorf("OnHang was told of %d, want %d", pid, first)
	}
	waitReady(t, admin)
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	if want := fmt.Sprintf("envoy hangs: its admin API does not answer; it is replaced: pid=%d", first); !strings.Contains(log.String(), want) {
		t.Errorf("the log has no %s:\n%s", want, log.String())
	}
}
