package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/breakwater/breakwater/test/envoytest"
)

// commandTimeout bounds a command that is to end by itself.
const commandTimeout = 30 * time.Second

// invocation is one command line of Breakwater's.
type invocation struct {
	args []string
	// env is added to the environment; a variable without "=" is taken out of it.
	env []string
	// dir is the working directory; empty means this package's.
	dir string
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

// invoke runs a command that ends by itself.
func invoke(t *testing.T, in invocation) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, breakwater, in.args...)
	cmd.Dir = in.dir
	cmd.Env = environment(in.env)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("breakwater %s: %v\n%s%s", strings.Join(in.args, " "), err, out.String(), errOut.String())
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

func environment(change []string) []string {
	env := append(os.Environ(), noRaceSleep)
	for _, c := range change {
		name, _, set := strings.Cut(c, "=")
		env = slices.DeleteFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if set {
			env = append(env, c)
		}
	}
	return env
}

// mustFail checks that a command failed with that code and said why in exactly one line, which has all of
// these words.
func (r result) mustFail(t *testing.T, code int, words ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	ok := r.code == code && len(lines) == 1 && strings.HasPrefix(lines[0], "breakwater: ") && r.stdout == ""
	for _, w := range words {
		ok = ok && strings.Contains(lines[0], w)
	}
	if !ok {
		t.Errorf("exit code %d, standard output %q, standard error:\n%s\nwant code %d and one line with %q", r.code, r.stdout, r.stderr, code, words)
	}
}

