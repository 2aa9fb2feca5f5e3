package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
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
		after:  map[string]string{"b.yaml": "2"},
	}, {
		name:   "empty",
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) { must(t, os.Truncate(filepath.Join(dir, "a.yaml"), 0)) },
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
			outside := filepath.Join(t.TempDir(), "elsewhere")
			write(t, outside, "3")
			must(t, os.Symlink(outside, filepath.Join(dir, ".new")))
			must(t, os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, "a.yaml")))
		},
		after: map[string]string{"a.yaml": "3", "b.yaml": "2"},
	}, {
		name: "target of a link, in another directory",
		lay: func(t testing.TB, files map[string]string) string {
			dir := tree(t, nil)
			outside := filepath.Join(filepath.Dir(dir), "outside.txt")
			write(t, outside, files["a.yaml"])
			must(t, os.Symlink("../outside.txt", filepath.Join(dir, "a.yaml")))
			return dir
		},
		before: map[string]string{"a.yaml": "1"},
		change: func(t testing.TB, dir string) { write(t, filepath.Join(filepath.Dir(dir), "outside.txt"), "2") },
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

// After each change a second, plain one must be seen too: the watches are in place
// again.
func TestChangesAreSeenByEvents(t *testing.T) {
	for _, sc := range scenarios {
		if sc.pollOnly {
			continue
		}
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			dir := sc.setUp(t)
			deliveries := run(t, &Source{Dir: dir, Poll: time.Hour})
			if before := until(t, deliveries, sc.before); len(before) > 0 {
				t.Errorf("%d deliveries before the first content", len(before))
			}
			sc.change(t, dir)
			until(t, deliveries, sc.after)

			write(t, filepath.Join(dir, "second.yaml"), "second")
			want := map[string]string{"second.yaml": "second"}
			for name, content := range sc.after {
				want[name] = content
			}
			until(t, deliveries, want)
		})
	}
}

func TestChangesAreSeenByThePoll(t *testing.T) {
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			dir := sc.setUp(t)
			synctest.Test(t, func(t *testing.T) {
				deliveries := run(t, &Source{Dir: dir, newHinter: pollOnly})
				until(t, deliveries, sc.before)
				quiet(t, deliveries, 10*time.Second)
				start := time.Now()
				sc.change(t, dir)
				if before := until(t, deliveries, sc.after); len(before) > 0 {
					t.Errorf("%d deliveries between the two contents", len(before))
				}
				if took := time.Since(start); took > time.Second+lingerTime+settleTime {
					t.Errorf("seen after %v", took)
				}
				quiet(t, deliveries, 10*time.Second)
			})
		})
	}
}

func TestPollGoesOnWithoutFileEvents(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		deliveries := run(t, &Source{
			Dir: dir,
			Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
			newHinter: func(string, hclog.Logger) (hinter, error) {
				return nil, errors.New("too many open files")
			},
		})
		until(t, deliveries, map[string]string{"a.yaml": "1"})
		write(t, filepath.Join(dir, "a.yaml"), "2")
		until(t, deliveries, map[string]string{"a.yaml": "2"})
		if !strings.Contains(log.String(), "[WARN]  no file events; changes are seen by the poll") ||
			!strings.Contains(log.String(), "too many open files") {
			t.Errorf("log:\n%s", log.String())
		}
	})
}

func TestVanishedDirectoryIsAnErrorUntilItIsBack(t *testing.T) {
	content := map[string]string{"a.yaml": "1"}
	dir := tree(t, content)
	deliveries := run(t, &Source{Dir: dir, Poll: 50 * time.Millisecond})
	until(t, deliveries, content)

	must(t, os.RemoveAll(dir))
	s := next(t, deliveries)
	if !errors.Is(s.Err, fs.ErrNotExist) && !errors.Is(s.Err, ErrNoFiles) || !strings.Contains(s.Err.Error(), dir) {
		t.Fatalf("error %v, want that %s does not exist", s.Err, dir)
	}
	must(t, os.MkdirAll(dir, 0o700))
	write(t, filepath.Join(dir, "a.yaml"), "1")
	until(t, deliveries, content)
}

