package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// watchedEvents are all that tells of a change of a directory's entries or of their content. The close of a file that
// was open for writing is what fsnotify does not give.
const watchedEvents = unix.IN_CLOSE_WRITE | unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// inotify is the notifier of Linux.
type inotify struct {
	note  func(path string, c change)
	log   hclog.Logger
	file  *os.File
	conn  syscall.RawConn
	ended chan struct{}

	// mu guards the following, and the order of the events.
	mu  sync.Mutex
	buf [64 << 10]byte
	// paths are the directories by watch: one directory may have several.
	paths map[int]map[string]bool
}

func newNotifier(note func(string, change), log hclog.Logger) (notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	n := &inotify{
		note: note, log: log, file: os.NewFile(uintptr(fd), "inotify"),
		ended: make(chan struct{}), paths: map[int]map[string]bool{},
	}
	if n.conn, err = n.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, n.file.Close())
	}
	go func() {
		defer close(n.ended)
		// It ends when the file is closed.
		for n.conn.Read(func(fd uintptr) bool { return n.take(int(fd)) }) == nil {
		}
	}()
	return n, nil
}

// take notes the events that are there, and reports whether there were any.
func (n *inotify) take(fd int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	some := false
	for {
		size, err := unix.Read(fd, n.buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || size <= 0 {
			if err != nil && !errors.Is(err, unix.EAGAIN) {
				n.log.Warn("cannot read file events; changes are seen by the poll", "error", err)
			}
			return some
		}
		some = true
		n.parse(n.buf[:size])
	}
}

// parse notes the events of a read. The caller must hold n.mu.
func (n *inotify) parse(data []byte) {
	for len(data) >= unix.SizeofInotifyEvent {
		wd, mask := int(int32(binary.NativeEndian.Uint32(data))), binary.NativeEndian.Uint32(data[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(data[12:]))
		name, _, _ := bytes.Cut(data[unix.SizeofInotifyEvent:end], []byte{0})
		data = data[end:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			n.note("", overflow)
			continue
		}
		for dir := range n.paths[wd] {
			path := filepath.Join(dir, string(name))
			n.note(path, changeOf(mask, path))
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(n.paths, wd)
		}
	}
}

func changeOf(mask uint32, path string) change {
	switch {
	case mask&(unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO) != 0:
		return finished
	case mask&unix.IN_CREATE != 0:
		// A link is whole at once, and nobody closes it.
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return finished
		}
		return begun
	case mask&unix.IN_MODIFY != 0:
		return begun
	}
	return touched
}

func (n *inotify) add(dir string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var wd int
	var err error
	if ctlErr := n.conn.Control(func(fd uintptr) { wd, err = unix.InotifyAddWatch(int(fd), dir, watchedEvents) }); ctlErr != nil {
		return ctlErr
	}
	if err != nil {
		return fmt.Errorf("inotify_add_watch: %w", &fs.PathError{Op: "watch", Path: dir, Err: err})
	}
	if !n.paths[wd][dir] {
		n.removeLocked(dir)
		if n.paths[wd] == nil {
			n.paths[wd] = map[string]bool{}
		}
		n.paths[wd][dir] = true
	}
	return nil
}

func (n *inotify) remove(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.removeLocked(dir)
}

func (n *inotify) removeLocked(dir string) {
	for wd, paths := range n.paths {
		if !paths[dir] {
			continue
		}
		if delete(paths, dir); len(paths) > 0 {
			continue
		}
		delete(n.paths, wd)
		// The directory may be gone, and its watch with it.
		_ = n.conn.Control(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
	}
}

func (n *inotify) drain() { _ = n.conn.Control(func(fd uintptr) { n.take(int(fd)) }) }

func (n *inotify) close() error {
	err := n.file.Close()
	<-n.ended
	return err
}
