package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyPolicyFilesCount(t *testing.T) {
	dir := tree(t, map[string]string{
		"b.yaml": "b", "a.yml": "a", "defaults.yaml": "d",
		".hidden.yaml": "", "#a.yml#": "", "#b.yaml": "", "a.yml~": "", "a.yml.bak": "", ".a.yml.swp": "",
		"4913": "", "README.md": "", ".yaml": "", "A.YAML": "", "b.yaml.tmp": "",
	})
	must(t, os.Mkdir(filepath.Join(dir, "sub.yaml"), 0o700))
	write(t, filepath.Join(dir, "sub.yaml", "c.yaml"), "c")
	must(t, os.Symlink("sub.yaml", filepath.Join(dir, "link-to-directory.yaml")))
	must(t, os.Symlink("a.yml", filepath.Join(dir, "link.yaml")))

	files, err := ReadDir(dir)
	must(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"a.yml", "b.yaml", "defaults.yaml", "link.yaml"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if got := contents(files)["link.yaml"]; got != "a" {
		t.Errorf("the link's content is %q", got)
	}
}

// A link may be absolute, and the directory itself may be one, as long as the file is in it.
func TestLinksWithin(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "a"})
	must(t, os.Symlink(filepath.Join(dir, "a.yaml"), filepath.Join(dir, "absolute.yaml")))
	must(t, os.Symlink("absolute.yaml", filepath.Join(dir, "twice.yaml")))
	must(t, os.Symlink(dir, dir+".link"))
	here, err := os.Getwd()
	must(t, err)
	relative, err := filepath.Rel(here, dir)
	must(t, err)
	for _, dir := range []string{dir, dir + ".link", relative} {
		files, err := ReadDir(dir)
		must(t, err)
		if diff := cmp.Diff(map[string]string{"a.yaml": "a", "absolute.yaml": "a", "twice.yaml": "a"}, contents(files)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", dir, diff)
		}
	}
	// A file that is named is read wherever it is.
	elsewhere := filepath.Join(t.TempDir(), "b.yaml")
	must(t, os.Symlink(filepath.Join(dir, "a.yaml"), elsewhere))
	files, err := Read(elsewhere)
	must(t, err)
	if diff := cmp.Diff(map[string]string{"b.yaml": "a"}, contents(files)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFaultyFiles(t *testing.T) {
	tests := []struct {
		name string
		lay  func(t *testing.T, path string)
		want string
	}{
		{"dangling link", func(t *testing.T, path string) { must(t, os.Symlink("nowhere", path)) }, "no such file"},
		{"link to itself", func(t *testing.T, path string) { must(t, os.Symlink("bad.yaml", path)) }, "too many levels"},
		{"link out of the directory", func(t *testing.T, path string) { must(t, os.Symlink("/etc/passwd", path)) }, "outside of the policy directory"},
		{"relative link out of it", func(t *testing.T, path string) {
			write(t, filepath.Join(filepath.Dir(path), "..", "secret.txt"), "hunter2: {")
			must(t, os.Symlink("../secret.txt", path))
		}, "outside of the policy directory"},
		{"link out of it by way of another", func(t *testing.T, path string) {
			must(t, os.Symlink("/etc", filepath.Join(filepath.Dir(path), "..data")))
			must(t, os.Symlink("..data/passwd", path))
		}, "outside of the policy directory"},
		{"named pipe", func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) }, "not a regular file"},
		{"too large", func(t *testing.T, path string) {
			write(t, path, "")
			must(t, os.Truncate(path, MaxFileSize+1))
		}, "larger than 4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"good.yaml": "good"})
			path := filepath.Join(dir, "bad.yaml")
			tt.lay(t, path)
			files, err := ReadDir(dir)
			if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q with %s", err, tt.want, path)
			}
			if diff := cmp.Diff(map[string]string{"good.yaml": "good"}, contents(files)); diff != "" {
				t.Errorf("the others (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLargestFileIsRead(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": strings.Repeat("#", MaxFileSize)})
	files, err := ReadDir(dir)
	must(t, err)
	if len(files) != 1 || len(files[0].Data) != MaxFileSize {
		t.Errorf("read %d files", len(files))
	}
}

func TestFaultyDirectories(t *testing.T) {
	many := tree(t, nil)
	for i := range MaxFiles + 1 {
		write(t, filepath.Join(many, fmt.Sprintf("%d.yaml", i)), "")
	}
	for name, tt := range map[string]struct {
		dir  string
		want error
	}{
		"missing":  {filepath.Join(t.TempDir(), "missing"), fs.ErrNotExist},
		"empty":    {tree(t, map[string]string{"README.md": ""}), ErrNoFiles},
		"too many": {many, errTooMany},
	} {
		files, err := ReadDir(tt.dir)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.dir) || files != nil {
			t.Errorf("%s: %d files, error %v; want %v with the path", name, len(files), err, tt.want)
		}
	}
}

func TestReadPath(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "a", "b.txt": "b"})
	for path, want := range map[string]map[string]string{
		dir:                            {"a.yaml": "a"},
		filepath.Join(dir, "a.yaml"):   {"a.yaml": "a"},
		filepath.Join(dir, "b.txt"):    {"b.txt": "b"},
		filepath.Join(dir, "none.yml"): nil,
	} {
		files, err := Read(path)
		if (err == nil) != (want != nil) {
			t.Errorf("Read(%s): %v", path, err)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("Read(%s): %v has no path", path, err)
		}
		if want != nil {
			if diff := cmp.Diff(want, contents(files)); diff != "" {
				t.Errorf("Read(%s) (-want +got):\n%s", path, diff)
			}
		}
	}
}

func TestDigestTellsAllChangesApart(t *testing.T) {
	digests := map[string]string{}
	for _, files := range []map[string]string{
		{"a.yaml": "1"},
		{"b.yaml": "1"},
		{"a.yaml": "2"},
		{"a.yaml": ""},
		{"a.yaml": "1", "b.yaml": ""},
		{"a.yaml": "", "b.yaml": "1"},
	} {
		r := newReader(tree(t, files))
		d := r.read(everything).Digest
		if other, ok := digests[d]; ok {
			t.Errorf("%v and %v have the same digest", files, other)
		}
		digests[d] = fmt.Sprint(files)
		if again := r.read(changedOnly).Digest; again != d {
			t.Errorf("%v: another digest when read again", files)
		}
	}
}

// manyFiles is a directory of n policy files of about 800 bytes.
func manyFiles(b *testing.B, n int) string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("service-%04d.yaml", i)] = fmt.Sprintf("service: service-%04d\n%s", i, strings.Repeat("# a line of policy\n", 40))
	}
	return tree(b, files)
}

// BenchmarkPoll is what runs each second: 1,000 files are opened, read and compared.
func BenchmarkPoll(b *testing.B) { benchmarkRead(b, everything) }

// BenchmarkEvent is one of the two reads after an event, with old files.
func BenchmarkEvent(b *testing.B) { benchmarkRead(b, changedOnly) }

func benchmarkRead(b *testing.B, d depth) {
	r := newReader(manyFiles(b, 1000))
	first := r.read(everything)
	for _, c := range r.files {
		c.state.seen = c.state.changed.Add(2 * racyAge)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.read(d).Digest != first.Digest {
			b.Fatal("the files have changed")
		}
	}
}
