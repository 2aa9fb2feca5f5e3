package watch

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// maxLinkedDirs bounds the directories outside the policy directory that are
// watched because links lead there. Changes in others are seen by the poll.
const maxLinkedDirs = 64

// hinter tells that something may have changed.
type hinter interface {
	// hints yields at least one value after each change that it sees.
	hints() <-chan struct{}
	// follow sets the links' targets to be watched besides the directory.
	follow(targets []string)
	// renew watches the directories that are there now, under the same names. It
	// reports whether one was not watched before, or may not have been all the time: what
	// happened there was not seen.
	renew() bool
	close() error
}

// fileEvents is the hinter over the operating system's file events.
type fileEvents struct {
	dir     string
	log     hclog.Logger
	watcher *fsnotify.Watcher
	out     chan struct{}
	drained chan struct{}

	// wanted are the directories to watch, watched the identity of each when it was
	// last watched, and failed those that could not be. Run's goroutine uses them.
	wanted  map[string]bool
	watched map[string]os.FileInfo
	failed  map[string]bool

	// mu guards targets, the paths outside dir whose events count.
	mu      sync.Mutex
	targets map[string]bool
}

func newFileEvents(dir string, log hclog.Logger) (hinter, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	e := &fileEvents{
		dir: filepath.Clean(dir), log: log, watcher: w,
		out: make(chan struct{}, 1), drained: make(chan struct{}),
		wanted: map[string]bool{filepath.Clean(dir): true}, watched: map[string]os.FileInfo{}, failed: map[string]bool{},
	}
	go e.drain()
	return e, nil
}

// drain turns the events into hints, at most one of them pending.
func (e *fileEvents) drain() {
	defer close(e.drained)
	events, errs := e.watcher.Events, e.watcher.Errors
	for events != nil || errs != nil {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if !e.counts(event.Name) {
				continue
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				e.log.Warn("file events failed; the poll goes on", "error", err)
			}
		}
		select {
		case e.out <- struct{}{}:
		default:
		}
	}
}

// counts reports whether an event of that path is a hint: all in the directory
// are, for links and renames have names of any kind; elsewhere only links' targets.
func (e *fileEvents) counts(path string) bool {
	if path == e.dir || filepath.Dir(path) == e.dir {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.targets[path]
}

func (e *fileEvents) hints() <-chan struct{} { return e.out }

func (e *fileEvents) follow(links []string) {
	e.wanted = map[string]bool{e.dir: true}
	targets := map[string]bool{}
	for _, path := range links {
		parent := filepath.Dir(path)
		if !e.wanted[parent] && len(e.wanted) > maxLinkedDirs {
			continue
		}
		e.wanted[parent] = true
		targets[path] = true
	}
	e.mu.Lock()
	e.targets = targets
	e.mu.Unlock()

	for dir := range e.watched {
		if !e.wanted[dir] {
			// The directory may be gone, and its watch with it.
			_ = e.watcher.Remove(dir)
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
	err := e.watcher.Add(dir)
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
	err := e.watcher.Close()
	<-e.drained
	return err
}
