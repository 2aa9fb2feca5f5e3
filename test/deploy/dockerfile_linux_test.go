package deploy

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDockerfile checks what hadolint does not: users, pins, and what is built.
func TestDockerfile(t *testing.T) {
	stages, err := readDockerfile(filepath.Join(root(), dockerfilePath))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stages {
		if _, tag, _ := strings.Cut(s.base, ":"); tag == "" || tag == "latest" {
			t.Errorf("FROM %s is not pinned", s.base)
		}
		if s.name == "build" {
			continue
		}
		if o, err := parseOwner(s.user); err != nil || o.uid == 0 {
			t.Errorf("the image %s runs as %q", s.name, s.user)
		}
	}
	// The toolchain of the image is that of go.mod: none is downloaded in the build.
	build, err := findStage(stages, "build")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root(), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, tag, _ := strings.Cut(build.base, ":")
	version, _, _ := strings.Cut(tag, "-")
	if !strings.Contains(string(mod), "\ngo "+version+"\n") {
		t.Errorf("go.mod asks for another Go than %s", build.base)
	}

	binary, err := elf.Open(filepath.Join(os.Getenv(outVariable), "breakwater"))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("breakwater is not static")
		}
	}
}

// TestBuildContext checks that .dockerignore lets through all that the binary is built from.
func TestBuildContext(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(), ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	if !slices.Contains(lines, "*") {
		t.Error("the context has more in it than what is named")
	}
	for _, arch := range []string{"amd64", "arm64"} {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{if and .Module .Module.Main}}{{.Dir}}{{end}}", "./cmd/breakwater")
		cmd.Dir = root()
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list for %s: %v", arch, err)
		}
		for dir := range strings.FieldsSeq(string(out)) {
			rel, err := filepath.Rel(root(), dir)
			if err != nil {
				t.Fatal(err)
			}
			top, _, _ := strings.Cut(rel, string(filepath.Separator))
			if !slices.Contains(lines, "!"+top) {
				t.Errorf("the build needs %s, which .dockerignore leaves out", rel)
			}
		}
	}
	stages, err := readDockerfile(filepath.Join(root(), dockerfilePath))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stages {
		for _, c := range s.copies {
			for _, src := range c.src {
				if c.from == "" && src != "." && !slices.Contains(lines, "!"+src) {
					t.Errorf("COPY %s, which .dockerignore leaves out", src)
				}
			}
		}
	}
}
