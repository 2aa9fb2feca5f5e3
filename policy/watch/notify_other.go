//go:build !linux

package watch

import (
	"errors"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// otherEvents is the notifier of other systems. None of its events says that a writer is done, so what changes is taken
// once it has been still for quietTime.
type otherEvents struct {
	watcher *fsnotify.Watcher
	ended   chan struct{}
}

func newNotifier(note func(string, change), log hclog.Logger) (notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	n := &otherEvents{watcher: w, ended: make(chan struct{})}
	go func() {
		defer close(n.ended)
		for events, errs := w.Events, w.Errors; events != nil || errs != nil; {
			select {
			case event, ok := <-events:
				if !ok {
					events = nil
					continue
				}
				note(event.Name, begun)
			case err, ok := <-errs:
				if !ok {
					errs = nil
					continue
				}
				if !errors.Is(err, fsnotify.ErrEventOverflow) {
					log.Warn("file events failed; the poll goes on", "error", err)
				}
				note("", overflow)
			}
		}
	}()
	return n, nil
}

func (n *otherEvents) add(dir string) error { return n.watcher.Add(dir) }

// remove may find the directory gone, and its watch with it.
func (n *otherEvents) remove(dir string) { _ = n.watcher.Remove(dir) }

func (n *otherEvents) drain() {}

func (n *otherEvents) close() error {
	err := n.watcher.Close()
	<-n.ended
	return err
}
