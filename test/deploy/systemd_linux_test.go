package deploy

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
)

// unit is a systemd unit: the values of each key, by section.
type unit map[string]map[string][]string

func readUnit(t testing.TB, name string) unit {
	t.Helper()
	text, err := os.ReadFile(unitPath(name))
	if err != nil {
		t.Fatal(err)
	}
	u, section := make(unit), ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, value, isValue := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = strings.Trim(line, "[]")
			u[section] = make(map[string][]string)
		case isValue:
			u[section][key] = append(u[section][key], value)
		default:
			t.Fatalf("%s: %q is no setting", name, line)
		}
	}
	return u
}

func unitPath(name string) string { return filepath.Join(root(), "deploy", "systemd", name) }

// one is the only value of a key in [Service].
func (u unit) one(t testing.TB, key string) string {
	t.Helper()
	values := u["Service"][key]
	if len(values) != 1 {
		t.Fatalf("%s is given %d times", key, len(values))
	}
	return values[0]
}

var units = []string{"breakwater.service", "breakwater-envoy.service"}

// worstExposure is the highest level that `systemd-analyze security` may give a unit, in tenths.
const worstExposure = "20"

// TestUnits has systemd judge the units: their settings, and how much they expose.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatalf("%v; on Debian and Ubuntu: apt-get install systemd", err)
	}
	// systemd looks whether the programs are there: on this host of the test's own they are.
	bin := t.TempDir()
	for _, name := range []string{"breakwater", "envoy"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount(bin, "/usr/local/bin", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount("/usr/local/bin", 0); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range units {
		// It exits with 0 for a setting that it does not know, and says so.
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", unitPath(name)).CombinedOutput()
		if err != nil || strings.Contains(string(out), name) {
			t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
		}
		out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+worstExposure, unitPath(name)).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", name, err, envoytest.LastLines(string(out), 3))
		}
	}
}

