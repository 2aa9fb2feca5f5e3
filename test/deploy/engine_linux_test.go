package deploy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/envoytest"
)

// startTimeout bounds the start of one container on a busy machine.
const startTimeout = 30 * time.Second

// engine runs containers. Whatever it has started is gone when the test ends.
type engine struct {
	t   testing.TB
	dir string

	mu sync.Mutex
	// The following are guarded by mu.
	networks   map[string]*network
	containers []*container
}

// runSpec is what an engine is told of a container.
type runSpec struct {
	// service is the name that others know it by, on each of its networks.
	service  string
	hostname string
	image    image
	// args replaces the image's command, and entrypoint its entrypoint, unless nil.
	entrypoint, args []string
	env              []string
	user             string
	readOnly         bool
	mounts           []mount
	networks         []string
}

type container struct {
	runSpec
	engine *engine
	root   string
	owner  owner
	addrs  map[string]netip.Addr // by network
	cmd    *exec.Cmd
	log    *envoytest.Output
	ended  chan struct{}
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	e := &engine{t: t, dir: t.TempDir(), networks: make(map[string]*network)}
	// Other users than ours look below it.
	if err := os.Chmod(e.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range e.all() {
			c.kill()
			if log := c.log.String(); strings.Contains(log, "DATA RACE") || t.Failed() {
				t.Logf("end of the log of %s (%s):\n%s", c.service, c.hostname, envoytest.LastLines(log, 12))
			}
		}
		for _, n := range e.networks {
			if err := ip("link", "delete", n.bridge); err != nil {
				t.Error(err)
			}
		}
	})
	return e
}

func (e *engine) all() []*container {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.containers)
}

// run starts a container.
func (e *engine) run(spec runSpec) *container {
	e.t.Helper()
	c := &container{runSpec: spec, engine: e, addrs: make(map[string]netip.Addr), log: &envoytest.Output{}}
	if err := c.start(); err != nil {
		e.t.Fatalf("starting %s: %v", spec.service, err)
	}
	return c
}

func (c *container) start() error {
	var err error
	if c.owner, err = parseOwner(cmp.Or(c.user, c.image.user, "0:0")); err != nil {
		return err
	}
	if c.root, err = os.MkdirTemp(c.engine.dir, c.service+"-"); err != nil {
		return err
	}
	if err := os.Chmod(c.root, 0o755); err != nil {
		return err
	}
	mounts, err := c.image.unpack(c.root)
	if err != nil {
		return err
	}
	resolv := c.root + ".resolv.conf"
	server := c.engine.networks[c.networks[0]].gateway
	// A name that is not to be had is told at once: no search, no second server.
	if err := os.WriteFile(resolv, []byte("nameserver "+server.String()+"\n"), 0o644); err != nil {
		return err
	}
	mounts = append(mounts, mount{Source: resolv, Target: "/etc/resolv.conf", ReadOnly: true})
	spec, err := json.Marshal(containerSpec{
		Hostname: c.hostname,
		Root:     c.root,
		ReadOnly: c.readOnly,
		Mounts:   append(mounts, c.mounts...),
		Args:     c.command(),
		Env:      c.environment(),
		UID:      c.owner.uid,
		GID:      c.owner.gid,
	})
	if err != nil {
		return err
	}
	return c.startProcess(spec)
}

// startProcess starts the process, connects it, and then lets it go on.
func (c *container) startProcess(spec []byte) (err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, read.Close(), write.Close()) }()
	c.cmd = exec.Command("/proc/self/exe")
	c.cmd.Env = append(os.Environ(), roleVariable+"="+roleContainer)
	c.cmd.ExtraFiles = []*os.File{read}
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	c.cmd.WaitDelay = time.Second
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setpgid:    true,
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		// How it ended is in its log.
		_ = cmd.Wait()
		close(ended)
	}(c.cmd, c.ended)
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers = append(e.containers, c)
	for i, name := range c.networks {
		if err := c.connect(e.networks[name], i); err != nil {
			return err
		}
	}
	_, err = write.Write(spec)
	return err
}

func (c *container) command() []string {
	entrypoint, args := c.image.entrypoint, c.image.cmd
	if c.entrypoint != nil {
		// As an engine does: another entrypoint has nothing of the image's command.
		entrypoint, args = c.entrypoint, nil
	}
	if c.args != nil {
		args = c.args
	}
	return append(slices.Clone(entrypoint), args...)
}

func (c *container) environment() []string {
	return append([]string{imagePath, "HOSTNAME=" + c.hostname}, c.env...)
}

// entering returns a command that runs in the container, as its user.
func (c *container) entering(args []string) *exec.Cmd {
	pid := fmt.Sprint(c.cmd.Process.Pid)
	enter := []string{"--target", pid, "--mount", "--net", "--uts", "--ipc", "--root=/proc/" + pid + "/root", "--wd=/proc/" + pid + "/root"}
	if !oneUser() {
		enter = append(enter, "--setuid", fmt.Sprint(c.owner.uid), "--setgid", fmt.Sprint(c.owner.gid))
	}
	cmd := exec.Command("nsenter", append(append(enter, "--"), args...)...)
	cmd.Env = c.environment()
	return cmd
}

// exec runs a command in the container and returns what it says.
func (c *container) exec(args ...string) (string, error) {
	cmd := c.entering(args)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %q: %w: %s", c.service, args, err, out.String())
	}
	return out.String(), err
}

// background starts a second program in the container, which ends with the test. How it ends
// is sent.
func (c *container) background(args ...string) <-chan error {
	c.engine.t.Helper()
	cmd := c.entering(args)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		c.engine.t.Fatal(err)
	}
	ended, gone := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(gone)
	}()
	c.engine.t.Cleanup(func() {
		// It may have ended.
		_ = cmd.Process.Kill()
		<-gone
	})
	return ended
}

// mustExec is exec of what must succeed.
func (c *container) mustExec(args ...string) string {
	c.engine.t.Helper()
	out, err := c.exec(args...)
	if err != nil {
		c.engine.t.Fatal(err)
	}
	return out
}

// untilHealthy waits until the command, a health check, succeeds.
func (c *container) untilHealthy(check []string) {
	c.engine.t.Helper()
	envoytest.Eventually(c.engine.t, startTimeout, c.service+" is healthy", func() error {
		select {
		case <-c.ended:
			c.engine.t.Fatalf("%s has ended", c.service)
		default:
		}
		_, err := c.exec(check...)
		return err
	})
}

// stop ends the container as `docker compose stop` does, and takes its name away.
func (c *container) stop() {
	// It fails only if the process has ended.
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		c.engine.t.Errorf("%s did not end by SIGTERM", c.service)
	}
	c.kill()
}

// restart ends the container and starts it again with the same files and addresses, as
// `docker compose restart` does.
func (c *container) restart() {
	c.engine.t.Helper()
	c.stop()
	if err := c.start(); err != nil {
		c.engine.t.Fatalf("restarting %s: %v", c.service, err)
	}
}

// kill ends the container at once. It may have ended.
func (c *container) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers = slices.DeleteFunc(e.containers, func(other *container) bool { return other == c })
}

// volume makes a named volume; a new one has the owner of the image's directory.
func (e *engine) volume(name string, img image, target string) string {
	e.t.Helper()
	dir := filepath.Join(e.dir, "volume-"+name)
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return dir
	} else if err != nil {
		e.t.Fatal(err)
	}
	if err := chown(dir, img.dirs[target]); err != nil {
		e.t.Fatal(err)
	}
	return dir
}
