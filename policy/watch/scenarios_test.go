package watch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A scenario is one way in which people and tools change a directory.
type scenario struct {
	name string
	// before is the directory's content at first.
	before map[string]string
	// lay replaces the plain directory of before.
	lay    func(t testing.TB, files map[string]string) string
	change func(t testing.TB, dir string)
	after  map[string]string
	// pollOnly: file events do not tell.
	pollOnly bool
	// still: no event says that it is whole, so it has to be still first.
	still bool
}

var scenarios = []scenario{
	{
		name:   "create",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) { write(t, filepath.Join(dir, "b.yml"), "2") },
		after:  map[string]string{"a.yaml": "1", "b.yml": "2"},
	}, {
		name:   "write in place",
		before: map[string]string{"a.yaml": "1", "b.yaml": "2"},
		change: func(t testing.TB, dir string) { write(t, filepath.Join(dir, "b.yaml"), "22") },
		after:  map[string]string{"a.yaml": "1", "b.yaml": "22"},
	}, {
		name:   "write in place, same size and time",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			path := filepath.Join(dir, "a.yaml")
			info, err := os.Stat(path)
			must(t, err)
			write(t, path, "2")
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		after: map[string]string{"a.yaml": "2"},
	}, {
		name:   "append",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "a.yaml"), os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("2")
			must(t, errors.Join(err, f.Close()))
		},
		after: map[string]string{"a.yaml": "12"},
	}, {
		name:   "rename over",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			write(t, filepath.Join(dir, ".a.yaml.tmp"), "2")
			must(t, os.Rename(filepath.Join(dir, ".a.yaml.tmp"), filepath.Join(dir, "a.yaml")))
		},
		after: map[string]string{"a.yaml": "2"},
	}, {
		name:   "delete",
		before: map[string]string{"a.yaml": "1", "b.yaml": "2"},
		change: func(t testing.TB, dir string) { must(t, os.Remove(filepath.Join(dir, "a.yaml"))) },
		still:  true,
		after:  map[string]string{"b.yaml": "2"},
	}, {
		name:   "empty",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) { must(t, os.Truncate(filepath.Join(dir, "a.yaml"), 0)) },
		still:  true,
		after:  map[string]string{"a.yaml": ""},
	}, {
		name:   "vim",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			path := filepath.Join(dir, "a.yaml")
			write(t, filepath.Join(dir, ".a.yaml.swp"), "swap")
			write(t, filepath.Join(dir, "4913"), "")
			must(t, os.Remove(filepath.Join(dir, "4913")))
			must(t, os.Rename(path, path+"~"))
			write(t, path, "2")
			must(t, os.Remove(path+"~"))
		},
		after: map[string]string{"a.yaml": "2"},
	}, {
		name:   "emacs",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			path := filepath.Join(dir, "a.yaml")
			must(t, os.Symlink("someone@host.1:2", filepath.Join(dir, ".#a.yaml")))
			write(t, filepath.Join(dir, "#a.yaml#"), "auto-saved")
			must(t, os.Rename(path, path+"~"))
			write(t, path, "2")
		},
		after: map[string]string{"a.yaml": "2"},
	}, {
		name:   "ConfigMap swap",
		lay:    configMap,
		before: map[string]string{"a.yaml": "1", "b.yaml": "2"},
		change: func(t testing.TB, dir string) {
			swapConfigMap(t, dir, "..v2", map[string]string{"a.yaml": "11", "b.yaml": "22"})
			must(t, os.RemoveAll(filepath.Join(dir, "..v1")))
		},
		after: map[string]string{"a.yaml": "11", "b.yaml": "22"},
	}, {
		name:   "link to another file",
		before: map[string]string{"a.yaml": "1", "b.yaml": "2"},
		change: func(t testing.TB, dir string) {
			must(t, os.Mkdir(filepath.Join(dir, "versions"), 0o700))
			write(t, filepath.Join(dir, "versions", "3"), "3")
			must(t, os.Symlink(filepath.Join("versions", "3"), filepath.Join(dir, ".new")))
			must(t, os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "a.yaml")))
		},
		after: map[string]string{"a.yaml": "3", "b.yaml": "2"},
	}, {
		name: "target of a link, in a directory below",
		lay: func(t testing.TB, files map[string]string) string {
			dir := tree(t, nil)
			must(t, os.Mkdir(filepath.Join(dir, "below"), 0o700))
			write(t, filepath.Join(dir, "below", "a.txt"), files["a.yaml"])
			must(t, os.Symlink(filepath.Join("below", "a.txt"), filepath.Join(dir, "a.yaml")))
			return dir
		},
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) { write(t, filepath.Join(dir, "below", "a.txt"), "2") },
		after:  map[string]string{"a.yaml": "2"},
	}, {
		name:   "directory moved away, another in its place",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			write(t, filepath.Join(tree(t, nil), "..", "unrelated"), "")
			fresh := tree(t, map[string]string{"a.yaml": "2"})
			must(t, os.Rename(dir, dir+".old"))
			must(t, os.Rename(fresh, dir))
		},
		still: true,
		after: map[string]string{"a.yaml": "2"},
	}, {
		name: "link to the directory",
		lay: func(t testing.TB, files map[string]string) string {
			dir := tree(t, files)
			must(t, os.Symlink(filepath.Base(dir), dir+".current"))
			return dir + ".current"
		},
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) {
			fresh := tree(t, map[string]string{"a.yaml": "2"})
			must(t, os.Symlink(fresh, dir+".new"))
			must(t, os.Rename(dir+".new", dir))
		},
		after:    map[string]string{"a.yaml": "2"},
		pollOnly: true,
	},
}

func (sc scenario) setUp(t testing.TB) string {
	if sc.lay != nil {
		return sc.lay(t, sc.before)
	}
	return tree(t, sc.before)
}
