package shop

import (
	"context"
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
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
)

const (
	// startTimeout bounds the start of a process with the race detector on a busy machine.
	startTimeout = 60 * time.Second
	stopGrace    = 10 * time.Second
)

// upstreams are the variables that examples/shop takes the services' addresses from, by port.
var upstreams = map[string]int{
	"RECOMMENDATION_SERVICE_URL": 8001,
	"SEARCH_SERVICE_URL":         8002,
	"PRICING_SERVICE_URL":        8003,
	"CHATBOT_SERVICE_URL":        8004,
	"FRAUD_SERVICE_URL":          8005,
	"FORECAST_SERVICE_URL":       8006,
	"VISION_SERVICE_URL":         8007,
}

// Addrs are the addresses, as host:port, of one Breakwater and its Envoy.
type Addrs struct {
	Gateway, HTTP, GRPC, XDS, Admin string
}

// FreeAddrs returns addresses that nothing listens on now.
func FreeAddrs(t testing.TB) Addrs {
	t.Helper()
	free := func() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(envoytest.FreePort(t)))) }
	return Addrs{Gateway: free(), HTTP: free(), GRPC: free(), XDS: free(), Admin: free()}
}

// Env gives the addresses to breakwater's commands, servers and clients alike.
func (a Addrs) Env() []string {
	return []string{
		"BREAKWATER_GATEWAY=" + a.Gateway,
		"BREAKWATER_HTTP=" + a.HTTP,
		"BREAKWATER_GRPC=" + a.GRPC,
		"BREAKWATER_SERVER=" + a.GRPC,
		"BREAKWATER_XDS=" + a.XDS,
		"BREAKWATER_ADMIN=" + a.Admin,
		"BREAKWATER_ENVOY_ADMIN=" + a.Admin,
	}
}

