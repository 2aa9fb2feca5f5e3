package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

func (d *Dir) statePath() string { return filepath.Join(d.path, FileName) }

// load takes the directory and loads all documents. Its error is that of Open.
func (d *Dir) load() error {
	f, err := d.openFile()
	switch {
	case errors.Is(err, ErrLocked):
		return err
	case unwritable(err) || errors.Is(err, fs.ErrPermission):
		return d.loadReadOnly(err)
	case err != nil:
		return fmt.Errorf("cannot open the state: %w", err)
	}
	documents, meta, err := f.read()
	d.documents, d.file = documents, f
	switch {
	case damaged(err):
		d.abandon(err)
		if err := d.reopen(); err != nil {
			d.log.Warn("cannot write a new state file, which is tried again with the next save", "error", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("cannot load the state: %w", err)
	case meta == nil:
		if err := d.importFiles(); err != nil {
			return err
		}
	case len(meta[metaImported]) > 0:
		d.imported = strings.Split(string(meta[metaImported]), "\n")
	}
	f.whole = meta != nil
	if err := d.fill(f); err != nil {
		d.log.Warn("cannot write the state file, which is tried again with the next save", "error", err)
	} else {
		d.removeImported()
	}
	return nil
}

// loadReadOnly is load where the file cannot be written, and why.
func (d *Dir) loadReadOnly(cause error) error {
	var err error
	if d.claim, err = os.Open(d.path); err != nil {
		return fmt.Errorf("cannot open the state directory: %w", err)
	}
	if err := syscall.Flock(int(d.claim.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w, with the state directory %s", ErrLocked, d.path)
	}
	f, err := openFile(d.statePath(), true)
	switch {
	case err == nil:
		d.reading = f
		if d.documents, _, err = f.read(); err != nil {
			d.fileCorrupt(err)
		}
	case errors.Is(err, bolterrors.ErrTimeout):
		return d.locked()
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) && errors.Is(cause, fs.ErrPermission):
		return fmt.Errorf("cannot open the state: %w", cause)
	case errors.Is(err, fs.ErrNotExist):
		if err := d.importFiles(); err != nil {
			return err
		}
	case damaged(err):
		d.fileCorrupt(err)
	}
	d.log.Warn("cannot write the state file: what changes is saved once that works", "error", cause)
	return nil
}

// openFile opens the file to write it, and makes one if there is none. What is there and is none is set aside, as is one
// that is corrupt. The error is ErrLocked if another process has it.
func (d *Dir) openFile() (*file, error) {
	aside, err := makeRoom(d.statePath())
	if aside != nil {
		d.noteFile(aside)
	}
	if err != nil {
		return nil, err
	}
	f, err := openFile(d.statePath(), false)
	if damaged(err) {
		d.fileCorrupt(err)
		f, err = openFile(d.statePath(), false)
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, d.locked()
	}
	return f, err
}

// locked is ErrLocked with the process that has the file.
func (d *Dir) locked() error {
	owner := ""
	if _, meta, err := readCopy(d.statePath()); err == nil && len(meta[metaProcess]) > 0 {
		owner = fmt.Sprintf(" (process %s)", meta[metaProcess])
	}
	return fmt.Errorf("%w%s, with the state directory %s", ErrLocked, owner, d.path)
}

// write saves a document in the file, which is made anew if it is not there. The caller must hold d.mu.
func (d *Dir) write(name string) error {
	err := d.reopen()
	if err == nil {
		err = d.file.update(func(tx *bolt.Tx) error { return put(tx, name, d.documents[name]) })
		if damaged(err) {
			d.abandon(err)
			err = d.reopen() // which writes all
		}
	}
	if err != nil {
		return fmt.Errorf("cannot save state %q: %w", name, err)
	}
	return nil
}

// reopen sees to it that the file is there, can be written and has all documents. The caller must hold d.mu.
func (d *Dir) reopen() error {
	if d.file != nil {
		switch err := d.file.check(); {
		case damaged(err):
			d.abandon(err)
		case err != nil:
			_ = d.file.close() // nobody finds it any more
			d.file = nil
		case d.file.whole:
			return nil
		}
	}
	if d.reading != nil {
		// One's own lock of it is in the way, and is not to be given up before that helps.
		probe, err := openRegular(d.statePath(), os.O_RDWR)
		if err != nil {
			return err
		}
		if err := errors.Join(probe.Close(), d.reading.close()); err != nil {
			return err
		}
		d.reading = nil
	}
	if d.file == nil {
		f, err := d.openFile()
		if err != nil {
			return err
		}
		d.file = f
	}
	err := d.fill(d.file)
	if damaged(err) {
		d.abandon(err)
	}
	if err == nil {
		d.removeImported()
	}
	return err
}

// fill writes all documents to a file. The caller must hold d.mu.
func (d *Dir) fill(f *file) error {
	err := f.update(func(tx *bolt.Tx) error {
		for name, c := range d.documents {
			if err := put(tx, name, c); err != nil {
				return err
			}
		}
		return put(tx, metaName, contents{
			metaProcess:  strconv.AppendInt(nil, int64(os.Getpid()), 10),
			metaImported: []byte(strings.Join(d.imported, "\n")),
		})
	})
	if err == nil {
		err = syncDir(d.path)
	}
	f.whole = f.whole || err == nil
	return err
}

// abandon sets the open file aside, which is corrupt. The caller must hold d.mu.
func (d *Dir) abandon(cause error) {
	d.file.abandon()
	d.file = nil
	d.fileCorrupt(cause)
}

// fileCorrupt sets the file in the directory aside, and says so.
func (d *Dir) fileCorrupt(cause error) { d.noteFile(setFileAside(d.statePath(), cause)) }

func (d *Dir) noteFile(e *CorruptError) {
	d.log.Error("cannot read the state file: what could be read of it is saved in a new one", "error", e)
	d.noteCorrupt(FileName, e)
}

// closeFiles gives the directory up. The caller must hold d.mu.
func (d *Dir) closeFiles() error {
	var err error
	for _, f := range []*file{d.file, d.reading} {
		if f != nil {
			err = errors.Join(err, f.close())
		}
	}
	d.file, d.reading = nil, nil
	if d.claim != nil {
		err = errors.Join(err, d.claim.Close())
		d.claim = nil
	}
	return err
}
