package envoy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/test/envoytest"
)

// script writes an executable that prints out, and returns its path.
func script(t *testing.T, dir, out string) string {
	t.Helper()
	path := filepath.Join(dir, "envoy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+out+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func versionOutput(version string) string {
	return "\nenvoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/" + version + "/Clean/RELEASE/BoringSSL\n"
}

func TestFindsTheRealEnvoy(t *testing.T) {
	t.Setenv("ENVOY", envoytest.Binary(t))
	got, err := envoy.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Version == "" || !filepath.IsAbs(got.Path) {
		t.Errorf("Find() = %+v", got)
	}
}

func TestFindOrder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	cached := script(t, filepath.Join(dir, ".cache/envoy-1.40.0/envoy/_bin"), versionOutput("1.40.0"))
	onPath := script(t, filepath.Join(dir, "bin"), versionOutput("1.41.2-dev"))
	named := script(t, filepath.Join(dir, "opt"), versionOutput("1.39.0"))

	t.Setenv("ENVOY", "")
	t.Setenv("PATH", filepath.Join(dir, "nothing"))
	wantBinary(t, envoy.Binary{Path: cached, Version: "1.40.0"})
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	wantBinary(t, envoy.Binary{Path: onPath, Version: "1.41.2"})
	t.Setenv("ENVOY", named)
	wantBinary(t, envoy.Binary{Path: named, Version: "1.39.0"})
	t.Setenv("ENVOY", "opt/envoy")
	wantBinary(t, envoy.Binary{Path: named, Version: "1.39.0"})
}

func wantBinary(t *testing.T, want envoy.Binary) {
	t.Helper()
	got, err := envoy.Find(t.Context())
	if err != nil || got != want {
		t.Errorf("Find() = %+v, %v, want %+v", got, err, want)
	}
}

func TestFindErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("PATH", "")
	for _, tt := range []struct{ name, path, want string }{
		{"none", "", "no Envoy found: run `make envoy` to get one, or set ENVOY"},
		{"missing", "/does/not/exist", "ENVOY=/does/not/exist: "},
		{"old", script(t, filepath.Join(dir, "old"), versionOutput("1.38.9")), "is Envoy 1.38.9: Breakwater needs 1.39.0 or newer"},
		{"very old", script(t, filepath.Join(dir, "very-old"), versionOutput("1.9.0")), "is Envoy 1.9.0: Breakwater needs"},
		{"another program", script(t, filepath.Join(dir, "other"), "hello"), `not Envoy: --version says "hello"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("ENVOY", tt.path)
			_, err := envoy.Find(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Find() = %v, want one line with %q", err, tt.want)
			}
		})
	}
}
