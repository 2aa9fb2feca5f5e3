package docs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

const (
	// serveTimeout bounds the start of a server, with the race detector on a busy machine.
	serveTimeout = 60 * time.Second
	stopGrace    = 10 * time.Second
)

// servers are the commands that serve until they are ended, by how they begin, and the URL that answers 200 once they do.
var servers = []struct{ prefix, ready string }{
	{"breakwater serve ", "http://127.0.0.1:8081/readyz"},
	{"breakwater demo-upstream", "http://127.0.0.1:8005/api/v1/fraud/score"},
	{"breakwater run --policies policies", "http://127.0.0.1:8080/fraud-service/health"}, // of docs/migration.md
	{"envoy -c ", "http://127.0.0.1:9901/ready"},
	{"make run", "http://127.0.0.1:8080/api/v1/fraud/score"},
}

// ready is the URL of a command that serves, or empty.
func ready(command string) string {
	for _, s := range servers {
		if strings.HasPrefix(strings.TrimPrefix(command, "bin/"), s.prefix) {
			return s.ready
		}
	}
	return ""
}

// host is a network namespace of Linux, in which every port is free, so that servers run as the documents say. It has the address
// of the other host in the examples too.
type host struct {
	t       *testing.T
	dir     string
	env     []string
	enter   []string
	serving []*server
}

// server is a command that serves.
type server struct {
	*child.Process
	command, ready string
	log            *envoytest.Output
}

// newHost returns a host for commands in a shop's directory. It ends with the test.
func newHost(t *testing.T, s *shop.Shop) *host {
	t.Helper()
	h := &host{t: t, dir: s.Dir}
	// It is not that shop which commands are to act on.
	h.env = slices.DeleteFunc(slices.Clone(s.Env), func(have string) bool {
		name, _, _ := strings.Cut(have, "=")
		return strings.HasPrefix(name, "BREAKWATER_") || strings.HasSuffix(name, "_SERVICE_URL")
	})
	h.env = append(h.env, "HOME="+filepath.Join(s.Dir, "host")) // two servers do not share a state directory
	args, enter := []string{"--net"}, []string{"--net"}
	if os.Geteuid() != 0 {
		args, enter = append(args, "--user", "--map-root-user"), append(enter, "--user", "--preserve-credentials")
	}
	var out envoytest.Output
	cmd := exec.Command("unshare", append(args, "sh", "-ec", "ip link set lo up; ip address add 10.0.0.5/32 dev lo; echo up; exec sleep infinity")...)
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatalf("a network of its own: %v; on Debian and Ubuntu: apt-get install iproute2 util-linux", err)
	}
	t.Cleanup(func() { p.Stop(stopGrace) })
	envoytest.Eventually(t, serveTimeout, "there is a network of its own", func() error {
		select {
		case <-p.Done():
			t.Fatalf("a network of its own needs root, or unprivileged user namespaces: %v\n%s", p.Err(), out.String())
		default:
		}
		if out.String() != "up\n" {
			return fmt.Errorf("%q", out.String())
		}
		return nil
	})
	h.enter = append([]string{"--target", fmt.Sprint(p.Pid())}, enter...)
	t.Cleanup(h.stop)
	return h
}

// run runs a command: one that serves goes on until the host is stopped, once it is ready.
func (h *host) run(command string) error {
	h.t.Helper()
	url := ready(command)
	if url == "" {
		_, err := h.sh(command)
		return err
	}
	s := &server{command: command, ready: url, log: &envoytest.Output{}}
	cmd := exec.Command("nsenter", append(slices.Clone(h.enter), "bash", "-c", "exec "+command)...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = h.dir, h.env, s.log, s.log
	var err error
	if s.Process, err = child.Start(cmd); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	h.serving = append(h.serving, s)
	envoytest.Eventually(h.t, serveTimeout, command+" is ready", func() error {
		select {
		case <-s.Done():
			err = fmt.Errorf("%s ended: %w\n%s", command, s.Err(), s.log.String())
			return nil
		default:
		}
		return h.answers(url)
	})
	return err
}

// sh runs commands that end, and returns what they print.
func (h *host) sh(commands string) (string, error) {
	h.t.Helper()
	out, err := sh(h.t, h.dir, h.env, commands, append([]string{"nsenter"}, h.enter...)...)
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", commands, err, out)
	}
	return out, err
}

// answers returns an error if a URL does not answer 200.
func (h *host) answers(url string) error {
	_, err := h.curl("-f", "-o", os.DevNull, url)
	return err
}

// curl asks for a URL within 5 s and returns what curl prints.
func (h *host) curl(args ...string) (string, error) {
	cmd := exec.CommandContext(h.t.Context(), "nsenter", slices.Concat(h.enter, []string{"curl", "-sS", "-m", "5"}, args)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return string(out), err
}

// stop ends what serves, as Ctrl-C does.
func (h *host) stop() {
	h.t.Helper()
	for _, s := range slices.Backward(h.serving) {
		if err := syscall.Kill(-s.Pid(), syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
			h.t.Errorf("%s: %v", s.command, err)
		}
		timer := time.NewTimer(stopGrace)
		select {
		case <-s.Done():
		case <-timer.C:
			h.t.Errorf("Ctrl-C does not end %s:\n%s", s.command, s.log.String())
			s.Stop(stopGrace)
		}
		timer.Stop()
		if h.answers(s.ready) == nil {
			h.t.Errorf("%s has ended, and %s is served still", s.command, s.ready)
		}
		if strings.Contains(s.log.String(), "DATA RACE") {
			h.t.Errorf("%s has a data race:\n%s", s.command, s.log.String())
		}
	}
	h.serving = nil
}
