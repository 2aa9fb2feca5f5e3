package envoytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/envoy/child"
)

const (
	startTimeout = 20 * time.Second
	stopGrace    = 5 * time.Second
	// shownLog is the number of log lines that a failed test prints.
	shownLog = 80
)

// Binary returns the path of the real Envoy, from the environment variable ENVOY.
// Without it the test fails.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ENVOY")
	if path == "" {
		t.Fatal("ENVOY is not set: run `make envoy` or `make test`")
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("ENVOY: %v: run `make envoy` or `make test`", err)
	}
	return path
}

// Options change how Start starts Envoy.
type Options struct {
	// Binary is the path of Envoy; empty means what Binary returns.
	Binary string
	// Concurrency is the number of worker threads; 0 means 2.
	Concurrency int
	// LogLevel is Envoy's; empty means info.
	LogLevel string
	// Args are appended to the command line.
	Args []string
	// HotRestart lets the process take over from another one of the test with the same admin address, and Epoch is how
	// many there were before. Without it there is no hot restart.
	HotRestart bool
	Epoch      int
}

// Process is one real Envoy.
type Process struct {
	// AdminAddr is the host:port of its admin API.
	AdminAddr string

	process *child.Process
	logPath string
	admin   *envoy.Admin
}

// Start starts Envoy and returns once its admin API answers; see WaitReady for its
// configuration. A bootstrap without an admin address, or with port 0, gets a free
// port, so tests can run in parallel. Envoy ends with the test; if that failed, the
// end of Envoy's log is printed.
func Start(t testing.TB, bootstrap *bootstrapv3.Bootstrap) *Process {
	t.Helper()
	return StartWith(t, bootstrap, Options{})
}

// StartWith is Start with options.
func StartWith(t testing.TB, bootstrap *bootstrapv3.Bootstrap, opts Options) *Process {
	t.Helper()
	binary, dir := opts.Binary, t.TempDir()
	if binary == "" {
		binary = Binary(t)
	}
	config := writeBootstrap(t, dir, bootstrap)
	adminPath := filepath.Join(dir, "admin-address")

	p := &Process{logPath: filepath.Join(dir, "envoy.log")}
	logFile, err := os.Create(p.logPath)
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close() // the child has its own descriptor
	if opts.Concurrency == 0 {
		opts.Concurrency = 2
	}
	if opts.LogLevel == "" {
		opts.LogLevel = "info"
	}
	restart := []string{"--disable-hot-restart"}
	if opts.HotRestart {
		port := bootstrap.GetAdmin().GetAddress().GetSocketAddress().GetPortValue() // no other Envoy has it
		restart = []string{"--base-id", strconv.Itoa(int(port)), "--restart-epoch", strconv.Itoa(opts.Epoch)}
	}
	cmd := exec.Command(binary, append(append([]string{
		"--config-path", config,
		"--admin-address-path", adminPath,
		"--concurrency", strconv.Itoa(opts.Concurrency),
		"--log-level", opts.LogLevel,
	}, restart...), opts.Args...)...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	p.process, err = child.Start(cmd)
	if err != nil {
		t.Fatalf("starting %s: %v", binary, err)
	}
	t.Cleanup(func() {
		p.process.Stop(stopGrace)
		if t.Failed() {
			t.Logf("end of the log of Envoy (pid %d):\n%s", p.Pid(), LastLines(p.Log(), shownLog))
		}
	})

	Eventually(t, startTimeout, "Envoy writes its admin address", func() error {
		if p.Exited() {
			t.Fatalf("Envoy ended while it started: %v", p.process.Err())
		}
		addr, err := os.ReadFile(adminPath)
		if err == nil && len(addr) == 0 {
			err = errors.New("the file is empty")
		}
		p.AdminAddr = strings.TrimSpace(string(addr))
		return err
	})
	p.admin = envoy.NewAdmin(p.AdminAddr)
	t.Cleanup(p.admin.Close)
	Eventually(t, startTimeout, "Envoy's admin API answers", func() error {
		_, err := p.admin.ServerInfo(context.Background())
		return err
	})
	return p
}

// WaitReady waits until Envoy is live: it has its clusters and its listeners.
func (p *Process) WaitReady(t testing.TB, timeout time.Duration) {
	t.Helper()
	Eventually(t, timeout, "Envoy is ready", func() error { return p.admin.Ready(context.Background()) })
}

// Admin is a client of the admin API; it is closed when the test ends.
func (p *Process) Admin() *envoy.Admin { return p.admin }

// Pid is Envoy's process id.
func (p *Process) Pid() int { return p.process.Pid() }

// Exited reports whether Envoy has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.process.Done():
		return true
	default:
		return false
	}
}

// Stop ends Envoy in order and returns when it is gone.
func (p *Process) Stop() { p.process.Stop(stopGrace) }

// Kill ends Envoy with SIGKILL and returns when it is gone.
func (p *Process) Kill() {
	// It fails only if Envoy has ended before.
	_ = p.process.Signal(syscall.SIGKILL)
	<-p.process.Done()
}

// Log returns what Envoy has written so far to its standard output and error.
func (p *Process) Log() string {
	log, err := os.ReadFile(p.logPath)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	return string(log)
}

// Validate asks `envoy --mode validate` whether it takes the bootstrap, and fails
// the test with Envoy's reason if not.
func Validate(t testing.TB, bootstrap *bootstrapv3.Bootstrap) {
	t.Helper()
	binary := Binary(t)
	config := writeBootstrap(t, t.TempDir(), bootstrap)
	out, err := exec.Command(binary, "--mode", "validate", "--config-path", config).CombinedOutput()
	if err != nil {
		t.Fatalf("envoy --mode validate: %v\n%s", err, LastLines(string(out), 10))
	}
}

func writeBootstrap(t testing.TB, dir string, bootstrap *bootstrapv3.Bootstrap) string {
	t.Helper()
	b := proto.CloneOf(bootstrap)
	if b.GetAdmin().GetAddress() == nil {
		if b.Admin == nil {
			b.Admin = &bootstrapv3.Admin{}
		}
		b.Admin.Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address:       "127.0.0.1",
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
		}}}
	}
	data, err := envoy.MarshalYAML(b)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
