package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
)

// startTimeout bounds the start of a process with the race detector on a busy machine.
const startTimeout = 30 * time.Second

// patience bounds each wait for what is promised at once: it is long, because a test passes as soon as it has come, and a
// machine may be busy.
const patience = time.Minute

// noRaceSleep takes back the second that the race detector's runtime waits at the end of a process.
const noRaceSleep = "GORACE=atexit_sleep_ms=0"

// stack is one Breakwater and one Envoy on free ports.
type stack struct {
	t   testing.TB
	dir string // of the policies

	xds, http, grpc, gateway string
	stateDir                 string
	within                   []string // the command that runs serve, such as nsenter; empty for none
	args                     []string
	env                      []string // of serve, beside the test's own

	process *child.Process
	log     *envoytest.Output
	envoy   *envoytest.Process
	client  *http.Client
}

// newStack starts `breakwater serve` on these policy files and an Envoy, and waits until Envoy
// serves. args are appended to the command line of serve.
func newStack(t testing.TB, files map[string]string, args ...string) *stack {
	t.Helper()
	s := newPlane(t, files, args...)
	s.envoy = s.startEnvoy("e2e")
	return s
}

// newPlane is newStack without the Envoy.
func newPlane(t testing.TB, files map[string]string, args ...string) *stack {
	t.Helper()
	s := prepared(t, files, args...)
	s.startForTest()
	return s
}

// prepared is newPlane before its start.
func prepared(t testing.TB, files map[string]string, args ...string) *stack {
	t.Helper()
	addr := func() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t)))) }
	s := &stack{
		t: t, dir: t.TempDir(), stateDir: filepath.Join(t.TempDir(), "state"),
		xds: addr(), http: addr(), grpc: addr(), gateway: addr(),
		args: args,
		log:  &envoytest.Output{},
		// No connection is kept: one that a test left behind would count as a leak, and each
		// request is to be balanced afresh.
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for name, content := range files {
		s.write(name, content)
	}
	return s
}

// startForTest starts Breakwater until the test ends.
func (s *stack) startForTest() {
	s.t.Helper()
	s.start()
	s.endWithTest()
}

// endWithTest ends the Breakwater that was started, or was started again since, with the test.
func (s *stack) endWithTest() {
	s.t.Helper()
	s.t.Cleanup(func() {
		s.stop()
		if log := s.log.String(); strings.Contains(log, "DATA RACE") {
			s.t.Errorf("breakwater has a data race:\n%s", log)
		} else if s.t.Failed() {
			s.t.Logf("end of breakwater's log:\n%s", envoytest.LastLines(log, 60))
		}
	})
}

// start starts `breakwater serve` on the stack's ports and waits until it is ready.
func (s *stack) start() {
	s.t.Helper()
	args := slices.Concat(s.within, []string{
		breakwater, "serve", "--policies", s.dir, "--state", s.stateDir,
		"--xds", s.xds, "--http", s.http, "--grpc", s.grpc, "--gateway", s.gateway,
	}, s.args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), noRaceSleep), s.env...)
	s.begin(cmd)
}

// begin starts a command as the stack's Breakwater and waits until it is ready. Its output goes to the stack's log.
func (s *stack) begin(cmd *exec.Cmd) {
	s.t.Helper()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	p, err := child.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = p
	envoytest.Eventually(s.t, startTimeout, "breakwater is ready", func() error {
		select {
		case <-p.Done():
			s.t.Fatalf("breakwater ended: %v\n%s", p.Err(), envoytest.LastLines(s.log.String(), 20))
		default:
		}
		_, err := s.fetch("http://" + s.http + "/readyz")
		return err
	})
}

// stop ends Breakwater in order.
func (s *stack) stop() { s.process.Stop(10 * time.Second) }

// kill ends Breakwater as kill -9 does.
func (s *stack) kill() {
	s.t.Helper()
	if err := s.process.Signal(syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	<-s.process.Done()
}

// startEnvoy starts an Envoy from what `breakwater bootstrap` prints, with these changes to it, and waits until it
// serves.
func (s *stack) startEnvoy(id string, change ...func(*bootstrapv3.Bootstrap)) *envoytest.Process {
	s.t.Helper()
	e := envoytest.Start(s.t, s.bootstrap(id, change...))
	e.WaitReady(s.t, startTimeout)
	return e
}

// bootstrap is what `breakwater bootstrap` prints, with these changes to it.
func (s *stack) bootstrap(id string, change ...func(*bootstrapv3.Bootstrap)) *bootstrapv3.Bootstrap {
	s.t.Helper()
	out := s.run("bootstrap", "--node-id", id, "--node-cluster", "e2e", "--xds", s.xds,
		"--admin", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(s.t)))), "-o", "json")
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal([]byte(out), b); err != nil {
		s.t.Fatalf("the bootstrap: %v", err)
	}
	for _, c := range change {
		c(b)
	}
	return b
}

// write writes a policy file as an editor does that renames.
func (s *stack) write(name, content string) {
	s.t.Helper()
	tmp := filepath.Join(s.dir, "."+name+".tmp")
	if err := os.WriteFile(tmp, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stack) remove(name string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		s.t.Fatal(err)
	}
}

// reply is one answer of the gateway.
type reply struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// get sends a GET request for the path through the gateway.
func (s *stack) get(path string) reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil)
}

// do sends a request through the gateway. A request without an answer fails the test.
func (s *stack) do(method, path string, header http.Header) reply {
	s.t.Helper()
	r, err := s.try(method, path, header)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (s *stack) try(method, path string, header http.Header) (reply, error) {
	return s.request(method, path, header, http.NoBody)
}

// request sends a request through the gateway. It may be called from any goroutine.
func (s *stack) request(method, path string, header http.Header, body io.Reader) (reply, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.gateway+path, body)
	if err != nil {
		return reply{}, err
	}
	for name, values := range header {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	start := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(text), time.Since(start)}, err
}

// fetch gets a URL that must answer 200.
func (s *stack) fetch(url string) (string, error) {
	resp, err := s.client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d: %s", url, resp.StatusCode, body)
	}
	return string(body), err
}

// api decodes a GET of Breakwater's HTTP API.
func (s *stack) api(path string, into any) {
	s.t.Helper()
	body, err := s.fetch("http://" + s.http + path)
	if err == nil {
		err = json.Unmarshal([]byte(body), into)
	}
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
}

// run runs a command of Breakwater's that must succeed and returns its standard output.
func (s *stack) run(args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.command(args...)
	if code != 0 {
		s.t.Fatalf("breakwater %s: exit code %d: %s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// command runs a command of Breakwater's.
func (s *stack) command(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), breakwater, args...)
	cmd.Env = append(os.Environ(), "BREAKWATER_SERVER="+s.grpc, noRaceSleep)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// until waits for a condition.
func (s *stack) until(what string, look func() error) {
	s.t.Helper()
	envoytest.Eventually(s.t, patience, what, look)
}

// ejected returns the addresses of the service's ejected hosts, as Envoy's admin API says.
func (s *stack) ejected(service string) []string {
	s.t.Helper()
	status, err := s.envoy.Admin().Clusters(s.t.Context(), service)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, c := range status.GetClusterStatuses() {
		for _, h := range hostStates(c) {
			if h.Ejected {
				out = append(out, h.Address)
			}
		}
	}
	return out
}
