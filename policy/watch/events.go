package watch

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/policy"
)

// maxLinkedDirs bounds the directories outside the policy directory that are
// watched because links lead there. Changes in others are seen by the poll.
const maxLinkedDirs = 64

// begunTime is how long after the first event of a writer the file is looked at.
const begunTime = 100 * time.Millisecond

// hinter tells that something may have changed.
type hinter interface {
	// hints yields at least one value after each change that it sees.
	hints() <-chan struct{}
	// marks returns the policy files with events since the last call: true where the last event says that a writer is
	// done, false where one may be at work. lost: events were lost, so that no earlier mark holds.
	marks() (files map[string]bool, lost bool)
	// follow sets the names of the links to be watched by their targets, besides the directory.
	follow(links map[string][]string)
	// renew watches the directories that are there now, under the same names. It
	// reports whether one was not watched before, or may not have been all the time: what
	// happened there was not seen.
	renew() bool
	close() error
}

// notifier is the operating system's part of the file events. It calls note for each of them.
type notifier interface {
	add(dir string) error
	remove(dir string)
	// drain notes the events that are there already.
	drain()
	close() error
}

// change is what an event says of a path.
type change int

const (
	touched  change = iota // nothing that concerns its content
	begun                  // a writer may be at work
	finished               // a writer is done
	overflow               // events were lost; the path is empty
)

// fileEvents is the hinter over the operating system's file events.
type fileEvents struct {
	dir string // absolute
	log hclog.Logger
	os  notifier
	out chan struct{}

	// wanted are the directories to watch, watched the identity of each when it was
	// last watched, and failed those that could not be. Run's goroutine uses them.
	wanted  map[string]bool
	watched map[string]os.FileInfo
	failed  map[string]bool

	// mu guards the following.
	mu sync.Mutex
	// targets are the names of the links by the path that they lead to, and links all of them.
	targets map[string][]string
	links   []string
	marked  map[string]bool
	lost    bool
	// soon is true while the timer runs to a hint.
	soon  bool
	timer *time.Timer
}

func newFileEvents(dir string, log hclog.Logger) (hinter, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e := &fileEvents{
		dir: dir, log: log, out: make(chan struct{}, 1), marked: map[string]bool{},
		wanted: map[string]bool{dir: true}, watched: map[string]os.FileInfo{}, failed: map[string]bool{},
	}
	e.timer = time.AfterFunc(time.Hour, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.soon = false
		e.hint()
	})
	if e.os, err = newNotifier(e.note, log); err != nil {
		e.timer.Stop()
		return nil, err
	}
	return e, nil
}

// note takes in one event. In the directory all are hints, for links and renames have names of any kind; elsewhere only
// those of links' targets.
func (e *fileEvents) note(path string, c change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	names, inside := e.targets[path], filepath.Dir(path) == e.dir
	switch name := filepath.Base(path); {
	case c == overflow:
		e.lost = true
		clear(e.marked)
	case inside && policy.IsFileName(name):
		names = append(slices.Clone(names), name)
	case inside && c == finished:
		// Something that links lead through, such as a ConfigMap's ..data.
		names = e.links
	case !inside && path != e.dir && len(names) == 0:
		return
	}
	if c == begun || c == finished {
		for _, name := range names {
			e.marked[name] = c == finished
		}
	}
	if c == begun {
		// There is no hurry: it is not whole yet.
		if !e.soon {
			e.soon = true
			e.timer.Reset(begunTime)
		}
		return
	}
	e.hint()
}

func (e *fileEvents) hint() {
	select {
	case e.out <- struct{}{}:
	default:
	}
}

func (e *fileEvents) hints() <-chan struct{} { return e.out }

func (e *fileEvents) marks() (files map[string]bool, lost bool) {
	e.os.drain()
	e.mu.Lock()
	defer e.mu.Unlock()
	files, lost = e.marked, e.lost
	e.marked, e.lost = map[string]bool{}, false
	return files, lost
}

func (e *fileEvents) follow(links map[string][]string) {
	e.wanted = map[string]bool{e.dir: true}
	targets := map[string][]string{}
	var all []string
	for _, path := range slices.Sorted(maps.Keys(links)) {
		all = append(all, links[path]...)
		parent := filepath.Dir(path)
		if !e.wanted[parent] && len(e.wanted) > maxLinkedDirs {
			continue
		}
		e.wanted[parent] = true
		targets[path] = links[path]
	}
	e.mu.Lock()
	e.targets, e.links = targets, all
	e.mu.Unlock()

	for dir := range e.watched {
		if !e.wanted[dir] {
			e.os.remove(dir)
			delete(e.watched, dir)
		}
	}
	maps.DeleteFunc(e.failed, func(dir string, _ bool) bool { return !e.wanted[dir] })
}

func (e *fileEvents) renew() bool {
	fresh := false
	for dir := range e.wanted {
		if e.add(dir) {
			fresh = true
		}
	}
	return fresh
}

// add watches a directory, and reports whether it is another one than before, or its
// entries have changed since: a new directory can have the identity of the one that was
// removed. Adding the same one again changes nothing, and is how a watch that the kernel
// dropped comes back.
func (e *fileEvents) add(dir string) bool {
	err := e.os.add(dir)
	var info os.FileInfo
	if err == nil {
		info, err = os.Stat(dir)
	}
	if err != nil {
		delete(e.watched, dir)
		if !e.failed[dir] && !errors.Is(err, os.ErrNotExist) {
			e.failed[dir] = true
			e.log.Warn("no file events; changes are seen by the poll", "dir", dir, "error", err)
		}
		return false
	}
	delete(e.failed, dir)
	before := e.watched[dir]
	e.watched[dir] = info
	return before == nil || !os.SameFile(before, info) || !before.ModTime().Equal(info.ModTime())
}

func (e *fileEvents) close() error {
	defer e.timer.Stop()
	return e.os.close()
}
