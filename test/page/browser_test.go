package page

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/breakwater/breakwater/test/envoytest"
	"github.com/breakwater/breakwater/test/shop"
)

// chromium is the browser: that of the environment variable CHROMIUM, or the one on the PATH.
func chromium(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("CHROMIUM: %v", err)
		}
		return path
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: on Debian, apt-get install chromium; or set CHROMIUM to the path of one")
	}
	return path
}

// screenshots is the directory that the stories write their pictures to: that of the environment variable
// SCREENSHOTS, or one that the test removes.
func screenshots(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return t.TempDir()
	}
	if !filepath.IsAbs(dir) {
		t.Fatalf("SCREENSHOTS: %s is not an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// story runs a story on the page at url. env is its environment beside this process's own; deeds are what it may ask for.
func story(t *testing.T, name, url string, env []string, deeds map[string]func()) {
	t.Helper()
	if env == nil {
		env = os.Environ()
	}
	// What Python reads, Go is to know of, lest it takes an old result for this story's.
	for _, script := range []string{name, "browser.py", "fake.py"} {
		if _, err := os.Stat(script); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "python3", name)
	cmd.Env = slices.Concat(env, shop.PythonEnv(t), []string{
		"PAGE=" + url,
		"CHROMIUM=" + chromium(t),
		"SCREENSHOTS=" + screenshots(t),
		"TMPDIR=" + t.TempDir(),
		"PYTHONUNBUFFERED=1",
	})
	var errors envoytest.Output
	cmd.Stderr = &errors
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, asked := strings.CutPrefix(lines.Text(), "do ")
		if !asked {
			t.Log(lines.Text())
			continue
		}
		deed := deeds[what]
		if deed == nil {
			t.Errorf("%s asks for %q, which there is not", name, what)
			break
		}
		deed()
		if _, err := fmt.Fprintln(in, "done"); err != nil {
			break
		}
	}
	_ = in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, envoytest.LastLines(errors.String(), 60))
	}
}
