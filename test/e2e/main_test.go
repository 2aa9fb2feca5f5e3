// Package e2e proves Breakwater on the real Envoy: the binary is started as a user
// starts it, Envoy from the bootstrap that it prints, and requests are counted where they
// arrive.
//
// It tests no package from within: what it sees is what a user sees, over HTTP, gRPC, the command line,
// the log, and Envoy's own admin API.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// breakwater is the binary under test, built with the race detector; for benchmarks without.
var breakwater string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "breakwater-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	breakwater = filepath.Join(dir, "breakwater")
	flag.Parse()
	args := []string{"build", "-o", breakwater}
	if flag.Lookup("test.bench").Value.String() == "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/breakwater/breakwater/cmd/breakwater")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building breakwater:", err)
		os.Exit(1)
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}
