package shop

import (
	"os"
	"path/filepath"
	"testing"
)

// PythonEnv returns the environment in which python3 has the pinned packages of tools/python.txt, from
// the environment variable PYTHON_PACKAGES. Without it the test fails.
func PythonEnv(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("PYTHON_PACKAGES")
	if dir == "" {
		t.Fatal("PYTHON_PACKAGES is not set: run `make test`, or set it to what tools/get-python prints")
	}
	if !exists(filepath.Join(dir, "locust")) {
		t.Fatalf("PYTHON_PACKAGES: %s has no locust: run `make test`, or set it to what tools/get-python prints", dir)
	}
	return []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1"}
}