// policyDir is a directory with these policy files.
func policyDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	validPolicy    = "service: svc\nupstream: 127.0.0.1:9\nbreaker: {failure_threshold: 50}\n"
	doubtfulPolicy = "service: svc\nupstream: 127.0.0.1:9\nbreaker: {failure_threshold: 3}\n"
	invalidPolicy  = "service: svc\nupstream: 127.0.0.1:9\nbreaker: {failure_treshold: 3}\nretry: {max_retries: -1}\n"
)

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	dir := policyDir(t, map[string]string{"svc.yaml": validPolicy})
	state := filepath.Join(t.TempDir(), "state")
	serve := func(more ...string) []string {
		return append([]string{"serve", "--policies", dir, "--state", state, "--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, more...)
	}
	for name, c := range map[string]struct {
		in    invocation
		words []string
	}{
		"an unknown command":           {invocation{args: []string{"sevre"}}, []string{"sevre"}},
		"an unknown flag":              {invocation{args: []string{"serve", "--polices", dir}}, []string{"--polices"}},
		"an argument too many":         {invocation{args: serve("more")}, []string{"more"}},
		"an argument too few":          {invocation{args: []string{"validate"}}, nil},
		"no policies":                  {invocation{args: []string{"serve", "--state", state}}, []string{"--policies"}},
		"xDS off loopback":             {invocation{args: serve("--xds", "0.0.0.0:0")}, []string{"--xds", "--allow-plaintext"}},
		"HTTP off loopback":            {invocation{args: serve("--http", ":0")}, []string{"--http", "--allow-plaintext"}},
		"gRPC off loopback":            {invocation{args: serve("--grpc", "[::]:0")}, []string{"--grpc", "--allow-plaintext"}},
		"Envoy's admin off loopback":   {invocation{args: []string{"run", "--policies", dir, "--envoy-admin", "0.0.0.0:0"}}, []string{"--envoy-admin"}},
		"no address":                   {invocation{args: serve("--http", "8081")}, []string{"--http", "8081"}},
		"a bad gateway":                {invocation{args: serve("--gateway", "example.com:80")}, []string{"--gateway"}},
		"a bad log level":              {invocation{args: serve("--log-level", "loud")}, []string{"loud"}},
		"a bad value in a variable":    {invocation{args: serve(), env: []string{"BREAKWATER_STRICT=perhaps"}}, []string{"BREAKWATER_STRICT"}},
		"a bad output format":          {invocation{args: []string{"validate", dir, "-o", "xml"}}, []string{"xml"}},
		"a bad node id":                {invocation{args: []string{"bootstrap", "--node-id", "a/b"}}, []string{"a/b"}},
		"a bad admin address":          {invocation{args: []string{"bootstrap", "--admin", "localhost:9901"}}, []string{"localhost:9901"}},
		"a bad format of a bootstrap":  {invocation{args: []string{"bootstrap", "-o", "table"}}, []string{"table"}},
		"a reset that names no one":    {invocation{args: []string{"reset"}}, nil},
		"a server that is no address":  {invocation{args: []string{"status", "--server", ""}}, nil},
		"a rendering in a bad format":  {invocation{args: []string{"render", dir, "-o", "table"}}, []string{"table"}},
		"an unknown demo subcommand":   {invocation{args: []string{"demo", "explode"}}, []string{"explode"}},
		"an unknown command's subflag": {invocation{args: []string{"lint", "--strcit", dir}}, []string{"--strcit"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			invoke(t, c.in).mustFail(t, 2, c.words...)
		})
	}
}

func TestPolicyCommands(t *testing.T) {
	t.Parallel()
	valid := policyDir(t, map[string]string{"svc.yaml": validPolicy})
	doubtful := policyDir(t, map[string]string{"svc.yaml": doubtfulPolicy})
	invalid := policyDir(t, map[string]string{"svc.yaml": invalidPolicy})
	for _, c := range []struct {
		args   []string
		code   int
		stdout []string
	}{
		{[]string{"validate", valid}, 0, []string{"no problem"}},
		{[]string{"validate", filepath.Join(valid, "svc.yaml")}, 0, []string{"no problem"}},
		{[]string{"validate", doubtful}, 0, nil},
		{[]string{"validate", invalid}, 1, []string{"svc.yaml:3:11: ", "did you mean failure_threshold", "svc.yaml:4:"}},
		{[]string{"validate", invalid, "-o", "json"}, 1, []string{`"line": 3`}},
		{[]string{"validate", t.TempDir()}, 1, nil},
		{[]string{"validate", filepath.Join(valid, "none.yaml")}, 1, nil},
		{[]string{"lint", valid, "--strict"}, 0, nil},
		{[]string{"lint", doubtful}, 0, []string{"svc.yaml:3:"}},
		{[]string{"lint", doubtful, "--strict"}, 1, []string{"svc.yaml:3:"}},
		{[]string{"lint", invalid}, 1, []string{"svc.yaml:3:11: "}},
		{[]string{"render", valid}, 0, []string{"clusters:", "routes:", "listeners:"}},
		{[]string{"render", valid, "-o", "json", "--service", "svc"}, 0, []string{`"clusters"`}},
		{[]string{"render", valid, "--service", "none"}, 1, nil},
		{[]string{"render", invalid}, 1, nil},
		{[]string{"version"}, 0, []string{"breakwater "}},
		{[]string{"--version"}, 0, []string{"breakwater "}},
		{[]string{"serve", "--policies", doubtful, "--strict", "--state", filepath.Join(t.TempDir(), "s"), "--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, 1, nil},
		{[]string{"status", "--server", "127.0.0.1:1"}, 1, nil},
	} {
		t.Run(strings.Join(c.args[:1], " "), func(t *testing.T) {
			t.Parallel()
			r := invoke(t, invocation{args: c.args})
			if r.code != c.code || (c.code == 0) != (r.stderr == "") {
				t.Errorf("breakwater %s: exit code %d, want %d; standard error:\n%s", strings.Join(c.args, " "), r.code, c.code, r.stderr)
			}
			for _, want := range c.stdout {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("breakwater %s: %q is not in\n%s", strings.Join(c.args, " "), want, r.stdout)
				}
			}
		})
	}
}

// TestBootstrapIsAccepted gives what `breakwater bootstrap` prints to Envoy, as it is.
func TestBootstrapIsAccepted(t *testing.T) {
	t.Parallel()
	binary := envoytest.Binary(t)
	for _, args := range [][]string{
		nil,
		{"--node-id", "a b: #c", "--node-cluster", "true", "--xds", "breakwater.example:18000", "--admin", "[::1]:9901"},
		{"-o", "json"},
	} {
		r := invoke(t, invocation{args: append([]string{"bootstrap"}, args...)})
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("exit code %d: %s", r.code, r.stderr)
		}
		path := filepath.Join(t.TempDir(), "envoy.yaml")
		if err := os.WriteFile(path, []byte(r.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), binary, "--mode", "validate", "-c", path).CombinedOutput()
		if err != nil {
			t.Errorf("bootstrap %v: %v\n%s", args, err, out)
		}
	}
}

// TestVariablesAndFlags: each flag has its variable, and the flag wins.
func TestVariablesAndFlags(t *testing.T) {
	t.Parallel()
	bootstrap := func(in invocation) *bootstrapv3.Bootstrap {
		t.Helper()
		in.args = append([]string{"bootstrap", "-o", "json"}, in.args...)
		r := invoke(t, in)
		b := &bootstrapv3.Bootstrap{}
		if err := protojson.Unmarshal([]byte(r.stdout), b); err != nil || r.code != 0 {
			t.Fatalf("exit code %d, %v: %s", r.code, err, r.stderr)
		}
		return b
	}
	env := []string{"BREAKWATER_NODE_ID=by-variable", "BREAKWATER_NODE_CLUSTER=by-variable", "BREAKWATER_ADMIN=127.0.0.1:1234"}
	b := bootstrap(invocation{env: env, args: []string{"--node-id", "by-flag"}})
	got := fmt.Sprint(b.GetNode().GetId(), b.GetNode().GetCluster(), b.GetAdmin().GetAddress().GetSocketAddress().GetPortValue())
	if want := fmt.Sprint("by-flag", "by-variable", uint32(1234)); got != want {
		t.Errorf("%s, want %s", got, want)
	}

	// Serve takes all its addresses from variables, and one from its flag.
	s := &stack{
		t: t, dir: policyDir(t, map[string]string{"svc.yaml": validPolicy}), stateDir: filepath.Join(t.TempDir(), "state"),
		xds: freeAddr(t), http: freeAddr(t), grpc: freeAddr(t), gateway: freeAddr(t),
	}
	s.launch("", invocation{
		args: []string{"serve", "--http", s.http},
		env: []string{
			"BREAKWATER_POLICIES=" + s.dir, "BREAKWATER_STATE=" + s.stateDir, "BREAKWATER_XDS=" + s.xds,
			"BREAKWATER_HTTP=256.0.0.1:1", "BREAKWATER_GRPC=" + s.grpc, "BREAKWATER_GATEWAY=" + s.gateway, "BREAKWATER_LOG_LEVEL=debug",
		},
	})
	if out := s.run("log-level"); !strings.Contains(out, "debug") {
		t.Errorf("log-level says:\n%s", out)
	}
	dump := s.startEnvoy("e2e")
	listeners, err := s.fetch("http://" + dump.AdminAddr + "/listeners")
	if err != nil || !strings.Contains(listeners, s.gateway) {
		t.Errorf("Envoy listens on %q, %v; want %s", listeners, err, s.gateway)
	}
}
