// Package docs proves the documents: every command in README.md and docs/*.md is run, in the
// order of the document, on a shop example behind a real Envoy, each document on one of its own.
//
// Where a command needs an engine, a cluster or root, testdata/bin has a program of its name that
// does what can be done without.
//
// A block of text that directly follows a block of commands is what they print; "…" in it stands for anything.
package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/envoy/child"
	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/prometheustest"
	"github.com/breakwater/breakwater/test/shop"
)

const (
	// blockTimeout bounds one block of commands.
	blockTimeout = 60 * time.Second
	// serveTimeout bounds the start of a server, with the race detector on a busy machine.
	serveTimeout = 60 * time.Second
	stopGrace    = 10 * time.Second
)

// notRun are the commands that are not run here, with the reason. Each must stand in a document.
var notRun = map[string]string{
	"bin/breakwater demo-upstream --service fraud-service": "its port is fixed; test/deploy runs it as docker-compose.yml says",
	"make run":  "the example runs already; test/e2e starts and ends it",
	"make test": "this test is a part of it",
	"python3 -m pip install -r examples/clients/python/requirements.txt": "tests get nothing from the net; `make test` gets these packages before, hash-pinned",
}

// servers are the commands that go on until they are ended, by how they begin. Each is started, must
// become ready, and is ended at the end of its block.
var servers = []struct {
	prefix string
	ready  func(shop.Addrs) string // a URL that then answers 200
}{
	{"bin/breakwater serve ", func(a shop.Addrs) string { return "http://" + a.HTTP + "/readyz" }},
	{"envoy -c ", func(a shop.Addrs) string { return "http://" + a.Admin + "/ready" }},
}

// stand are what words in capitals stand for in commands that the reader completes.
var stand = map[string]string{
	"DIR":       "examples/minimal",
	"STATE_DIR": "serve-state",
	"SERVICE":   "fraud-service",
}

func TestCommands(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	unseen := map[string]bool{}
	for command := range notRun {
		unseen[command] = true
	}
	for _, name := range documents(t, root) {
		all, err := blocks(filepath.Join(root, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, b := range all {
			for _, command := range b.lines() {
				delete(unseen, command)
			}
		}
		if len(all) > 0 {
			t.Run(name, func(t *testing.T) {
				s := shop.Start(t)
				s.Env = append(s.Env, shop.PythonEnv(t)...)
				furnish(t, s)
				for _, b := range all {
					run(t, s, b)
				}
			})
		}
	}
	for command := range unseen {
		t.Errorf("%q stands in no document: take it from the list of those that are not run", command)
	}
}

// furnish gives a shop's directory what else the documents' commands are about.
func furnish(t *testing.T, s *shop.Shop) {
	t.Helper()
	for _, variable := range []string{"COMPOSE", "KUSTOMIZE"} {
		if os.Getenv(variable) == "" {
			t.Fatalf("%s is not set: run `make test`", variable)
		}
	}
	programs, err := filepath.Glob("testdata/bin/*")
	if err != nil || len(programs) == 0 {
		t.Fatalf("testdata/bin: %d programs, %v", len(programs), err)
	}
	for _, program := range append(programs, prometheustest.Binary(t, "promtool")) {
		if program, err = filepath.Abs(program); err == nil {
			err = os.Symlink(program, filepath.Join(s.Dir, "bin", filepath.Base(program)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(s.Dir, "deploy"), os.DirFS(filepath.Join(s.Root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	const compose = "docker-compose.yml"
	text, err := os.ReadFile(filepath.Join(s.Root, compose))
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Dir, compose), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs one block.
func run(t *testing.T, s *shop.Shop, b block) {
	t.Helper()
	commands := b.lines()
	server, exempt := false, 0
	for _, command := range commands {
		if notRun[command] != "" {
			exempt++
		}
		for _, kind := range servers {
			server = server || strings.HasPrefix(command, kind.prefix)
		}
	}
	switch {
	case exempt == len(commands):
		return
	case exempt > 0:
		t.Fatalf("line %d: a block is run as a whole or not at all", b.line)
	case server:
		runServers(t, s, b)
		return
	}
	out, err := sh(t, s.Dir, s.Env, s.Rewrite(fill(b.text)))
	if err != nil {
		t.Fatalf("line %d: %v\n%s\nprinted:\n%s", b.line, err, b.text, out)
	}
	if err := matches(s.Rewrite(b.output), out); err != nil {
		t.Errorf("line %d: %v\n%s\nprinted:\n%s", b.line, err, b.text, out)
	}
}

// runServers runs a block with commands that go on, each on one line, on ports of its own.
func runServers(t *testing.T, s *shop.Shop, b block) {
	t.Helper()
	addrs := shop.FreeAddrs(t)
	env := slices.Concat(s.Env, addrs.Env())
	var started []*child.Process
	defer func() {
		for _, p := range started {
			p.Stop(stopGrace)
		}
	}()
	for _, command := range b.lines() {
		text := addrs.Rewrite(fill(command))
		ready := ""
		for _, kind := range servers {
			if strings.HasPrefix(command, kind.prefix) {
				ready = kind.ready(addrs)
			}
		}
		if ready == "" {
			if out, err := sh(t, s.Dir, env, text); err != nil {
				t.Fatalf("line %d: %s: %v\n%s", b.line, command, err, out)
			}
			continue
		}
		var log bytes.Buffer
		cmd := exec.Command("bash", "-c", "exec "+text)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, env, &log, &log
		p, err := child.Start(cmd)
		if err != nil {
			t.Fatalf("line %d: %s: %v", b.line, command, err)
		}
		started = append(started, p)
		client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		envoytest.Eventually(t, serveTimeout, command+" is ready", func() error {
			select {
			case <-p.Done():
				t.Fatalf("line %d: %s ended: %v\n%s", b.line, command, p.Err(), log.String())
			default:
			}
			resp, err := client.Get(ready)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("GET %s: %d", ready, resp.StatusCode)
			}
			return nil
		})
	}
}

var placeholder = regexp.MustCompile(`(^|[\s=])([A-Z]+(?:_[A-Z]+)*)\b`)

// fill puts something in the place of what the reader is to complete.
func fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		at := placeholder.FindStringSubmatch(found)
		if with, ok := stand[at[2]]; ok {
			return at[1] + with
		}
		return found
	})
}

// sh runs commands, each of which must succeed, and returns what they print.
func sh(t *testing.T, dir string, env []string, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = dir, env
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not within %v: %w", blockTimeout, errors.Join(ctx.Err(), err))
	}
	return string(out), err
}
