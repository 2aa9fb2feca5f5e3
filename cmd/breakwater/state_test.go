package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/breakwater/breakwater/store"
)

func TestStateDump(t *testing.T) {
	const secret = "s3cr3t-of-nobody"
	t.Setenv("API_KEY", secret)
	dir := t.TempDir()
	policies := writeFiles(t, t.TempDir(), map[string]string{"svc.yaml": doubtful + "fallback: {status: 200, body: 'key ${API_KEY}'}\n"})
	var log strings.Builder
	s, err := planeFlags{
		policies: policies, state: dir, xds: "127.0.0.1:0", http: "127.0.0.1:0", grpc: "127.0.0.1:0",
		log: logFlags{level: "info", format: "text"}, lease: time.Minute,
	}.check(&log)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlane(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.bind(); err != nil {
		t.Fatal(err)
	}
	if err := p.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.accepted(p.publisher.Set())
	t.Setenv("BREAKWATER_STATE", dir)
	for _, when := range []string{"while it runs", "afterwards"} {
		got := runMain(t, "state", "dump")
		var documents map[string]struct {
			Directory string
			Files     []struct{ Name, Text string }
		}
		if err := json.Unmarshal([]byte(got.stdout), &documents); err != nil || got.code != exitOK || got.stderr != "" {
			t.Fatalf("%s: %v, %+v", when, err, got)
		}
		for _, name := range []string{"policies", "accepted"} {
			if d := documents[name]; d.Directory != policies || len(d.Files) != 1 || !strings.Contains(d.Files[0].Text, "${API_KEY}") {
				t.Errorf("%s: %s: %+v", when, name, d)
			}
		}
		if strings.Contains(got.stdout, secret) || !strings.Contains(got.stdout, "\n  \"policies\": {\n    \"directory\"") {
			t.Errorf("%s:\n%s", when, got.stdout)
		}
		copied := filepath.Join(t.TempDir(), store.FileName)
		if o := runMain(t, "state", "copy", copied); o != (outcome{}) {
			t.Errorf("%s: copy: %+v", when, o)
		}
		if o := runMain(t, "state", "dump", "--state", filepath.Dir(copied)); o != got {
			t.Errorf("%s: the copy has %+v, want %+v", when, o, got)
		}
		if err := p.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStateDumpWithoutState(t *testing.T) {
	dir := t.TempDir()
	runMain(t, "state", "dump", "--state", dir).mustFail(t, exitFailed, "there is no state.db in "+dir)
	runMain(t, "state", "copy", "x", "--state", dir).mustFail(t, exitFailed, "there is no state.db in "+dir)
	runMain(t, "state", "dump", "--state", "").mustFail(t, exitUsage, "--state is required")
	runMain(t, "state", "dump", dir).mustFail(t, exitUsage, `breakwater state dump takes no argument and got [%s`)
	if err := os.WriteFile(filepath.Join(dir, store.FileName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	runMain(t, "state", "dump", "--state", dir).mustFail(t, exitFailed, "cannot read "+filepath.Join(dir, store.FileName)+": %s")
}
