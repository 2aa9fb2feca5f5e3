package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// inline is a command of breakwater's within a sentence or a table.
	inline = regexp.MustCompile("`(?:bin/)?breakwater ([^`]+)`")
	// helped are lines of a command's help that are an example.
	helped = regexp.MustCompile(`(?m)^  breakwater ((?:.*\\\n)*.*)$`)
)

// TestInlineCommands: the commands that sentences name, and those in the help of commands, are there with their flags.
// What is in blocks is run.
func TestInlineCommands(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "breakwater")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/breakwater")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building breakwater: %v\n%s", err, out)
	}
	// help asks for the help of a command as it is written, with what a reader leaves out taken off.
	help := func(command string) (string, error) {
		command, _, _ = strings.Cut(command, " > ")
		fields := strings.Fields(strings.NewReplacer("[", " ", "]", " ", "…", " ", "|", " ", "\\\n", " ").Replace(command))
		out, err := exec.CommandContext(t.Context(), binary, append(fields, "--help")...).CombinedOutput()
		if err == nil && !strings.Contains(string(out), "breakwater "+fields[0]) {
			// For a command that there is not, the help is breakwater's own.
			err = fmt.Errorf("there is no command %s", fields[0])
		}
		return string(out), err
	}
	found := 0
	for _, name := range documents(t, root) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inline.FindAllStringSubmatch(string(text), -1) {
			found++
			if out, err := help(m[1]); err != nil {
				t.Errorf("%s: %s: %v\n%s", name, m[0], err, out)
			}
		}
	}
	for _, name := range []string{"serve", "bootstrap", "healthcheck", "demo-upstream"} {
		text, err := help(name)
		if err != nil {
			t.Fatalf("%s --help: %v\n%s", name, err, text)
		}
		long, _, _ := strings.Cut(text, "\nUsage:\n")
		examples := helped.FindAllStringSubmatch(long, -1)
		if len(examples) == 0 {
			t.Errorf("%s --help has no example", name)
		}
		for _, m := range examples {
			if out, err := help(m[1]); err != nil || !strings.HasPrefix(m[1], name) {
				t.Errorf("%s --help: %s: %v\n%s", name, m[0], err, out)
			}
		}
	}
	if found == 0 {
		t.Error("no commands were found")
	}
}
