package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// launch starts a command that goes on, as the stack's Breakwater, and waits until it is ready. Its output goes
// to the stack's log. It ends with the test.
func (s *stack) launch(dir string, in invocation) {
	s.t.Helper()
	s.log = &envoytest.Output{}
	s.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	cmd := exec.Command(breakwater, in.args...)
	cmd.Dir = dir
	cmd.Env = environment(in.env)
	s.t.Cleanup(func() {
		if s.process != nil {
			s.stop()
		}
		if log := s.log.String(); s.t.Failed() || strings.Contains(log, "DATA RACE") {
			s.t.Errorf("end of breakwater's log:\n%s", envoytest.LastLines(log, 60))
		}
	})
	s.begin(cmd)
}

// runner is a `breakwater run` on free ports.
type runner struct {
	*stack
	admin string // of its Envoy
}

// ports are all that it listens on, by the flag that sets it.
func (r *runner) ports() map[string]string {
	return map[string]string{"xds": r.xds, "http": r.http, "grpc": r.grpc, "gateway": r.gateway, "envoy-admin": r.admin}
}

func (r *runner) args() []string {
	args := []string{"run", "--state", r.stateDir}
	for flag, addr := range r.ports() {
		args = append(args, "--"+flag, addr)
	}
	return args
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	envoytest.Binary(t)
	return &runner{
		stack: &stack{
			t: t, stateDir: filepath.Join(t.TempDir(), "state"),
			xds: freeAddr(t), http: freeAddr(t), grpc: freeAddr(t), gateway: freeAddr(t),
		},
		admin: freeAddr(t),
	}
}

// start starts it on one policy, of a service on that upstream, and waits until requests get through.
func (r *runner) start(u *envoytest.Upstream) {
	r.t.Helper()
	r.dir = policyDir(r.t, map[string]string{"other.yaml": other(u, 5)})
	r.launch("", invocation{args: append(r.args(), "--policies", r.dir)})
	r.untilServed("/other", startTimeout)
}

func (r *runner) untilServed(path string, within time.Duration) {
	r.t.Helper()
	envoytest.Eventually(r.t, within, path+" is served", func() error {
		reply, err := r.try(http.MethodGet, path, nil)
		if err == nil && reply.status != http.StatusOK {
			err = fmt.Errorf("%d: %s", reply.status, reply.body)
		}
		return err
	})
}

var envoyStarted = regexp.MustCompile(`envoy started: pid=(\d+)`)

// envoys are the process ids of the Envoys that it has started, by its log.
func (r *runner) envoys() []int {
	var pids []int
	for _, m := range envoyStarted.FindAllStringSubmatch(r.log.String(), -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			r.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// untilNothingIsLeft waits until no Envoy of its runs and all its ports are free.
func (r *runner) untilNothingIsLeft() {
	r.t.Helper()
	envoytest.Eventually(r.t, 5*time.Second, "nothing is left", func() error {
		for _, pid := range r.envoys() {
			if err := running(pid); err != nil {
				return err
			}
		}
		for flag, addr := range r.ports() {
			if err := envoy.CheckFree(addr, flag); err != nil {
				return err
			}
		}
		return nil
	})
}

// mustEnd sends a signal that ends it in order.
func (r *runner) mustEnd(sig syscall.Signal) {
	r.t.Helper()
	if err := r.process.Signal(sig); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.process.Done():
	case <-time.After(15 * time.Second):
		r.t.Fatal("it does not end")
	}
	if err := r.process.Err(); err != nil {
		r.t.Errorf("it ended with %v, want exit code 0", err)
	}
}

// running returns an error if the process runs. A zombie, which waits for its parent to ask how it
// ended, does not.
func running(pid int) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	// pid (name) state …
	_, after, _ := strings.Cut(string(stat), ") ")
	if strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X") {
		return nil
	}
	return fmt.Errorf("process %d is there: %s", pid, stat)
}

func TestRunRecoversEnvoy(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.start(envoytest.NewUpstream(t))
	for n := 1; n <= 3; n++ {
		pids := r.envoys()
		if len(pids) != n {
			t.Fatalf("Envoys were started: %v, want %d", pids, n)
		}
		if err := syscall.Kill(pids[n-1], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		r.until("it is noticed", func() error {
			if got := strings.Count(r.log.String(), "envoy ended"); got != n {
				return fmt.Errorf("%d ends were", got)
			}
			return nil
		})
		r.untilServed("/other", 5*time.Second)
	}
}

func TestRunEndsCleanly(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			r := newRunner(t)
			r.start(envoytest.NewUpstream(t))
			r.mustEnd(sig)
			if len(r.envoys()) != 1 {
				t.Errorf("Envoys were started: %v", r.envoys())
			}
			r.untilNothingIsLeft()
		})
	}
}

func TestRunIsKilled(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.start(envoytest.NewUpstream(t))
	r.kill()
	r.untilNothingIsLeft()
	// The next one finds nothing in its way.
	r.start(envoytest.NewUpstream(t))
}

func TestRunNamesATakenPort(t *testing.T) {
	t.Parallel()
	dir := policyDir(t, map[string]string{"svc.yaml": doubtfulPolicy, "bad.yaml": invalidPolicy})
	for flag := range newRunner(t).ports() {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t)
			taken, err := net.Listen("tcp", r.ports()[flag])
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			invoke(t, invocation{args: append(r.args(), "--policies", dir)}).mustFail(t, 1, taken.Addr().String(), flag)
		})
	}
}

func TestRunNeedsAFitEnvoy(t *testing.T) {
	t.Parallel()
	dir := policyDir(t, map[string]string{"svc.yaml": validPolicy})
	script := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old := "echo; echo '" + filepath.Join(dir, "envoy") + "  version: 0123abcd/1.38.0/Clean/RELEASE/BoringSSL'; echo\n"
	onPath := script("envoy", old, 0o700)
	for name, c := range map[string]struct {
		env   []string
		words []string
	}{
		"there is none":        {[]string{"ENVOY", "PATH=" + t.TempDir()}, []string{"make envoy", "ENVOY"}},
		"too old":              {[]string{"ENVOY=" + script("old", old, 0o700)}, []string{"1.38.0", "1.39.0"}},
		"too old on PATH":      {[]string{"ENVOY", "PATH=" + filepath.Dir(onPath)}, []string{"1.38.0", "1.39.0"}},
		"not there":            {[]string{"ENVOY=/nonexistent/envoy"}, []string{"/nonexistent/envoy"}},
		"not executable":       {[]string{"ENVOY=" + script("text", old, 0o600)}, []string{"text"}},
		"another program":      {[]string{"ENVOY=" + script("other", "echo hello\n", 0o700)}, []string{"hello"}},
		"a program that fails": {[]string{"ENVOY=" + script("fails", "exit 3\n", 0o700)}, []string{"exit status 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t)
			// Elsewhere: below the repository an Envoy may be found.
			in := invocation{args: append(r.args(), "--policies", dir), env: c.env, dir: t.TempDir()}
			invoke(t, in).mustFail(t, 1, c.words...)
		})
	}
}

func TestTwoOnOneStateDirectory(t *testing.T) {
	t.Parallel()
	s := newPlane(t, map[string]string{"svc.yaml": validPolicy})
	second := invoke(t, invocation{args: []string{
		"serve", "--policies", s.dir, "--state", s.stateDir, "--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
	}})
	second.mustFail(t, 1, s.stateDir, "already running", strconv.Itoa(s.process.Pid()))
	if _, err := s.fetch("http://" + s.http + "/readyz"); err != nil {
		t.Errorf("the first: %v", err)
	}
}
