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

	"github.com/hashicorp/go-hclog"
)

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
			start := time.Now()
			sc.change(t, dir)
			until(t, deliveries, sc.after)
			if took := time.Since(start); took > time.Second && !sc.still {
				t.Errorf("seen after %v: not as soon as it was closed or moved there", took)
			}

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
				if took := time.Since(start); took > 2*time.Second {
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

// changing is a hinter of which the first watch is in place only just before a change.
type changing struct {
	hinter
	change func()
}

func (c *changing) renew() bool {
	if c.change != nil {
		c.change()
		c.change = nil
	}
	return c.hinter.renew()
}

// The watch is there before the first read, for a change between them would be seen by neither.
func TestNoChangeIsMissedBeforeTheFirstWatch(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	synctest.Test(t, func(t *testing.T) {
		m := &changing{hinter: newManual(), change: func() { write(t, filepath.Join(dir, "a.yaml"), "2") }}
		deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
		if s := next(t, deliveries); len(s.Files) != 1 || string(s.Files[0].Data) != "2" {
			t.Errorf("the first delivery is %v, want what there was once the watch was in place", contents(s.Files))
		}
	})
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
		for i := range 7 {
			replace(t, filepath.Join(dir, "a.yaml"), fmt.Sprint(i))
			m.hint()
			quiet(t, deliveries, time.Second)
		}
		until(t, deliveries, map[string]string{"a.yaml": "6"})
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
		if limit := 14 * (fruitlessHints + int(time.Second/restTime) + 1); m.renews > limit {
			t.Errorf("%d reads in 10 s, want at most %d", m.renews, limit)
		}
		write(t, filepath.Join(dir, "a.yaml"), "2")
		until(t, deliveries, map[string]string{"a.yaml": "2"})
	})
}

// Hints that come late, from a burst whose last write is still to come, do not put off
// that write to the next poll.
func TestLateHintsOfABurst(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	synctest.Test(t, func(t *testing.T) {
		m := newManual()
		deliveries := run(t, &Source{Dir: dir, Poll: time.Hour, newHinter: hintedBy(m)})
		until(t, deliveries, map[string]string{"a.yaml": "1"})
		for range 2 * fruitlessHints {
			m.hint()
			synctest.Wait()
		}
		write(t, filepath.Join(dir, "a.yaml"), "2")
		m.event("a.yaml", true)
		begin := time.Now()
		until(t, deliveries, map[string]string{"a.yaml": "2"})
		if took := time.Since(begin); took > 2*restTime+10*closedTime {
			t.Errorf("seen after %s", took)
		}
	})
}

// BenchmarkSeen is the time from a save, in a directory of 1,000 old files, to the
// delivery of the new content.
func BenchmarkSeen(b *testing.B) {
	dir := manyFiles(b, 1000)
	old := time.Now().Add(racyAge)
	deliveries := make(chan Snapshot)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- (&Source{Dir: dir}).Run(ctx, func(s Snapshot) bool { deliveries <- s; return false }) }()
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