// The poll is off, so only a renewed watch can see the last change.
func TestWatchIsRenewedInARecreatedDirectory(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	deliveries := run(t, &Source{Dir: dir, Poll: time.Hour})
	until(t, deliveries, map[string]string{"a.yaml": "1"})
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o700))
	write(t, filepath.Join(dir, "a.yaml"), "2")
	until(t, deliveries, map[string]string{"a.yaml": "2"})
	write(t, filepath.Join(dir, "a.yaml"), "3")
	until(t, deliveries, map[string]string{"a.yaml": "3"})
}

func TestFaultsAreDeliveredBesideTheOtherFiles(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1", "b.yaml": "2"})
	synctest.Test(t, func(t *testing.T) {
		deliveries := run(t, &Source{Dir: dir, newHinter: pollOnly})
		until(t, deliveries, map[string]string{"a.yaml": "1", "b.yaml": "2"})
		must(t, os.Remove(filepath.Join(dir, "a.yaml")))
		must(t, os.Symlink("nowhere", filepath.Join(dir, "a.yaml")))
		s := next(t, deliveries)
		if len(s.Faults) != 1 || s.Faults[0].Name != "a.yaml" || !errors.Is(s.Faults[0].Err, fs.ErrNotExist) ||
			len(s.Files) != 1 || s.Err != nil {
			t.Fatalf("delivered files %v, faults %v, error %v", contents(s.Files), s.Faults, s.Err)
		}
		quiet(t, deliveries, 10*time.Second)
	})
}

// A writer that pauses for less than the settle time is never seen half-way.
func TestHalfWrittenFileIsNotDelivered(t *testing.T) {
	tests := []struct {
		name, half string
		pause      time.Duration
	}{
		{"truncated first", "", lingerTime - settleTime},
		{"written in two pieces", "service: fr", settleTime - time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"a.yaml": "old"})
			path := filepath.Join(dir, "a.yaml")
			synctest.Test(t, func(t *testing.T) {
				m := newManual()
				deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
				until(t, deliveries, map[string]string{"a.yaml": "old"})
				write(t, path, tt.half)
				m.hint()
				quiet(t, deliveries, tt.pause)
				write(t, path, "service: fraud")
				m.hint()
				start := time.Now()
				if before := until(t, deliveries, map[string]string{"a.yaml": "service: fraud"}); len(before) > 0 {
					t.Errorf("delivered %v first", contents(before[0].Files))
				}
				if took := time.Since(start); took > 2*settleTime {
					t.Errorf("delivered %v after the last write", took)
				}
			})
		})
	}
}

// The old file is away for a while, as with an editor on a slow disk.
func TestFileThatComesBackSoonIsNotMissed(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1", "b.yaml": "2"})
	path := filepath.Join(dir, "a.yaml")
	synctest.Test(t, func(t *testing.T) {
		m := newManual()
		deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
		until(t, deliveries, map[string]string{"a.yaml": "1", "b.yaml": "2"})
		must(t, os.Rename(path, path+"~"))
		m.hint()
		quiet(t, deliveries, lingerTime-settleTime)
		must(t, os.Rename(path+"~", path))
		m.hint()
		quiet(t, deliveries, 10*time.Second)
	})
}

func TestBurstIsDeliveredOnce(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "first"})
	synctest.Test(t, func(t *testing.T) {
		m := newManual()
		deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
		until(t, deliveries, map[string]string{"a.yaml": "first"})
		for i := range 100 {
			replace(t, filepath.Join(dir, "a.yaml"), fmt.Sprint(i))
			m.hint()
			quiet(t, deliveries, time.Millisecond)
		}
		if before := until(t, deliveries, map[string]string{"a.yaml": "99"}); len(before) > 0 {
			t.Errorf("%d deliveries before the last", len(before))
		}
	})
}

