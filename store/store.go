// Package store keeps what must outlive the process: the generations of the
// clusters and hosts that were reset, and the last good policy files of one policies
// directory. Each is one JSON document in a state directory.
//
// It is not a database: a document is small, is read once at start and is
// replaced as a whole. Its one invariant: a document on disk is either the one
// that was saved last or the one before it, never a part of either. A document can
// have a journal, for what is not to be lost until the next save.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/go-hclog"
)

const (
	extension = ".json"
	dirPerm   = 0o700
	filePerm  = 0o600
)

// ErrClosed is returned by every use of a Dir after Close.
var ErrClosed = errors.New("the state store is closed")

var nameRE = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Dir is a state directory that this process alone writes, or a store in memory.
// All methods may be called from several goroutines.
type Dir struct {
	path string // empty: in memory
	log  hclog.Logger
	lock *os.File // nil in memory

	closed atomic.Bool
	// mu guards memory, and orders all access to the documents.
	mu     sync.Mutex
	memory map[string][]byte
	// savingsMu guards savings, by name of the document. It is not mu, which a slow disk holds up, and comes after it.
	savingsMu sync.Mutex
	savings   map[string]*saving
	// journaling guards journals, those that are open by the name of their document, and orders all access to their
	// files. It is not mu: an append is not to wait for a save.
	journaling sync.Mutex
	journals   map[string]*os.File
	// remembered are the journals in memory, by extension and name.
	remembered map[string][]byte
}

// Open takes the state directory dir for this process, creating it with mode
// 0700 if it is not there. It fails with ErrLocked if another process has it, and not
// because the directory is full or read-only: then what is saved is a Fault. If dir is empty the store is in memory and is lost with the process. A nil log
// logs nothing.
func Open(dir string, log hclog.Logger) (*Dir, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	d := &Dir{path: dir, log: log, memory: map[string][]byte{}, savings: map[string]*saving{}, journals: map[string]*os.File{}, remembered: map[string][]byte{}}
	if dir == "" {
		return d, nil
	}
	if err := os.MkdirAll(dir, dirPerm); err != nil {
		return nil, fmt.Errorf("create the state directory: %w", err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	d.lock = lock
	d.removeUnfinished()
	return d, nil
}

// Close tries once more to save what could not be saved, and gives the directory up to other processes. Closing twice is
// fine.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.journaling.Lock()
	defer d.journaling.Unlock()
	d.retry()
	if d.closed.Swap(true) {
		return nil
	}
	var errs []error
	for name := range d.journals {
		errs = append(errs, d.closeJournal(name))
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// Path is the state directory; empty if the store is in memory.
func (d *Dir) Path() string { return d.path }

// Load decodes the document of that name into v, which must be a pointer. found
// is false if it was never saved. A document that can't be decoded is set aside as
// NAME.json.corrupt-N beside it and reported as a *CorruptError with found false, as is
// what is in its place and no regular file: the caller logs it and goes on without, and must not use v.
func (d *Dir) Load(name string, v any) (found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(name); err != nil {
		return false, err
	}
	data, err := d.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if errors.Is(err, errNotRegular) {
		return false, d.setAside(name, err)
	}
	if err != nil {
		return false, fmt.Errorf("load state %q: %w", name, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, d.setAside(name, err)
	}
	return true, nil
}

// Save replaces the document of that name by the JSON of v. When it returns nil
// the document survives a crash of the machine; when it fails the former one is
// still there, and v is a Fault that is saved as soon as that works.
func (d *Dir) Save(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("save state %q: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	if d.path == "" {
		d.memory[name] = data
		return nil
	}
	return d.saved(name, data, d.write(name, data))
}

// write replaces the file of a document. The caller must hold d.mu.
func (d *Dir) write(name string, data []byte) error {
	err := makeRoom(d.file(name))
	if err == nil {
		err = renameio.WriteFile(d.file(name), append(slices.Clip(data), '\n'), filePerm,
			renameio.WithTempDir(d.path), renameio.WithStaticPermissions(filePerm))
	}
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("save state %q: %w", name, err)
	}
	return nil
}

// CorruptError says that a document could not be decoded.
type CorruptError struct {
	// Path of the document, and Aside where it is now; Aside is empty if it could
	// not be moved. Both are empty for a store in memory.
	Path, Aside string
	Err         error
}

func (e *CorruptError) Error() string {
	if e.Aside == "" {
		return fmt.Sprintf("state %s is corrupt: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("state %s is corrupt and was set aside as %s: %v", e.Path, filepath.Base(e.Aside), e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// setAside moves a corrupt document out of the way. The caller must hold d.mu.
func (d *Dir) setAside(name string, cause error) error {
	if d.path == "" {
		delete(d.memory, name)
		return &CorruptError{Err: cause}
	}
	return setFileAside(d.file(name), cause)
}

// setFileAside moves a corrupt file out of the way, and says so.
func setFileAside(path string, cause error) error {
	e := &CorruptError{Path: path, Err: cause}
	for n := 1; ; n++ {
		aside := fmt.Sprintf("%s.corrupt-%d", e.Path, n)
		switch _, err := os.Lstat(aside); {
		case err == nil:
			continue
		case !errors.Is(err, fs.ErrNotExist):
			e.Err = errors.Join(cause, err)
			return e
		}
		if err := os.Rename(e.Path, aside); err != nil {
			e.Err = errors.Join(cause, err)
			return e
		}
		e.Aside = aside
		return e
	}
}

// usable checks the name and that the store is open. The caller must hold d.mu or d.journaling.
func (d *Dir) usable(name string) error {
	if !nameRE.MatchString(name) {
		return fmt.Errorf("state name %q is not lower-case letters, digits and single dashes", name)
	}
	if d.closed.Load() {
		return ErrClosed
	}
	return nil
}

// read returns the bytes of a document, or fs.ErrNotExist. The caller must hold d.mu.
func (d *Dir) read(name string) ([]byte, error) {
	if d.path != "" {
		return readRegular(d.file(name))
	}
	data, ok := d.memory[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name+extension) }

// removeUnfinished removes what a Save that was killed has left behind, if it can.
func (d *Dir) removeUnfinished() {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		d.log.Warn("cannot read the state directory", "error", err)
	}
	for _, e := range entries {
		if !unfinished(e.Name()) {
			continue
		}
		if err := os.Remove(filepath.Join(d.path, e.Name())); err != nil {
			d.log.Warn("cannot remove an unfinished state file", "error", err)
			continue
		}
		d.log.Debug("removed an unfinished state file", "name", e.Name())
	}
}

// unfinished reports whether name is one that renameio gives to a temporary file:
// a dot, the document's file name and a number.
func unfinished(name string) bool {
	doc, number, ok := strings.Cut(strings.TrimPrefix(name, "."), extension)
	return ok && strings.HasPrefix(name, ".") && nameRE.MatchString(doc) &&
		number != "" && strings.Trim(number, "0123456789") == ""
}

// syncDir makes a rename in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
