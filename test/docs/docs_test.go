// Package docs proves the documents: every command in README.md and docs/*.md is run, those in blocks
// in the order of the document and then those in sentences and tables, on a shop example behind a real
// Envoy, each document on one of its own. docs/migration.md, which builds a gateway from nothing, is followed on a host
// of its own. What serves runs in a network of its own, on the ports that the
// documents say. So do the examples that commands give in their help.
//
// Where a command needs an engine, a cluster or root, testdata/bin has a program of its name that
// does what can be done without.
//
// A block of text that directly follows a block of commands is what they print; "…" in it stands for anything.
package docs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/test/prometheustest"
	"github.com/breakwater/breakwater/test/shop"
)

// blockTimeout bounds one block of commands.
const blockTimeout = 60 * time.Second

// notRun are the commands that are not run here, with the reason. Each must stand in a document.
var notRun = map[string]string{
	"make test":     "this test is a part of it",
	"make check":    "it runs beside the tests wherever they are run, and takes minutes",
	"make generate": "`make check` runs it, and compares",
	"make load":     "it is test/load, which `make test` runs",
	"make churn":    "it is TestChurn, which `make test` runs for a minute",
}

// stand are what words in capitals stand for in commands that the reader completes.
var stand = map[string]string{
	"DIR":       "examples/minimal",
	"STATE_DIR": "serve-state",
	"SERVICE":   "fraud-service",
	"PROXY":     "edge-2",
	"ID":        `"$(hostname)"`,
	"ADDR":      `"${FRAUD_SERVICE_URL#http://}"`,
	"PASSWORD":  "correct-horse",
	"WHY":       "drill",
	"FILE":      "state-copy.db",
	"URL":       "http://127.0.0.1:8081/readyz",
}

func TestCommands(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	unseen := map[string]bool{}
	for _, list := range []iter.Seq[string]{maps.Keys(notRun), maps.Keys(fails), maps.Keys(before)} {
		for command := range list {
			unseen[command] = true
		}
	}
	type document struct {
		name   string
		blocks []block
		spans  []span
	}
	var all []document
	var blockless []span
	done := map[string]bool{}
	for _, name := range documents(t, root) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		d := document{name: name}
		if d.blocks, err = parseBlocks(string(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, b := range d.blocks {
			for _, command := range b.lines() {
				delete(unseen, command)
				done[strings.TrimPrefix(command, "bin/")] = true
			}
		}
		if name == followed {
			d.blocks = nil
		}
		for _, s := range spans(name, string(text)) {
			delete(unseen, s.text)
			if !s.isCommand() || done[s.key()] || notRun[s.text] != "" {
				continue
			}
			done[s.key()] = true
			if d.spans = append(d.spans, s); len(d.blocks) == 0 {
				blockless = append(blockless, s)
			}
		}
		if len(d.blocks) > 0 {
			all = append(all, d)
		}
	}
	for command := range unseen {
		t.Errorf("%q stands in no document: take it from the list that has it", command)
	}
	// A document without blocks has no shop of its own.
	all[0].spans = append(all[0].spans, blockless...)
	for _, d := range all {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := shop.Start(t)
			furnish(t, s)
			for _, b := range d.blocks {
				run(t, s, b)
			}
			r := newReader(t, s)
			for _, sp := range d.spans {
				r.run(sp)
			}
		})
	}
}

// furnish gives a shop what else the documents' commands are about.
func furnish(t *testing.T, s *shop.Shop) {
	t.Helper()
	for _, variable := range []string{"COMPOSE", "KUSTOMIZE"} {
		if os.Getenv(variable) == "" {
			t.Fatalf("%s is not set: run `make test`", variable)
		}
	}
	// A make that runs this test hands down what it was told, which would go before the environment.
	s.Env = slices.DeleteFunc(s.Env, func(have string) bool {
		return strings.HasPrefix(have, "MAKE") || strings.HasPrefix(have, "MFLAGS=")
	})
	s.Env = append(s.Env, shop.PythonEnv(t)...)
	s.Env = append(s.Env, "PIP_NO_INDEX=1") // the pinned packages are there, and no other may be got
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
	// What is built in the directory is made of the same sources.
	for _, name := range []string{"Makefile", "admin", "breaker", "cmd", "envoy", "policy", "store", "tools", "xds"} {
		if err := os.Symlink(filepath.Join(s.Root, name), filepath.Join(s.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs one block.
func run(t *testing.T, s *shop.Shop, b block) {
	t.Helper()
	commands := b.lines()
	serves, exempt := false, 0
	for _, command := range commands {
		if notRun[command] != "" {
			exempt++
		}
		serves = serves || ready(command) != ""
	}
	switch {
	case exempt == len(commands):
		return
	case exempt > 0 && !serves:
		t.Fatalf("line %d: a block is run as a whole or not at all", b.line)
	case serves:
		h := newHost(t, s)
		for _, command := range commands {
			if notRun[command] != "" {
				continue
			}
			if err := h.run(fill(command)); err != nil {
				t.Fatalf("line %d: %v", b.line, err)
			}
		}
		h.stop()
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

// sh runs commands, each of which must succeed, and returns what they print. They are run by what is given as within.
func sh(t *testing.T, dir string, env []string, text string, within ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), blockTimeout)
	defer cancel()
	args := append(slices.Clone(within), "bash", "-eu", "-o", "pipefail", "-c", text)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, env
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not within %v: %w", blockTimeout, errors.Join(ctx.Err(), err))
	}
	return string(out), err
}
