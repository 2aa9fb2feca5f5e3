// Package store keeps what must outlive the process: overrides, open breakers, events, generations, the list of the
// proxies and the last good policies. All of it is one bbolt file, state.db, in a state directory.
//
// It is not a database: a document is small, is read once at start and is replaced as a whole, in one transaction. Its
// one invariant: a document in the file is either the one that was saved last or the one before it, never a part of
// either. All documents are in memory too, so that a file that is removed or damaged is made anew from there. A document
// can have a journal beside the file, for what is not to be lost until the next save.
package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

const (
	// FileName is that of the file in the state directory.
	FileName = "state.db"

	dirPerm  = 0o700
	filePerm = 0o600
)

var (
	// ErrClosed is returned by every use of a Dir after Close.
	ErrClosed = errors.New("the state store is closed")
	// ErrLocked means that another process uses the state directory.
	ErrLocked = errors.New("already running")
)

var nameRE = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// contents of a document by key: those of its bucket.
type contents map[string][]byte

// valueKey is the only key of a document that is one value. Those of a log are numbers.
const valueKey = "value"

// Dir is a state directory that this process alone writes, or a store in memory.
// All methods may be called from several goroutines.
type Dir struct {
	path string // empty: in memory
	log  hclog.Logger

	closed atomic.Bool
	// mu guards what follows, and orders all access to the file.
	mu sync.Mutex
	// documents by name: those that are saved, and those that could not be.
	documents map[string]contents
	// file is nil if there is none that can be written.
	file *file
	// reading is the file while it can only be read; nil otherwise. claim is then the lock of the directory.
	reading *file
	claim   *os.File
	// imported are the files of the version before the file that are to be removed, for it has what they had.
	imported []string

	// savingsMu guards savings, by name of the document, and corrupt. It is not mu, which a slow disk holds up, and comes
	// after it.
	savingsMu sync.Mutex
	savings   map[string]*saving
	corrupt   []Fault
	// journaling guards journals, those that are open by the name of their document, and orders all access to their
	// files. It is not mu: an append is not to wait for a save.
	journaling sync.Mutex
	journals   map[string]*os.File
	// remembered are the journals in memory, by extension and name.
	remembered map[string][]byte
}

// Open takes the state directory dir for this process, creating it with mode 0700 if it is not there, and loads its
// documents. It fails with ErrLocked if another process has it, and not because the directory is full or read-only: then
// what is saved is a Fault. A file that is corrupt is set aside with an error in the log and a Fault; what can be read of
// it is saved in a new one. If dir is empty the store is in memory and is lost with the process. A nil log logs nothing.
func Open(dir string, log hclog.Logger) (*Dir, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	d := &Dir{path: dir, log: log, documents: map[string]contents{}, savings: map[string]*saving{}, journals: map[string]*os.File{}, remembered: map[string][]byte{}}
	if dir == "" {
		return d, nil
	}
	if err := os.MkdirAll(dir, dirPerm); err != nil {
		return nil, fmt.Errorf("cannot create the state directory: %w", err)
	}
	if err := d.load(); err != nil {
		return nil, errors.Join(err, d.closeFiles())
	}
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
	return errors.Join(append(errs, d.closeFiles())...)
}

// Path is the state directory; empty if the store is in memory.
func (d *Dir) Path() string { return d.path }

// Load decodes the document of that name into v, which must be a pointer. found is false if it was never saved. A document
// that cannot be decoded is set aside as NAME.corrupt-N in the state directory and reported as a *CorruptError with found
// false: the caller logs it and goes on without, and must not use v.
func (d *Dir) Load(name string, v any) (found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(name); err != nil {
		return false, err
	}
	data, found := d.documents[name][valueKey]
	if !found {
		return false, nil
	}
	if err := json.Unmarshal(data, v); err != nil {
		delete(d.documents, name)
		return false, d.setAside(name, data, err)
	}
	return true, nil
}

// Save replaces the document of that name by the JSON of v. When it returns nil
// the document survives a crash of the machine; when it fails the former one is
// still in the file, and v is a Fault that is saved as soon as that works.
func (d *Dir) Save(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot save state %q: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.save(name, contents{valueKey: data})
}

// Entry is one value of a log.
type Entry struct {
	// ID orders the entries.
	ID    uint64
	Value any
}

// key is that of an entry with an id, in the order of the ids.
func key(id uint64) string { return fmt.Sprintf("%020d", id) }

// LoadLog gives the values of the log of that name, from the oldest to the newest. Those that take returns an error for are
// set aside as the documents of Load are, and reported as one *CorruptError.
func (d *Dir) LoadLog(name string, take func(value []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	log := d.documents[name]
	var bad []byte
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(log)) {
		if err := take(log[key]); err != nil {
			errs = append(errs, err)
			bad = append(append(bad, log[key]...), '\n')
			delete(log, key)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	cause := errs[0]
	if n := len(errs) - 1; n > 0 {
		cause = fmt.Errorf("%w, and %d more", cause, n)
	}
	return d.setAside(name, bad, cause)
}

// SaveLog makes the log of that name consist of those entries. It is Save otherwise, and writes only the
// entries that are new or have changed.
func (d *Dir) SaveLog(name string, entries []Entry) error {
	log := make(contents, len(entries))
	for _, e := range entries {
		data, err := json.Marshal(e.Value)
		if err != nil {
			return fmt.Errorf("cannot save state %q: %w", name, err)
		}
		log[key(e.ID)] = data
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.save(name, log)
}

// save replaces a document, and returns why it could not be saved. The caller must hold d.mu.
func (d *Dir) save(name string, c contents) error {
	if err := d.usable(name); err != nil {
		return err
	}
	d.documents[name] = c
	if d.path == "" {
		return nil
	}
	return d.saved(name, d.write(name))
}

// CorruptError says that a document or the file could not be read.
type CorruptError struct {
	// Path of what is corrupt, and Aside where it is now; Aside is empty if it could
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

// setAside keeps what is corrupt of a document in a file of its own. The caller must hold d.mu.
func (d *Dir) setAside(name string, data []byte, cause error) error {
	e := &CorruptError{Path: name, Err: cause}
	if d.path != "" {
		e.Path = filepath.Join(d.path, FileName) + ": " + name
		if aside, err := freeName(filepath.Join(d.path, name)); err != nil {
			e.Err = errors.Join(cause, err)
		} else if err := os.WriteFile(aside, data, filePerm); err != nil {
			e.Err = errors.Join(cause, err)
		} else {
			e.Aside = aside
		}
		_ = d.saved(name, d.write(name)) // it is a fault until the file is without it
	}
	d.noteCorrupt(name, e)
	return e
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