// TestUnitsRun runs what the units start, in the directories that systemd would make for them.
func TestUnitsRun(t *testing.T) {
	plane, proxy := readUnit(t, units[0]), readUnit(t, units[1])
	const hostname = "edge-1"
	for _, u := range []unit{plane, proxy} {
		if restart := u.one(t, "Restart"); restart != "always" {
			t.Errorf("Restart is %s", restart)
		}
	}
	img, err := targetImage("envoy") // both programs, in /usr/local/bin
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t)
	e.addNetwork("host")
	state, runtime := "/var/lib/"+plane.one(t, "StateDirectory"), "/run/"+proxy.one(t, "RuntimeDirectory")
	policies := "/etc/" + plane.one(t, "ConfigurationDirectory")
	img.dirs = map[string]owner{state: {61184, 61184}, runtime: {61184, 61184}}
	host := e.run(runSpec{
		service:    "host",
		hostname:   hostname,
		image:      img,
		entrypoint: strings.Fields(plane.one(t, "ExecStart")),
		user:       "61184:61184", // of those that DynamicUser= takes from
		readOnly:   true,
		networks:   []string{"host"},
		mounts: []mount{
			{Source: filepath.Join(root(), "examples", "minimal"), Target: policies, ReadOnly: true},
			{Source: e.volume("state", img, state), Target: state},
			{Source: e.volume("runtime", img, runtime), Target: runtime},
			{Target: "/tmp"},
		},
	})
	host.untilHealthy([]string{"/usr/local/bin/breakwater", "healthcheck"})
	expand := strings.NewReplacer("%H", hostname)
	host.mustExec(strings.Fields(expand.Replace(proxy.one(t, "ExecStartPre")))...)
	ended := host.background(strings.Fields(expand.Replace(proxy.one(t, "ExecStart")))...)
	envoytest.Eventually(t, startTimeout, "the gateway serves and Breakwater sees it", func() error {
		select {
		case err := <-ended:
			t.Fatalf("Envoy has ended: %v", err)
		default:
		}
		if _, err := host.exec("/usr/local/bin/breakwater", "healthcheck", "http://127.0.0.1:9901/ready"); err != nil {
			return err
		}
		// The one service of the example is not there: its breaker's answer is the gateway's.
		if _, err := host.exec("/usr/local/bin/breakwater", "healthcheck", "http://127.0.0.1:8080/orders"); err == nil || !strings.Contains(err.Error(), fmt.Sprint(http.StatusServiceUnavailable)) {
			return fmt.Errorf("the gateway does not answer 503: %w", err)
		}
		if out := host.mustExec("/usr/local/bin/breakwater", "proxies"); !strings.Contains(out, hostname) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	if !slices.Contains(plane["Install"]["WantedBy"], "multi-user.target") {
		t.Error("the unit can not be enabled")
	}
}

// TestUnitsOnTwoHosts runs an Envoy whose control plane is on another host, with the variables of
// deploy/systemd/remote.
func TestUnitsOnTwoHosts(t *testing.T) {
	plane, proxy := readUnit(t, units[0]), readUnit(t, units[1])
	img, err := targetImage("envoy") // both programs, in /usr/local/bin
	if err != nil {
		t.Fatal(err)
	}
	state, runtime := "/var/lib/"+plane.one(t, "StateDirectory"), "/run/"+proxy.one(t, "RuntimeDirectory")
	img.dirs = map[string]owner{state: {61184, 61184}, runtime: {61184, 61184}}
	e := newEngine(t)
	e.addNetwork("lan")
	spec := runSpec{image: img, user: "61184:61184", readOnly: true, networks: []string{"lan"}}

	control := spec
	control.service, control.hostname = "control", "control"
	control.entrypoint = strings.Fields(plane.one(t, "ExecStart"))
	control.env = environmentFile(t, "remote/breakwater.env", "0.0.0.0")
	control.mounts = []mount{
		{Source: filepath.Join(root(), "examples", "minimal"), Target: "/etc/" + plane.one(t, "ConfigurationDirectory"), ReadOnly: true},
		{Source: e.volume("state", img, state), Target: state},
		{Target: "/tmp"},
	}
	c := e.run(control)
	c.untilHealthy([]string{"/usr/local/bin/breakwater", "healthcheck"})

	edge := spec
	edge.service, edge.hostname = "edge", "edge-1"
	edge.env = environmentFile(t, "remote/envoy.env", c.addrs["lan"].String())
	edge.mounts = []mount{{Source: e.volume("runtime", img, runtime), Target: runtime}, {Target: "/tmp"}}
	expand := strings.NewReplacer("%H", edge.hostname)
	edge.entrypoint = []string{"/bin/sh", "-c", expand.Replace(proxy.one(t, "ExecStartPre") + " && exec " + proxy.one(t, "ExecStart"))}
	envoy := e.run(edge)
	envoytest.Eventually(t, startTimeout, "the other host's Envoy serves, and Breakwater reads its admin API", func() error {
		// The one service of the example is not there: its breaker's answer is the gateway's.
		r, err := try("http://"+envoy.addrs["lan"].String()+":8080/orders", "")
		if err == nil && r.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		if out := c.mustExec("breakwater", "proxies"); !strings.Contains(out, edge.hostname) || !strings.Contains(out, envoy.addrs["lan"].String()+":9901") {
			return fmt.Errorf("%s", out)
		}
		if out := c.mustExec("breakwater", "status"); strings.Contains(out, "unknown") {
			return fmt.Errorf("%s", out)
		}
		return err
	})
	// A reset is proved by what the admin API says.
	if out := c.mustExec("breakwater", "reset", "orders"); !strings.Contains(out, "edge-1") {
		t.Errorf("the reset is not proved: %s", out)
	}
}

// environmentFile reads a file of EnvironmentFile=, with this address in the place of 10.0.0.5.
func environmentFile(t testing.TB, name, addr string) []string {
	t.Helper()
	text, err := os.ReadFile(unitPath(name))
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			env = append(env, strings.ReplaceAll(line, "10.0.0.5", addr))
		}
	}
	return env
}
