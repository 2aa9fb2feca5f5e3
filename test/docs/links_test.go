package docs

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	// link is a Markdown link: its target without and with the #.
	link = regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	// reference is how other files, such as rules of alerts, name a heading of a document.
	reference = regexp.MustCompile(`\b(docs/[a-z-]+\.md)(#[a-z0-9_-]+)`)
)

// TestLinks: what a document links to in the repository is there, headings included.
func TestLinks(t *testing.T) {
	t.Parallel()
	root := os.DirFS(filepath.Join("..", ".."))
	found := 0
	for _, name := range documents(t, filepath.Join("..", "..")) {
		data, err := fs.ReadFile(root, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			target := name
			if m[1] != "" {
				target = path.Join(path.Dir(name), m[1])
			}
			if err := there(root, target, strings.TrimPrefix(m[2], "#")); err != nil {
				t.Errorf("%s links to %s%s: %v", name, m[1], m[2], err)
			}
		}
	}
	if found == 0 {
		t.Error("no links were found")
	}
}

// TestReferences: where code and configuration name a heading of a document, it is there.
func TestReferences(t *testing.T) {
	t.Parallel()
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (name != "." && strings.HasPrefix(d.Name(), ".") || name == "bin") {
			return fs.SkipDir
		}
		if d.IsDir() || !slices.Contains([]string{".go", ".yml", ".yaml", ".json", ".md"}, path.Ext(name)) {
			return nil
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, m := range reference.FindAllStringSubmatch(string(data), -1) {
			if err := there(root, m[1], strings.TrimPrefix(m[2], "#")); err != nil {
				t.Errorf("%s names %s: %v", name, m[0], err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// there returns an error if there is no such file or directory, or no such heading in it.
func there(root fs.FS, name, anchor string) error {
	info, err := fs.Stat(root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it is not there")
	case err != nil || anchor == "" || info.IsDir():
		return err
	}
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	if !slices.Contains(anchors(string(data)), anchor) {
		return fmt.Errorf("%s has no heading #%s", name, anchor)
	}
	return nil
}

// anchors are the headings of a document as links name them.
func anchors(text string) []string {
	var out []string
	code := false
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		heading := strings.TrimLeft(line, "#")
		if code || heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return out
}
