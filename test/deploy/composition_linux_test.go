package deploy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// composition is docker-compose.yml, brought up.
type composition struct {
	*engine
	file *composeFile
	// dir is a copy of the project, whose files the test may edit.
	dir string
	// services are the running containers, of each service in the order of their start.
	services map[string][]*container
}

// projectFiles are what docker-compose.yml and what it mounts consist of.
var projectFiles = []string{"docker-compose.yml", "deploy", "examples"}

// copyProject copies the project, so that a test edits no file of the repository's.
func copyProject(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range projectFiles {
		if out, err := exec.Command("cp", "-R", filepath.Join(root(), name), dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// Containers look into it as other users.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chmod", "-R", "a+rX", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// composeUp is `docker compose up --wait`, with so many containers of the services that scale
// names, and without those that are left out.
func composeUp(t testing.TB, scale map[string]int, without ...string) *composition {
	t.Helper()
	dir := copyProject(t)
	file, err := readCompose(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &composition{engine: newEngine(t), file: file, dir: dir, services: make(map[string][]*container)}
	for name := range file.Networks {
		c.addNetwork(name)
	}
	names := make([]string, 0, len(file.Services))
	for name := range file.Services {
		if !slices.Contains(without, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for len(names) > 0 {
		i := slices.IndexFunc(names, c.canStart)
		if i < 0 {
			t.Fatalf("%v wait for each other", names)
		}
		n := max(scale[names[i]], 1)
		for range n {
			c.up(names[i])
		}
		names = slices.Delete(names, i, i+1)
	}
	for name, s := range file.Services {
		for _, running := range c.services[name] {
			running.untilHealthy(healthCommand(t, s))
		}
	}
	return c
}

// canStart reports whether all that the service depends on is there.
func (c *composition) canStart(name string) bool {
	for on := range c.file.Services[name].DependsOn {
		if len(c.services[on]) == 0 {
			return false
		}
	}
	return true
}

// up starts one container of a service once what it depends on is healthy.
func (c *composition) up(name string) *container {
	c.t.Helper()
	s := c.file.Services[name]
	for on, depend := range s.DependsOn {
		switch depend.Condition {
		case "service_started":
		case "service_healthy":
			for _, other := range c.services[on] {
				other.untilHealthy(healthCommand(c.t, c.file.Services[on]))
			}
		default:
			c.t.Fatalf("%s depends on %s with the condition %s, which this test does not know", name, on, depend.Condition)
		}
	}
	img, err := c.image(s)
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	number := len(c.services[name]) + 1
	running := c.run(runSpec{
		service:    name,
		hostname:   fmt.Sprintf("%s%04x", "c0ffee00", len(c.all())),
		image:      img,
		entrypoint: s.Entrypoint,
		args:       s.Command,
		env:        s.variables(),
		user:       s.User,
		readOnly:   s.ReadOnly,
		mounts:     c.mounts(s, img),
		networks:   s.networkNames(),
	})
	for _, p := range s.Ports {
		if number > 1 {
			c.t.Fatalf("%s has %d containers and publishes port %s", name, number, p.Published)
		}
		running.publish(net.JoinHostPort(p.HostIP, p.Published), p.Target)
	}
	c.services[name] = append(c.services[name], running)
	return running
}

func (c *composition) image(s composeService) (image, error) {
	if s.Build == nil {
		return baseImage(s.Image)
	}
	if s.Build.Context != c.dir || s.Build.Dockerfile != dockerfilePath {
		return image{}, fmt.Errorf("it is built from %s in %s", s.Build.Dockerfile, s.Build.Context)
	}
	return targetImage(s.Build.Target)
}

func (c *composition) mounts(s composeService, img image) []mount {
	c.t.Helper()
	var mounts []mount
	for _, v := range s.Volumes {
		source := v.Source
		if v.Type == "volume" {
			if _, ok := c.file.Volumes[source]; !ok {
				c.t.Fatalf("no volume %s", source)
			}
			source = c.volume(source, img, v.Target)
		}
		mounts = append(mounts, mount{Source: source, Target: v.Target, ReadOnly: v.ReadOnly})
	}
	for _, t := range s.Tmpfs {
		target, options, _ := strings.Cut(t, ":")
		mounts = append(mounts, mount{Target: target, Options: options})
	}
	return mounts
}

// one is the only container of a service.
func (c *composition) one(service string) *container {
	c.t.Helper()
	if n := len(c.services[service]); n != 1 {
		c.t.Fatalf("%s has %d containers", service, n)
	}
	return c.services[service][0]
}

// healthCommand is the command of the service's health check.
func healthCommand(t testing.TB, s composeService) []string {
	t.Helper()
	h := s.Healthcheck
	if h == nil || len(h.Test) < 2 {
		t.Fatalf("the health check is %+v", h)
	}
	if time.Duration(h.Interval) == 0 || h.Retries == 0 {
		t.Fatalf("the health check %v has no interval or no retries", h.Test)
	}
	if h.Test[0] == "CMD-SHELL" {
		return []string{"/bin/sh", "-c", h.Test[1]}
	}
	return h.Test[1:]
}
