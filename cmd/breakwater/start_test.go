package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// outcome is how one command line ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// runMain runs a command line that is to end by itself, and soon.
func runMain(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var stdout, stderr strings.Builder
	code := execute(ctx, args, &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("%q does not end; standard error:\n%s", args, stderr.String())
	}
	return outcome{code, stdout.String(), stderr.String()}
}

// mustFail checks the exit code and that there is exactly this one line. %s in it stands
// for what can not be known.
func (o outcome) mustFail(t *testing.T, code int, line string) {
	t.Helper()
	before, after, _ := strings.Cut("breakwater: "+line+"\n", "%s")
	if o.code != code || o.stdout != "" || strings.Count(o.stderr, "\n") != 1 ||
		!strings.HasPrefix(o.stderr, before) || !strings.HasSuffix(o.stderr, after) {
		t.Errorf("exit code %d, standard output %q, standard error:\n%s\nwant %d and one line: %s", o.code, o.stdout, o.stderr, code, line)
	}
}

func writeFiles(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// doubtful is a policy with a lint warning.
const doubtful = "service: svc\nupstream: 127.0.0.1:9\nbreaker: {failure_threshold: 3}\n"

// fakeEnvoy makes `run` find an Envoy that is fit by what it says and can do nothing else.
func fakeEnvoy(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy")
	script := "#!/bin/sh\necho 'envoy  version: 0123abcd/1.40.0/Clean/RELEASE/BoringSSL'\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ENVOY", path)
}

// serveArgs are a command line on ports that the system chooses.
func serveArgs(command, policies, state string, more ...string) []string {
	return append([]string{
		command, "--policies", policies, "--state", state,
		"--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0",
	}, more...)
}

func takenAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestTakenGatewayIsAllThatIsSaid(t *testing.T) {
	fakeEnvoy(t)
	taken := takenAddr(t)
	for name, tt := range map[string]struct {
		gatewayFile string
		args        []string
	}{
		"by the flag":         {args: []string{"--gateway", taken}},
		"by the gateway file": {gatewayFile: "address: " + taken + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"svc.yaml": doubtful, "bad.yaml": "service: bad\n"}
			if tt.gatewayFile != "" {
				files["gateway.yaml"] = tt.gatewayFile
			}
			args := serveArgs("run", writeFiles(t, t.TempDir(), files), t.TempDir(), "--envoy-admin", freeAddr(t))
			runMain(t, append(args, tt.args...)...).mustFail(t, exitFailed,
				taken+": the address that the gateway (--gateway) wants is in use by another process")
		})
	}
}

func TestSecondRunNamesTheFirst(t *testing.T) {
	fakeEnvoy(t)
	state := t.TempDir()
	first, err := store.Open(state, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	policies := writeFiles(t, t.TempDir(), map[string]string{"svc.yaml": doubtful})
	want := fmt.Sprintf("already running (process %d), with the state directory %s: stop that one, or give this one another --state and other ports", os.Getpid(), state)
	runMain(t, serveArgs("run", policies, state, "--envoy-admin", takenAddr(t))...).mustFail(t, exitFailed, want)
	runMain(t, serveArgs("serve", policies, state, "--grpc", takenAddr(t))...).mustFail(t, exitFailed, want)
}

func TestUsageErrorsTouchNothing(t *testing.T) {
	policies := writeFiles(t, t.TempDir(), map[string]string{"svc.yaml": doubtful})
	for _, tt := range []struct {
		command string
		args    []string
		want    string
	}{
		{"serve", []string{"--http", "0.0.0.0:0"}, "--http 0.0.0.0:0: not a loopback address, and the listener has no TLS: give --allow-plaintext if the network is private"},
		{"serve", []string{"--grpc", ":0"}, "--grpc :0: not a loopback address%s"},
		{"serve", []string{"--http-host", "http://ops.example"}, `--http-host "http://ops.example": must be a host name, without a scheme and a port`},
		{"serve", []string{"--http-host", "ops.example:8081"}, `--http-host "ops.example:8081": must be %s`},
		{"serve", []string{"--xds", "here"}, `--xds: "here" is not host:port`},
		{"serve", []string{"--gateway", "example.com:80"}, "--gateway: %s"},
		{"serve", []string{"--log-format", "xml"}, `--log-format "xml": must be text or json`},
		{"serve", []string{"more"}, `breakwater serve takes no argument and got ["more"]; usage: breakwater serve [flags]`},
		{"run", []string{"--node-id", "a/b"}, `--node-id: node id "a/b": must not contain a slash`},
		{"run", []string{"--envoy-admin", "127.0.0.1:0"}, "--envoy-admin 127.0.0.1:0: the port must not be 0, for Breakwater asks Envoy there"},
		{"run", []string{"--envoy-admin", "0.0.0.0:1"}, "--envoy-admin 0.0.0.0:1: Envoy's admin API must stay on a loopback address"},
		{"run", []string{"--state", ""}, "--state is required: Envoy's files are kept there too"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "state")
			runMain(t, serveArgs(tt.command, policies, state, tt.args...)...).mustFail(t, exitUsage, tt.want)
			if _, err := os.Lstat(state); !os.IsNotExist(err) {
				t.Errorf("the state directory was touched: %v", err)
			}
		})
	}
}