// Rewrite puts the addresses in the place of Breakwater's default ones in a text.
func (a Addrs) Rewrite(text string) string {
	var pairs []string
	for port, addr := range map[string]string{"8080": a.Gateway, "8081": a.HTTP, "8082": a.GRPC, "18000": a.XDS, "9901": a.Admin} {
		pairs = append(pairs, "127.0.0.1:"+port, addr, "localhost:"+port, addr)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// Shop is a running shop example.
type Shop struct {
	Addrs
	// Root is the top of the repository.
	Root string
	// Dir is a directory like the top of the repository, for this test alone, with
	// bin/breakwater, Envoy as bin/envoy, go.mod, go.sum, and a copy of examples.
	Dir string
	// Env is the environment for commands that are to act on this shop.
	Env []string

	upstream, run *process
}

// Start runs the example and waits until its services are served.
func Start(t testing.TB) *Shop {
	t.Helper()
	s := open(t)
	s.Resume(t)
	return s
}

// open starts the services of a new shop, before which nothing is.
func open(t testing.TB) *Shop {
	t.Helper()
	binary := envoytest.Binary(t)
	root, err := filepath.Abs(filepath.Join("..", ".."))
	for err == nil && !exists(filepath.Join(root, "go.mod")) && root != filepath.Dir(root) {
		root = filepath.Dir(root)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &Shop{Addrs: FreeAddrs(t), Root: root, Dir: t.TempDir()}
	s.prepare(t, binary)

	host := loopback(t)
	s.Env = slices.DeleteFunc(os.Environ(), func(have string) bool {
		return strings.HasPrefix(have, "BREAKWATER_") || strings.HasPrefix(have, "XDG_STATE_HOME=")
	})
	s.Env = append(s.Env, s.Addrs.Env()...)
	s.Env = append(s.Env,
		"PATH="+filepath.Join(s.Dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"ENVOY="+binary,
		"GORACE=atexit_sleep_ms=0",
		"BREAKWATER_CTL="+host+":8000",
		// The state is where it is by default, and Go's caches are where they were.
		"HOME="+filepath.Join(s.Dir, "home"),
	)
	s.Env = append(s.Env, goEnv(t, "GOCACHE", "GOMODCACHE", "GOPATH")...)
	for name, port := range upstreams {
		s.Env = append(s.Env, fmt.Sprintf("%s=http://%s:%d", name, host, port))
	}
	s.upstream = s.launch(t, "demo-upstream", "--host", host)
	return s
}

// Stop ends Breakwater and its Envoy; the services go on.
func (s *Shop) Stop() { s.run.Stop(stopGrace) }

// Resume runs Breakwater, which does not run, and waits until its services are served.
func (s *Shop) Resume(t testing.TB) {
	t.Helper()
	s.run = s.launch(t, "run", "--policies", "examples/shop")
	s.untilServed(t, "http://"+s.Gateway+"/api/v1/fraud/score", "http://"+s.Gateway+"/api/v1/pricing/1")
}

// untilServed waits until each URL answers 200.
func (s *Shop) untilServed(t testing.TB, urls ...string) {
	t.Helper()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, url := range urls {
		envoytest.Eventually(t, startTimeout, url+" is served", func() error {
			for _, p := range []*process{s.upstream, s.run} {
				if p.ended() {
					t.Fatalf("%s ended: %v\n%s", p.name, p.Err(), envoytest.LastLines(p.out.String(), 20))
				}
			}
			return Get(t.Context(), client, url)
		})
	}
}

// goEnv returns these variables as Go has them now.
func goEnv(t testing.TB, names ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"env"}, names...)...).Output()
	values := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(values) != len(names) {
		t.Fatalf("go env: %v: %q", err, out)
	}
	for i := range values {
		values[i] = names[i] + "=" + values[i]
	}
	return values
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Get asks for a URL that must answer 200.
func Get(ctx context.Context, client *http.Client, url string) error {
	status, body, err := fetch(ctx, client, url)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %s", status, body)
	}
	return err
}

func fetch(ctx context.Context, client *http.Client, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// prepare fills the shop's directory.
func (s *Shop) prepare(t testing.TB, envoyBinary string) {
	t.Helper()
	bin := filepath.Join(s.Dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(envoyBinary, filepath.Join(bin, "envoy")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(s.Dir, "examples"), os.DirFS(filepath.Join(s.Root, "examples"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(s.Root, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(s.Dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", filepath.Join(bin, "breakwater"), "./cmd/breakwater")
	build.Dir = s.Root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building breakwater: %v\n%s", err, out)
	}
}

// reservedPort is no service's. Who listens on it has the whole address: other tests, of this
// package and of others, start their shops at the same time.
const reservedPort = 7999

// loopback returns an address of 127.0.0.0/8 on which nothing has the demo's ports, which are
// fixed. It is this test's until the test ends.
func loopback(t testing.TB) string {
	t.Helper()
	for n := range 1000 {
		at := os.Getpid() + n
		host := fmt.Sprintf("127.%d.%d.%d", 64+at>>16&0x3f, at>>8&0xff, 1+at&0x7f)
		reserved, err := envoy.Listen(net.JoinHostPort(host, strconv.Itoa(reservedPort)), "the test")
		if err != nil {
			continue
		}
		free := true
		for port := 8000; port <= 8007 && free; port++ {
			free = envoy.CheckFree(net.JoinHostPort(host, strconv.Itoa(port)), "the demo") == nil
		}
		if free {
			t.Cleanup(func() { reserved.Close() })
			return host
		}
		reserved.Close()
	}
	t.Fatal("no address of 127.0.0.0/8 has the ports 8000 to 8007 free")
	return ""
}

// process is a server that was started.
type process struct {
	*child.Process
	name string
	out  *envoytest.Output
}

func (p *process) ended() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// launch starts a server of breakwater's, which ends with the test.
func (s *Shop) launch(t testing.TB, args ...string) *process {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.Dir, "bin", "breakwater"), args...)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	p := &process{name: args[0], out: &envoytest.Output{}}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	started, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	p.Process = started
	t.Cleanup(func() {
		p.Stop(stopGrace)
		if log := p.out.String(); strings.Contains(log, "DATA RACE") {
			t.Errorf("breakwater %s has a data race:\n%s", p.name, log)
		} else if t.Failed() {
			t.Logf("end of the log of breakwater %s:\n%s", p.name, envoytest.LastLines(p.out.String(), 40))
		}
	})
	return p
}

// Breakwater runs a command of breakwater's on this shop, which must succeed, and returns what it printed.
func (s *Shop) Breakwater(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.Dir, "bin", "breakwater"), args...)
	cmd.Dir, cmd.Env = s.Dir, s.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("breakwater %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