// The writes come as fast as the machine can; the last must be delivered by events.
func TestLastOfARealBurstIsDelivered(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "first"})
	deliveries := run(t, &Source{Dir: dir, Poll: time.Hour})
	until(t, deliveries, map[string]string{"a.yaml": "first"})
	for burst := range 20 {
		for i := range 100 {
			write(t, filepath.Join(dir, "a.yaml"), fmt.Sprintf("%03d", i))
		}
		last := fmt.Sprintf("%03d", 900+burst)
		write(t, filepath.Join(dir, "a.yaml"), last)
		if before := until(t, deliveries, map[string]string{"a.yaml": last}); len(before) > 20 {
			t.Errorf("burst %d of 100 writes: %d deliveries", burst, len(before))
		}
	}
}

func TestEndlessChangeIsSaid(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "first"})
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		m := newManual()
		deliveries := run(t, &Source{
			Dir: dir, newHinter: hintedBy(m), Log: hclog.New(&hclog.LoggerOptions{Output: &log}),
		})
		until(t, deliveries, map[string]string{"a.yaml": "first"})
		for i := range 1000 {
			replace(t, filepath.Join(dir, "a.yaml"), fmt.Sprint(i))
			m.hint()
			quiet(t, deliveries, 2*time.Millisecond)
		}
		until(t, deliveries, map[string]string{"a.yaml": "999"})
		if n := strings.Count(log.String(), "keep changing"); n != 1 {
			t.Errorf("said %d times, want once:\n%s", n, log.String())
		}
	})
}

func TestBusyNeighbourCostsLittle(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	synctest.Test(t, func(t *testing.T) {
		m := newManual()
		deliveries := run(t, &Source{Dir: dir, newHinter: hintedBy(m)})
		until(t, deliveries, map[string]string{"a.yaml": "1"})
		for range 5000 {
			m.hint()
			quiet(t, deliveries, 2*time.Millisecond)
		}
		synctest.Wait()
		if limit := 12 * (fruitlessHints + 1); m.renews > limit {
			t.Errorf("%d reads in 10 s, want at most %d", m.renews, limit)
		}
		write(t, filepath.Join(dir, "a.yaml"), "2")
		until(t, deliveries, map[string]string{"a.yaml": "2"})
	})
}

func TestReadWaitsUntilTheContentIsStill(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "half"})
	synctest.Test(t, func(t *testing.T) {
		got := make(chan Snapshot, 1)
		go func() { got <- (&Source{Dir: dir}).Read(t.Context()) }()
		quiet(t, got, settleTime-time.Millisecond)
		write(t, filepath.Join(dir, "a.yaml"), "whole")
		if s := <-got; contents(s.Files)["a.yaml"] != "whole" {
			t.Errorf("read %v", contents(s.Files))
		}
	})
}

func TestEventsOutsideTheDirectory(t *testing.T) {
	e := &fileEvents{dir: "policies", targets: map[string]bool{"/etc/shared/a.txt": true}}
	for path, want := range map[string]bool{
		"policies": true, "policies/a.yaml": true, "policies/..data": true,
		"/etc/shared/a.txt": true, "/etc/shared/b.txt": false, "/etc/shared": false,
	} {
		if got := e.counts(fsnotify.Event{Name: path}.Name); got != want {
			t.Errorf("counts(%q) = %v, want %v", path, got, want)
		}
	}
}

// BenchmarkSeen is the time from a save, in a directory of 1,000 old files, to the
// delivery of the new content.
func BenchmarkSeen(b *testing.B) {
	dir := manyFiles(b, 1000)
	old := time.Now().Add(racyAge)
	deliveries := make(chan Snapshot)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- (&Source{Dir: dir}).Run(ctx, func(s Snapshot) { deliveries <- s }) }()
	b.Cleanup(func() { cancel(); <-done })
	<-deliveries
	<-time.After(time.Until(old))

	path := filepath.Join(dir, "service-0500.yaml")
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		<-time.After(20 * time.Millisecond) // saves come one by one
		b.StartTimer()
		write(b, path, fmt.Sprintf("service: service-0500 # %d\n", i))
		for s := range deliveries {
			if strings.HasSuffix(string(s.Files[500].Data), fmt.Sprintf(" %d\n", i)) {
				break
			}
		}
	}
}
