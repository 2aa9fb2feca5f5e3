package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long the lock of the file is tried to get: bbolt tries every 50 ms, so once more.
const lockTimeout = 100 * time.Millisecond

// file is a bbolt file. Whatever somebody else does to it, such as cutting it off beneath bbolt's memory map, is an error
// of its methods that damaged reports: then nothing but close may be called.
type file struct {
	path string
	db   *bolt.DB
	fd   *os.File
	// size of the file, beneath which nobody may cut it off.
	size int64
	// whole is true once the file has all documents.
	whole bool
	// broken is true after a damage: bbolt may hold locks for ever.
	broken bool
}

// damage is an error of bbolt, or of the memory map, that only a corrupt file explains.
type damage struct{ cause any }

func (d *damage) Error() string { return fmt.Sprintf("cannot read the file: %v", d.cause) }

// damaged reports whether a file is corrupt by an error of its use.
func damaged(err error) bool {
	var d *damage
	return errors.As(err, &d)
}

// guard calls do, and returns a damage if that panics or reads where the file has ended.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &damage{cause}
		}
	}()
	return do()
}

// openFile opens a file and takes its lock: exclusively to write it, creating it if it is not there, else with others that
// read. It fails with bolterrors.ErrTimeout if another process has the lock.
func openFile(path string, readOnly bool) (*file, error) {
	f := &file{path: path}
	info, statErr := os.Stat(path)
	begun := !readOnly && (statErr != nil || info.Size() == 0)
	err := guard(func() (err error) {
		f.db, err = bolt.Open(path, filePerm, &bolt.Options{
			Timeout: lockTimeout, ReadOnly: readOnly, NoStatistics: true,
			OpenFile: func(path string, flag int, _ fs.FileMode) (fd *os.File, err error) {
				f.fd, err = openRegular(path, flag)
				return f.fd, err
			},
		})
		return err
	})
	var errno syscall.Errno
	switch {
	case err == nil:
		err = f.measure()
	case errors.Is(err, bolterrors.ErrTimeout), errors.Is(err, errNotRegular):
	case begun: // the disk is full
		err = errors.Join(err, ignoreMissing(os.Remove(path)))
	case damaged(err):
		f.abandon()
	case !errors.As(err, &errno):
		err = &damage{err}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// measure notes how long the file is.
func (f *file) measure() error {
	info, err := f.fd.Stat()
	if err == nil {
		f.size = info.Size()
	}
	return err
}

// check returns nil if the file is in its place and whole, fs.ErrNotExist or errNotRegular if another or none is there, and
// a damage if it was cut off.
func (f *file) check() error {
	own, err := f.fd.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if !os.SameFile(own, there) {
		return errReplaced
	}
	if own.Size() < f.size {
		return &damage{fmt.Sprintf("it was cut off at %d of %d bytes", own.Size(), f.size)}
	}
	return nil
}

// errReplaced says that another file is in the place of the one that is open.
var errReplaced = errors.New("the file was replaced")

// update is one transaction, which is on the disk when it returns nil.
func (f *file) update(do func(tx *bolt.Tx) error) error {
	if err := guard(func() error { return f.db.Update(do) }); err != nil {
		f.broken = damaged(err)
		return err
	}
	return f.measure()
}

// read returns what can be read of all documents, and a damage unless that is all. meta is of the file itself; nil if it
// has none yet.
func (f *file) read() (documents map[string]contents, meta contents, err error) {
	documents = map[string]contents{}
	err = guard(func() error {
		return f.db.View(func(tx *bolt.Tx) error {
			var errs []error
			listErr := guard(func() error {
				return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
					c := contents{}
					errs = append(errs, guard(func() error {
						return b.ForEach(func(k, v []byte) error {
							if len(k) == 0 || len(k) > bolt.MaxKeySize {
								return &damage{fmt.Sprintf("a key of %d bytes", len(k))}
							}
							c[string(k)] = bytes.Clone(v)
							return nil
						})
					}))
					if string(name) == metaName {
						meta = c
					} else if nameRE.Match(name) && len(c) > 0 {
						documents[string(name)] = c
					}
					return nil
				})
			})
			if err := errors.Join(append(errs, listErr)...); err != nil {
				return err
			}
			// Check reads in a goroutine of its own, which has no guard.
			if info, err := f.fd.Stat(); err != nil || tx.Size() > info.Size() {
				return errors.Join(err, &damage{fmt.Sprintf("it is cut off, and should have %d bytes", tx.Size())})
			}
			var first error
			for err := range tx.Check() {
				if first == nil {
					first = &damage{err}
				}
			}
			return first
		})
	})
	f.broken = damaged(err)
	return documents, meta, err
}

// close gives the file up.
func (f *file) close() error {
	if f.broken {
		f.abandon()
		return nil
	}
	return f.db.Close()
}

// abandon gives up a file that bbolt cannot go on with: its lock, and not its memory map.
func (f *file) abandon() {
	if f.fd != nil {
		_ = syscall.Flock(int(f.fd.Fd()), syscall.LOCK_UN) // closing is not enough while there is a map
		_ = f.fd.Close()
	}
}

// The bucket of the file itself. It has metaProcess, the process that has the file, for a message, and metaImported, the
// files that are to be removed.
const (
	metaName     = "_file"
	metaProcess  = "process"
	metaImported = "imported"
)

// put makes a document's bucket have its contents.
func put(tx *bolt.Tx, name string, c contents) error {
	b, err := tx.CreateBucketIfNotExists([]byte(name))
	if err != nil {
		return err
	}
	var stale [][]byte
	same := make(map[string]bool, len(c))
	if err := b.ForEach(func(k, v []byte) error {
		if want, ok := c[string(k)]; !ok {
			stale = append(stale, bytes.Clone(k))
		} else if bytes.Equal(v, want) {
			same[string(k)] = true
		}
		return nil
	}); err != nil {
		return err
	}
	for _, k := range stale {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c)) {
		if !same[k] {
			if err := b.Put([]byte(k), c[k]); err != nil {
				return err
			}
		}
	}
	return nil
}
