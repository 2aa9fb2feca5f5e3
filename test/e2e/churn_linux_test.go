package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
)

// The reasons that are asked for by name.
const (
	breakwaterAway = "Breakwater was away"
	stateFull      = "the state directory was full"
)

// churn is a Breakwater with three Envoys, of which two have one node id, and services of which some fail.
type churn struct {
	*stack
	t        testing.TB
	seed     uint64
	random   *rand.Rand // of the test's own goroutine
	rules    *rules
	traffic  *churnTraffic
	services map[string]*churnService
	envoys   map[string]*envoytest.Process // by name: edge, other and twin
	// inside is a process that keeps the mount namespace in which the state directory is a file system of its own.
	inside *child.Process
}

// nodeOf is the node id of each Envoy.
var nodeOf = map[string]string{"edge": "edge-1", "other": "edge-2", "twin": "edge-2"}

// TestChurn: whatever happens at once, to Breakwater, its proxies, its files and its disk, no request is lost for no reason, no
// action of an operator fails for no reason or comes too late, and nothing grows. CHURN is how long it goes on, a minute if it
// is not set; CHURN_SEED has an earlier run's choices made again.
func TestChurn(t *testing.T) {
	t.Parallel()
	length, err := time.ParseDuration(env("CHURN", "1m"))
	if err != nil {
		t.Fatalf("CHURN: %v", err)
	}
	seed, err := strconv.ParseUint(env("CHURN_SEED", strconv.Itoa(time.Now().Nanosecond())), 10, 64)
	if err != nil {
		t.Fatalf("CHURN_SEED: %v", err)
	}
	t.Logf("CHURN=%s CHURN_SEED=%d", length, seed)
	c := newChurn(t, seed)

	ctx, cancel := context.WithCancel(t.Context())
	sending, stopSending := context.WithCancel(t.Context())
	for name := range c.services {
		c.traffic.load(sending, name)
	}
	files, operator := newChurnFiles(c, seed), newChurnOperator(c, seed)
	var actors sync.WaitGroup
	var lastTimeout int
	for _, run := range []func(context.Context){
		files.run, operator.run, c.fail, c.comeAndGo,
		func(ctx context.Context) { lastTimeout = c.edit(ctx) },
	} {
		actors.Go(func() { run(ctx) })
	}
	stopActors := sync.OnceFunc(func() {
		cancel()
		actors.Wait()
		stopSending()
		c.traffic.senders.Wait()
		c.traffic.client.CloseIdleConnections()
	})
	t.Cleanup(stopActors)

	c.disturb(length * 2 / 3)
	growth := c.measure(length/3, c.disturbances()[:3])
	stopActors()
	if lost := c.traffic.judge(t, c.rules); !lost.IsZero() {
		t.Logf("before the first that was lost:\n%s\n%s", strings.Join(files.before(lost, 6), "\n"), c.logBefore(lost, 6))
	}
	operator.report()
	growth.judge(t)
	c.mustBeWhole(lastTimeout)
}

// logBefore is what Breakwater has logged in the seconds before a time.
func (c *churn) logBefore(t time.Time, seconds int) string {
	from, to := t.UTC().Add(-time.Duration(seconds)*time.Second).Format(logTime), t.UTC().Format(logTime)
	var out []string
	for line := range strings.Lines(c.log.String()) {
		if len(line) > len(logTime) && line[:len(logTime)] >= from && line[:len(logTime)] <= to {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return strings.Join(out, "\n")
}

const logTime = "2006-01-02T15:04:05.000"

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func newChurn(t testing.TB, seed uint64) *churn {
	t.Helper()
	c := &churn{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), rules: &rules{},
		services: map[string]*churnService{}, envoys: map[string]*envoytest.Process{},
	}
	files := map[string]string{"gateway.yaml": "access_log: off\n"}
	for _, name := range append([]string{"edited", "guest", "flaky", watched}, steady...) {
		c.services[name] = newChurnService(t, name)
		files[name+".yaml"] = c.policy(name)
	}
	for i, name := range steady {
		delete(files, name+".yaml")
		file := []string{"steady.yaml", "steady.yaml", "third.yaml", "fourth.yaml"}[i]
		if files[file] != "" {
			files[file] += "---\n"
		}
		files[file] += c.policy(name)
	}
	c.stack = prepared(t, files, "--lease", "5s")
	c.ownStateDir()
	c.startBreakwater()
	c.endWithTest()
	for name := range nodeOf {
		c.startNamed(name)
	}
	c.traffic = newChurnTraffic(c.gateway)
	return c
}

// policy is the document of a service; its routes come last.
func (c *churn) policy(name string) string { return c.policyWithin(name, 10) }

func (c *churn) policyWithin(name string, seconds int) string {
	breaker := "{failure_threshold: 5, success_threshold: 1, timeout: 1s, max_timeout: 2s}"
	return fmt.Sprintf("service: %s\nupstream: %s\nretry: off\nbreaker: %s\ntimeout: {request: %ds}\nroutes:\n  - prefix: /%[1]s\n", name, c.services[name].addr, breaker, seconds)
}

// pause waits for a time, or until ctx ends.
func (c *churn) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ownStateDir has the state directory on a small file system that this test can fill.
func (c *churn) ownStateDir() {
	dir := c.t.TempDir()
	c.stateDir = filepath.Join(dir, "state")
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec",
		`mount -t tmpfs -o size=2m,mode=0700 tmpfs "$0"; echo up; exec sleep infinity`, dir)
	out := &envoytest.Output{}
	cmd.Stdout, cmd.Stderr = out, out
	var err error
	if c.inside, err = child.Start(cmd); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.inside.Stop(0) })
	c.until("the state directory has a file system of its own", func() error {
		if out.String() != "up\n" {
			return errors.New(out.String())
		}
		return nil
	})
}

