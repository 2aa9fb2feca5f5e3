package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNothingIsLostWhileFilesAreWritten: whatever a writer does within a second, every service is in every set that is
// applied, nobody is told of a fault, and what was meant is in force at the end. Without file events, that is the harder case.
func TestNothingIsLostWhileFilesAreWritten(t *testing.T) {
	const pause = time.Second
	before := good("a", "8001") + "---\n" + good("b", "8002") + "---\n" + good("c", "8003")
	after := good("a", "9001") + "---\n" + good("b", "9002") + "---\n" + good("c", "9003")
	type writer struct {
		name  string
		write func(t *testing.T, path string)
		want  string
	}
	const edited = "a=9001 b=9002 c=9003 d=8004"
	writers := []writer{
		{"unlinked and created", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			<-time.After(pause)
			write(t, path, after)
		}, edited},
		{"moved away and back", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"~"))
			<-time.After(pause)
			must(t, os.Rename(path+"~", path))
			<-time.After(5 * time.Second)
			replace(t, path, after)
		}, edited},
		{"renamed", func(t *testing.T, path string) {
			write(t, path, after)
			<-time.After(5 * time.Second)
			must(t, os.Rename(path, filepath.Join(filepath.Dir(path), "renamed.yaml")))
		}, edited},
		{"moved to the other file, saved first there", func(t *testing.T, path string) {
			write(t, filepath.Join(filepath.Dir(path), "other.yaml"), good("d", "8004")+"---\n"+after)
			must(t, os.Remove(path))
		}, edited},
		{"moved to the other file, saved first here", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			<-time.After(pause)
			write(t, filepath.Join(filepath.Dir(path), "other.yaml"), good("d", "8004")+"---\n"+after)
		}, edited},
		{"directory moved away and back", func(t *testing.T, path string) {
			dir := filepath.Dir(path)
			must(t, os.Rename(dir, dir+"~"))
			<-time.After(pause)
			must(t, os.Rename(dir+"~", dir))
			replace(t, path, after)
		}, edited},
		{"overwritten without being emptied", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			for i := 0; i < len(after); i += 10 {
				_, err = f.WriteAt([]byte(after[i:min(i+10, len(after))]), int64(i))
				must(t, err)
				<-time.After(pause)
			}
			must(t, f.Close())
		}, edited},
	}
	for at := range len(after) {
		writers = append(writers, writer{"torn at " + after[:at], func(t *testing.T, path string) {
			write(t, path, after[:at])
			<-time.After(pause)
			write(t, path, after)
		}, edited})
	}
	for _, w := range writers {
		bubble(t, map[string]string{"abc.yaml": before, "other.yaml": good("d", "8004")}, func(t *testing.T, dir string) {
			h := newHarness(t, dir, nil)
			h.start(t)
			w.write(t, filepath.Join(dir, "abc.yaml"))
			<-time.After(5 * time.Second)
			wantServed(t, h, w.want)
			for _, set := range h.applied {
				if len(set.Services) != 4 {
					t.Errorf("%q: %d services at one time; log:\n%s", w.name, len(set.Services), h.log.String())
				}
			}
			if s := h.Status(); !s.OK || strings.Contains(h.log.String(), "[ERROR]") {
				t.Errorf("%q: status %+v; log:\n%s", w.name, s, h.log.String())
			}
		})
	}
}