// TestMissingDirectory: what is stored of another directory does not stand in.
func TestMissingDirectory(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	want := "read the policies: open " + missing + ": no such file or directory; and no last good version is stored"
	state := t.TempDir()
	runMain(t, serveArgs("serve", missing, state)...).mustFail(t, exitFailed, want)

	d, err := store.Open(state, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := d.Policies("/other")
	for _, save := range []func([]policy.File) error{other.SavePolicies, other.SaveAccepted} {
		if err := save([]policy.File{{Name: "svc.yaml", Data: []byte(doubtful)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	o := runMain(t, serveArgs("serve", missing, state)...)
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if o.code != exitFailed || len(lines) != 2 || lines[1] != "breakwater: "+want ||
		!strings.Contains(lines[0], "[WARN]  breakwater.store: the stored policies are those of another directory") {
		t.Errorf("exit code %d, standard error:\n%s\nwant one warning and: %s", o.code, o.stderr, want)
	}
}

// TestStoredVersionOfAMissingDirectory: a relative name means the same directory.
func TestStoredVersionOfAMissingDirectory(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	var log strings.Builder
	s, err := planeFlags{
		policies: "policies", state: t.TempDir(), xds: "127.0.0.1:0", http: "127.0.0.1:0", grpc: "127.0.0.1:0",
		log: logFlags{level: "info", format: "text"}, lease: time.Minute,
	}.check(&log)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlane(s)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.store.Policies(filepath.Join(root, "policies")).SavePolicies([]policy.File{{Name: "svc.yaml", Data: []byte(doubtful)}}); err != nil {
		t.Fatal(err)
	}
	if err := p.bind(); err != nil {
		t.Fatal(err)
	}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if set := p.publisher.Set(); len(set.Services) != 1 || set.Services[0].Name != "svc" {
		t.Errorf("%s are served", count(len(set.Services), "service", "services"))
	}
	if !strings.Contains(log.String(), "[ERROR]") || !strings.Contains(log.String(), "no such file or directory") {
		t.Errorf("log:\n%s\nwant a loud error", log.String())
	}
}

func TestInterruptedStartIsNoFailure(t *testing.T) {
	policies := writeFiles(t, t.TempDir(), map[string]string{"svc.yaml": doubtful})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	if code := execute(ctx, serveArgs("serve", policies, t.TempDir()), &stdout, &stderr); code != exitOK || stderr.Len() != 0 {
		t.Errorf("exit code %d, standard error:\n%s", code, stderr.String())
	}
}

func TestVersion(t *testing.T) {
	want := outcome{exitOK, "breakwater " + buildVersion() + "\n", ""}
	for _, arg := range []string{"version", "--version"} {
		if got := runMain(t, arg); got != want {
			t.Errorf("%s: %+v, want %+v", arg, got, want)
		}
	}
}

func TestNumbersOfThings(t *testing.T) {
	const second = "---\nservice: second\nupstream: 127.0.0.1:9\n"
	const wrong = "---\nservice: %s\n"
	unknown, unknownText := doubtful, ""
	for i := range 1000 {
		unknown += fmt.Sprintf("x%d: 1\n", i)
		if i < 20 {
			unknownText += fmt.Sprintf("a.yaml:%d:1: x%d: unknown field\n", i+1+strings.Count(doubtful, "\n"), i)
		}
	}
	unknownText += "and 980 more problems\n"
	for _, tt := range []struct {
		command, content string
		args             []string
		want             outcome
	}{
		{"validate", doubtful, nil, outcome{exitOK, "1 service, no problem\n", ""}},
		{"validate", doubtful + second, nil, outcome{exitOK, "2 services, no problem\n", ""}},
		{"validate", fmt.Sprintf(wrong, "a"), nil, outcome{exitFailed, "", "breakwater: 1 error\n"}},
		{"render", fmt.Sprintf(wrong+wrong, "a", "b"), nil, outcome{exitFailed, "", "breakwater: 2 errors\n"}},
		{"lint", doubtful, nil, outcome{exitOK, "", ""}},
		{"lint", doubtful, []string{"--strict"}, outcome{exitFailed, "", "breakwater: 1 problem\n"}},
		{"lint", doubtful + fmt.Sprintf(wrong, "a"), nil, outcome{exitFailed, "", "breakwater: 1 error\n"}},
		{"lint", doubtful + fmt.Sprintf(wrong, "a"), []string{"--strict"}, outcome{exitFailed, "", "breakwater: 2 problems\n"}},
		{"validate", unknown, nil, outcome{exitFailed, unknownText, "breakwater: 1000 errors\n"}},
		{"lint", unknown, nil, outcome{exitFailed, unknownText, "breakwater: 1000 errors\n"}},
		{"render", unknown, nil, outcome{exitFailed, "", unknownText + "breakwater: 1000 errors\n"}},
	} {
		dir := writeFiles(t, t.TempDir(), map[string]string{"a.yaml": tt.content})
		got := runMain(t, append([]string{tt.command, dir}, tt.args...)...)
		if tt.want.stdout != "" && got.stdout != tt.want.stdout || got.code != tt.want.code || !strings.HasSuffix(got.stderr, tt.want.stderr) {
			t.Errorf("%s %v of %q: %+v, want %+v", tt.command, tt.args, tt.content, got, tt.want)
		}
	}
}

func TestDemoUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"fail", "svc", "--percent", "0"}, "--percent 0: must be above 0 and at most 100"},
		{[]string{"fail", "svc", "--percent", "NaN"}, "--percent NaN: must be above 0 and at most 100"},
		{[]string{"fail", "svc", "--status", "200"}, "--status 200: must be from 400 to 599"},
		{[]string{"slow", "svc", "--delay", "0s"}, "--delay 0s: must be above 0 and at most 1h0m0s"},
		{[]string{"heal", "svc", "--ctl", "8000"}, `--ctl "8000" is not of the form host:port`},
		{[]string{"heal"}, "breakwater demo heal takes 1 argument and got none; usage: breakwater demo heal SERVICE [flags]"},
		{[]string{"explode"}, `unknown command "explode" for "breakwater demo"`},
	} {
		runMain(t, append([]string{"demo"}, tt.args...)...).mustFail(t, exitUsage, tt.want)
	}
	runMain(t, "demo-upstream", "--service", "billing").mustFail(t, exitUsage, `--service "billing" is none of the demo's services`)
}

func TestDemoCompletion(t *testing.T) {
	if got := runMain(t, "__completeNoDesc", "demo", "slow", ""); !strings.HasPrefix(got.stdout, "recommendation-service\n") || !strings.HasSuffix(got.stdout, "vision-service\n:4\n") {
		t.Errorf("completes %q", got.stdout)
	}
}

// TestBanner: the commands that it shows reach this very process.
func TestBanner(t *testing.T) {
	facts := bannerFacts{services: 1, envoy: "1.40.0", gateway: "127.0.0.1:8080", admin: "127.0.0.1:9901", http: "127.0.0.1:8081", grpc: defaultServer, logs: "/state/envoy"}
	f := runFlags{planeFlags: planeFlags{policies: "here"}, demo: true}
	for name, tt := range map[string]struct {
		program, grpc string
		want          []string
	}{
		"defaults":       {"bin/breakwater", defaultServer, []string{"up: 1 service behind Envoy 1.40.0", "  bin/breakwater status  ", "  bin/breakwater demo fail fraud-service  "}},
		"another server": {"breakwater", "127.0.0.1:1234", []string{"  breakwater reset fraud-service --server 127.0.0.1:1234  ", "  breakwater demo heal fraud-service\n"}},
	} {
		facts.grpc = tt.grpc
		got := bannerText(tt.program, f, facts)
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in\n%s", name, strconv.Quote(want), got)
			}
		}
	}
	f.demo = false
	if got := bannerText("breakwater", f, facts); strings.Contains(got, "demo") {
		t.Errorf("without the demo:\n%s", got)
	}
}