// in is a command within the mount namespace.
func (c *churn) in(args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(c.inside.Pid()), "--mount"}, args...)...)
}

func (c *churn) startBreakwater() {
	c.t.Helper()
	cmd := c.in(append([]string{
		breakwater, "serve", "--policies", c.dir, "--state", c.stateDir,
		"--xds", c.xds, "--http", c.http, "--grpc", c.grpc, "--gateway", c.gateway,
	}, c.args...)...)
	cmd.Env = append(os.Environ(), noRaceSleep)
	c.begin(cmd)
}

func (c *churn) startNamed(name string) {
	c.t.Helper()
	c.envoys[name] = c.startEnvoy(nodeOf[name], strict)
}

// disturbance is something that is done to a process or to the disk.
type disturbance struct {
	name string
	do   func()
}

// disturbances are all of them; those that end Breakwater come last.
func (c *churn) disturbances() []disturbance {
	return []disturbance{
		{"freeze an Envoy", c.freezeEnvoy},
		{"kill an Envoy", c.killEnvoy},
		{"fill the state directory", c.fillState},
		{"kill Breakwater", func() { c.away(c.kill, func() {}) }},
		{"stop Breakwater", func() { c.away(c.stop, func() {}) }},
		{"run with a state directory that cannot be written", c.readOnlyState},
	}
}

// disturb does one thing after another, each at least once, for a time.
func (c *churn) disturb(length time.Duration) {
	end := time.Now().Add(length)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		all := c.disturbances()
		c.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, d := range all {
			if round > 0 && !time.Now().Before(end) {
				return
			}
			c.t.Logf("%s: %s", time.Now().UTC().Format("15:04:05.000"), d.name)
			d.do()
			c.pause(c.t.Context(), c.upTo(2*time.Second))
		}
	}
}

func (c *churn) upTo(d time.Duration) time.Duration { return time.Duration(c.random.Int64N(int64(d))) }

func (c *churn) any() string { return []string{"edge", "other", "twin"}[c.random.IntN(3)] }

// reconnectSlack is how long after a disturbance a proxy may not be connected, or not report.
const reconnectSlack = 5 * time.Second

func (c *churn) freezeEnvoy() {
	name := c.any()
	end := c.rules.because("something was done to "+nodeOf[name], reconnectSlack, nothing)
	defer end()
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := syscall.Kill(c.envoys[name].Pid(), sig); err != nil {
			c.t.Fatal(err)
		}
		if sig == syscall.SIGSTOP {
			c.pause(c.t.Context(), time.Second+c.upTo(2*time.Second))
		}
	}
}

func nothing(outcome) bool { return false }

func (c *churn) killEnvoy() {
	name := c.any()
	end := c.rules.because("something was done to "+nodeOf[name], reconnectSlack, nothing)
	defer end()
	lost := c.rules.because("an Envoy was killed, with the connections that it had", time.Second, unanswered)
	c.envoys[name].Kill()
	lost()
	c.pause(c.t.Context(), c.upTo(time.Second))
	c.startNamed(name)
}

