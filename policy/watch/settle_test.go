package watch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// eventful runs a source that the test tells of events, and no poll, under synctest.
func eventful(t *testing.T, files map[string]string, test func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot)) {
	t.Helper()
	bubble(t, files, func(t *testing.T, dir string) {
		m := newManual()
		deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
		until(t, deliveries, files)
		test(t, dir, m, deliveries)
	})
}

// seen waits for a content and checks how long that takes.
func seen(t *testing.T, deliveries <-chan Snapshot, want map[string]string, atLeast, atMost time.Duration) {
	t.Helper()
	start := time.Now()
	if before := until(t, deliveries, want); len(before) > 0 {
		t.Errorf("delivered %v %v first", contents(before[0].Files), before[0].errors())
	}
	if took := time.Since(start); took < atLeast || took > atMost {
		t.Errorf("delivered after %v, want %v to %v", took, atLeast, atMost)
	}
}

const second = time.Second

func TestClosedFileIsTakenAtOnce(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "old\n", "b.yaml": "b\n"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		path := filepath.Join(dir, "a.yaml")
		// Open for a second at a time, emptied first.
		for _, half := range []string{"", "service: fr", "service: fraud\n"} {
			write(t, path, half)
			m.event("a.yaml", false)
			quiet(t, deliveries, second)
		}
		// Another file meanwhile is not kept waiting.
		write(t, filepath.Join(dir, "b.yaml"), "bb\n")
		m.event("b.yaml", true)
		seen(t, deliveries, map[string]string{"a.yaml": "old\n", "b.yaml": "bb\n"}, 0, 3*closedTime)

		write(t, path, "service: fraud\nall: of it\n")
		m.event("a.yaml", true)
		seen(t, deliveries, map[string]string{"a.yaml": "service: fraud\nall: of it\n", "b.yaml": "bb\n"}, 0, 3*closedTime)
	})
}

func TestFileThatStaysOpenIsTakenOnceItIsQuiet(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "old"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		write(t, filepath.Join(dir, "a.yaml"), "new")
		m.event("a.yaml", false)
		seen(t, deliveries, map[string]string{"a.yaml": "new"}, second, 2*second)
	})
}

// An event that says that a writer is done holds for that writer.
func TestCloseIsNoWordOnTheNextWriter(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "old"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		write(t, filepath.Join(dir, "a.yaml"), "1")
		m.event("a.yaml", true)
		seen(t, deliveries, map[string]string{"a.yaml": "1"}, 0, 3*closedTime)
		quiet(t, deliveries, 10*second)
		write(t, filepath.Join(dir, "a.yaml"), "2") // without an event, as through a mapping
		m.hint()
		seen(t, deliveries, map[string]string{"a.yaml": "2"}, second, 2*second)
	})
}

// A closed file that may have lost its end waits as if it were open.
func TestCutOffFile(t *testing.T) {
	const whole = "service: a\nupstream: http://a:8001\n---\nservice: b\nupstream: http://b:80\n"
	for at := range len(whole) {
		eventful(t, map[string]string{"a.yaml": whole}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
			path := filepath.Join(dir, "a.yaml")
			write(t, path, whole[:at])
			m.event("a.yaml", true)
			quiet(t, deliveries, second)
			write(t, path, whole)
			m.event("a.yaml", true)
			quiet(t, deliveries, 2*second)

			// For good: within a line it is a fault.
			write(t, path, whole[:at])
			m.event("a.yaml", true)
			s := next(t, deliveries)
			torn := at > 0 && whole[at-1] != '\n' && whole[at] != '\n'
			if torn != (len(s.Faults) == 1) || torn && !strings.Contains(s.Faults[0].Err.Error(), "a.yaml: cut off in the middle of a line") {
				t.Errorf("cut at %d: files %v, faults %v", at, contents(s.Files), s.Faults)
			}
			quiet(t, deliveries, 10*second)
			write(t, path, whole)
			m.event("a.yaml", true)
			until(t, deliveries, map[string]string{"a.yaml": whole})
		})
	}
}

func TestRemovedFileMayComeBackForASecond(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "1", "b.yaml": "2"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		path := filepath.Join(dir, "a.yaml")
		must(t, os.Rename(path, path+"~"))
		m.event("a.yaml", false)
		quiet(t, deliveries, second)
		must(t, os.Rename(path+"~", path))
		m.event("a.yaml", true)
		quiet(t, deliveries, 10*second)

		must(t, os.Remove(path))
		m.event("a.yaml", false)
		quiet(t, deliveries, second)
		write(t, path, "11")
		m.event("a.yaml", true)
		seen(t, deliveries, map[string]string{"a.yaml": "11", "b.yaml": "2"}, 0, 3*closedTime)

		must(t, os.Remove(path))
		m.event("a.yaml", false)
		seen(t, deliveries, map[string]string{"b.yaml": "2"}, second, 2*second)
	})
}

func TestDirectoryThatIsBackWithinASecondWasNeverAway(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "1"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		must(t, os.Rename(dir, dir+".away"))
		m.hint()
		quiet(t, deliveries, second)
		must(t, os.Rename(dir+".away", dir))
		m.hint()
		quiet(t, deliveries, 10*second)
	})
}

