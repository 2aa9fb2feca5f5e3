package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestReference: the published document is the one that the schema gives.
func TestReference(t *testing.T) {
	t.Parallel()
	want, err := reference(filepath.Join("..", "..", "policy", "lint.go"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/policy.md is not what the schema gives: run `make generate`")
	}
}