// away ends Breakwater, does something, and starts it again.
func (c *churn) away(end, meanwhile func()) {
	back := c.rules.because(breakwaterAway, 2*reconnectSlack, nothing)
	defer back()
	end()
	meanwhile()
	c.pause(c.t.Context(), c.upTo(time.Second))
	c.startBreakwater()
}

// fillState takes all room from the state directory for a while, and then waits until all is saved.
func (c *churn) fillState() {
	room := filepath.Join("/proc", strconv.Itoa(c.inside.Pid()), "root", filepath.Dir(c.stateDir), "full")
	w, err := os.Create(room)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = io.Copy(w, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		c.t.Fatalf("the file system does not get full: %v", err)
	}
	end := c.rules.because(stateFull, 0, nothing)
	c.pause(c.t.Context(), time.Second+c.upTo(2*time.Second))
	end()
	if err := errors.Join(w.Close(), os.Remove(room)); err != nil {
		c.t.Fatal(err)
	}
	c.untilSaved()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// readOnlyState has Breakwater run for a while with a state directory that it can read alone.
func (c *churn) readOnlyState() {
	mount := func(how string) {
		if out, err := c.in("mount", "-o", "remount,"+how, filepath.Dir(c.stateDir)).CombinedOutput(); err != nil {
			c.t.Fatalf("mount %s: %v: %s", how, err, out)
		}
	}
	c.away(c.stop, func() { mount("ro") })
	c.pause(c.t.Context(), time.Second+c.upTo(2*time.Second))
	c.away(c.stop, func() { mount("rw") })
	c.untilSaved()
}

// untilSaved waits until nothing is said to be unsaved.
func (c *churn) untilSaved() {
	c.t.Helper()
	c.until("all is saved", func() error {
		var config struct {
			Faults []struct {
				Document string `json:"document"`
				Error    string `json:"error"`
			} `json:"storage_faults"`
		}
		c.api("/api/v1/config", &config)
		if len(config.Faults) > 0 {
			return fmt.Errorf("%+v", config.Faults)
		}
		return nil
	})
}

// fail has the flaky service fail at times.
func (c *churn) fail(ctx context.Context) {
	random := rand.New(rand.NewPCG(c.seed, 3))
	c.rules.because("the service failed by itself", 0, failedItself)
	for ctx.Err() == nil {
		end := c.rules.because("its breaker was open, for it had failed", 20*time.Second, of("flaky", refusedByBreaker))
		c.services["flaky"].failing.Store(true)
		c.pause(ctx, time.Duration(random.Int64N(int64(2*time.Second))))
		c.services["flaky"].failing.Store(false)
		end()
		c.pause(ctx, time.Duration(random.Int64N(int64(4*time.Second))))
	}
}

// edit changes the timeout of a service again and again, and returns the last one, in seconds.
func (c *churn) edit(ctx context.Context) int {
	seconds := 10
	for ; ctx.Err() == nil; seconds = 10 + (seconds+1)%20 {
		c.write("edited.yaml", c.policyWithin("edited", seconds))
		c.pause(ctx, 300*time.Millisecond)
	}
	seconds = 42
	c.write("edited.yaml", c.policyWithin("edited", seconds))
	return seconds
}

// comeAndGo removes a service at times, and brings it back.
func (c *churn) comeAndGo(ctx context.Context) {
	for ctx.Err() == nil {
		c.pause(ctx, 2*time.Second)
		end := c.rules.because("the service was removed", 15*time.Second, of("guest", notRouted))
		c.remove("guest.yaml")
		c.pause(ctx, 2*time.Second)
		c.write("guest.yaml", c.policy("guest"))
		end()
	}
}

// mustBeWhole checks that after all that the last edit holds everywhere, nothing is refused and no breaker is open.
func (c *churn) mustBeWhole(timeout int) {
	c.t.Helper()
	c.until("nothing is wrong with the policies", func() error {
		if got := c.config(); !got.OK || got.Services != len(c.services) || len(got.Rejections) > 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	for name := range c.services {
		c.until(name+" is served by all Envoys", func() error {
			for range 12 { // the kernel chooses an Envoy for each connection
				r, err := c.try(http.MethodGet, "/"+name+"/x", nil)
				if err != nil {
					return err
				}
				if r.status != http.StatusOK {
					return fmt.Errorf("%d %s", r.status, r.body)
				}
				if got := c.services[name].timeout.Load(); name == "edited" && got != int64(timeout)*1000 {
					return fmt.Errorf("the timeout is %d ms", got)
				}
			}
			return nil
		})
		c.untilIs(name, "closed")
	}
}