func TestBurstIsDeliveredOnce(t *testing.T) {
	eventful(t, map[string]string{"a.yaml": "first"}, func(t *testing.T, dir string, m *manual, deliveries <-chan Snapshot) {
		path := filepath.Join(dir, "a.yaml")
		for i := range 100 {
			replace(t, path, strings.Repeat("x", i+1))
			m.event("a.yaml", true)
			quiet(t, deliveries, time.Millisecond)
		}
		seen(t, deliveries, map[string]string{"a.yaml": strings.Repeat("x", 100)}, 0, 3*closedTime)
	})
}

// What is Changed or Gone is delivered again when it is so no more, if that is asked for.
func TestDeliveredAgainWhileItHolds(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1", "b.yaml": "2", "c.yaml": "3"})
	synctest.Test(t, func(t *testing.T) {
		m := newManual()
		deliveries := make(chan Snapshot, 10)
		source := &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)}
		ended := make(chan error, 1)
		go func() {
			ended <- source.Run(t.Context(), func(s Snapshot) bool { deliveries <- s; return len(s.Files) == 3 && s.Files[1].Changed })
		}()
		t.Cleanup(func() { must(t, <-ended) })
		next(t, deliveries)
		for _, f := range next(t, deliveries).Files {
			if f.Changed || f.Gone {
				t.Errorf("%s is still Changed or Gone", f.Name)
			}
		}
		quiet(t, deliveries, 10*second)

		must(t, os.Remove(filepath.Join(dir, "a.yaml")))
		write(t, filepath.Join(dir, "b.yaml"), "22")
		m.event("b.yaml", true)
		s := next(t, deliveries)
		if len(s.Files) != 3 || !s.Files[0].Gone || string(s.Files[0].Data) != "1" || !s.Files[1].Changed || s.Files[2].Changed || s.Files[2].Gone {
			t.Errorf("delivered %+v", s.Files)
		}
		if s := next(t, deliveries); len(s.Files) != 2 || s.Files[0].Changed {
			t.Errorf("then %+v", s.Files)
		}
		quiet(t, deliveries, 10*second)
	})
}

func TestReadWaitsUntilTheContentIsStill(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "half"})
	synctest.Test(t, func(t *testing.T) {
		got := make(chan Snapshot, 1)
		go func() { got <- (&Source{Dir: dir}).Read(t.Context(), nil) }()
		quiet(t, got, closedTime-time.Millisecond)
		write(t, filepath.Join(dir, "a.yaml"), "whole")
		if s := <-got; contents(s.Files)["a.yaml"] != "whole" {
			t.Errorf("read %v", contents(s.Files))
		}
	})
}

// A start in the middle of a write goes on with what was stored, and takes what is written once it is whole.
func TestStartInTheMiddleOfAWrite(t *testing.T) {
	stored := []policy.File{{Name: "a.yaml", Data: []byte("old")}, {Name: "b.yaml", Data: []byte("b")}}
	dir := tree(t, map[string]string{"a.yaml": "h"})
	synctest.Test(t, func(t *testing.T) {
		source := &Source{Dir: dir, newHinter: pollOnly}
		got := make(chan Snapshot, 1)
		go func() { got <- source.Read(t.Context(), stored) }()
		quiet(t, got, second)
		write(t, filepath.Join(dir, "a.yaml"), "ha")
		s := next(t, got)
		if c := contents(s.Files); c["a.yaml"] != "old" {
			t.Errorf("read %v", c)
		}
		deliveries := run(t, source)
		if c := contents(next(t, deliveries).Files); c["a.yaml"] != "old" || c["b.yaml"] != "b" {
			t.Errorf("delivered %v first", c)
		}
		write(t, filepath.Join(dir, "a.yaml"), "half")
		write(t, filepath.Join(dir, "a.yaml"), "all")
		write(t, filepath.Join(dir, "b.yaml"), "b")
		until(t, deliveries, map[string]string{"a.yaml": "all", "b.yaml": "b"})
	})
}

// What a file has lost since it was stored may be in one that is being written: it goes only once that is settled, however
// old the file is.
func TestStartWhileAServiceMoves(t *testing.T) {
	st := newSettler("", []policy.File{{Name: "a.yaml", Data: []byte("a\nb\n")}, {Name: "c.yaml", Data: []byte("c\n")}, {Name: "d.yaml", Data: []byte("d\n")}})
	now := time.Now()
	raw := Snapshot{Files: []policy.File{{Name: "a.yaml", Data: []byte("a\n")}, {Name: "c.yaml", Data: []byte("c\nb")}, {Name: "d.yaml", Data: []byte("d\n")}}}
	st.look(raw, now, func(name string) time.Duration {
		if name == "c.yaml" {
			return 0
		}
		return time.Hour
	})
	out, until := st.snapshot(now)
	if c := contents(out.Files); c["a.yaml"] != "a\n" || c["c.yaml"] != "c\n" {
		t.Errorf("handed on: %v", c)
	}
	for _, f := range out.Files {
		if want := f.Name == "a.yaml"; f.Changed != want {
			t.Errorf("%s is changed: %t", f.Name, f.Changed)
		}
	}
	if want := now.Add(patience); !until.Equal(want) {
		t.Errorf("until %s, want %s", until, want)
	}
}
