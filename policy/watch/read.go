package watch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/breakwater/breakwater/policy"
)

// The bounds of what is read. Beyond them the file, or the directory, is a fault.
const (
	MaxFileSize = 4 << 20 // bytes
	MaxFiles    = 10_000
)

// racyAge is how old a file's last change must be before its status is trusted to
// tell a later one: a file system's clock ticks as slowly as every 10 ms (FAT: 2 s,
// which the poll makes up for), and two writes within a tick leave the same times.
const racyAge = 100 * time.Millisecond

// ErrNoFiles is the fault of a directory without a policy file. It is never taken
// for an order to drop all services.
var ErrNoFiles = errors.New("no policy file (*.yaml, *.yml) in the directory")

var (
	errNotRegular = errors.New("not a regular file")
	errOutside    = errors.New("a link to a file outside of the policy directory, which is not read")
	errTooLarge   = fmt.Errorf("larger than %d MiB", MaxFileSize>>20)
	errTooMany    = fmt.Errorf("more than %d policy files", MaxFiles)
)

// Snapshot is a directory's policy files at one moment. It is immutable, the bytes
// of the files included.
type Snapshot struct {
	// Files in ascending order of name.
	Files []policy.File
	// Faults are the files that could not be read, in ascending order of name. They
	// are not in Files.
	Faults []Fault
	// Err is set if the directory itself could not be read, holds no policy file or
	// too many. Files and Faults are then empty.
	Err error
	// Digest is a hash, in hex, over the names and bytes of the files and over all
	// faults. Equal digests mean that nothing has changed.
	Digest string
}

// Fault is one policy file that could not be read.
type Fault struct {
	// Name of the file, relative to the directory.
	Name string
	// Err has the path in its text.
	Err error
	// Line is where in the file the fault is; 0: in no line.
	Line int
}

// errors joins all that is wrong with the snapshot; nil if nothing is.
func (s Snapshot) errors() error {
	errs := []error{s.Err}
	for _, f := range s.Faults {
		errs = append(errs, f.Err)
	}
	return errors.Join(errs...)
}

// ReadDir reads the policy files of a directory once. If some of them can't be
// read, the error joins the reasons and the others are returned beside it.
func ReadDir(dir string) ([]policy.File, error) {
	s := newReader(dir).read(everything)
	return s.Files, s.errors()
}

// Read reads one policy file, whatever its name, or all those of a directory.
func Read(path string) ([]policy.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return ReadDir(path)
	}
	r := newReader(filepath.Dir(path))
	r.anywhere = true
	c, err := r.load(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	return []policy.File{c.file}, nil
}

// reader reads one directory again and again. It remembers the bytes, so that an
// unchanged file costs no memory and, where that is asked, no read.
type reader struct {
	dir   string
	files map[string]*cached
	// anywhere is true if links may lead out of the directory.
	anywhere bool
	// symlinks are the names of the policy files that are links.
	symlinks []string
	buf      bytes.Buffer
}

// cached is one file as it was last read.
type cached struct {
	file  policy.File
	sum   [sha256.Size]byte
	state fileState
}

// depth says how far a read goes.
type depth bool

const (
	// changedOnly re-reads the files whose status has changed, or has changed too
	// lately to be trusted.
	changedOnly depth = false
	everything  depth = true
)

func newReader(dir string) *reader {
	return &reader{dir: dir, files: map[string]*cached{}}
}

// read takes a snapshot of the directory.
func (r *reader) read(d depth) Snapshot {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return r.failed(err)
	}
	var s Snapshot
	sum := newDigest()
	seen := make(map[string]*cached, len(r.files))
	r.symlinks = r.symlinks[:0]
	for _, e := range entries {
		if e.IsDir() || !policy.IsFileName(e.Name()) {
			continue
		}
		if len(seen)+len(s.Faults) == MaxFiles {
			return r.failed(&fs.PathError{Op: "read", Path: r.dir, Err: errTooMany})
		}
		if e.Type()&fs.ModeSymlink != 0 {
			r.symlinks = append(r.symlinks, e.Name())
		}
		c, err := r.file(e, d)
		switch {
		case errors.Is(err, errAbsent):
			continue
		case err != nil:
			s.Faults = append(s.Faults, Fault{Name: e.Name(), Err: err})
			sum.add("fault", e.Name(), []byte(err.Error()))
			continue
		}
		seen[e.Name()] = c
		s.Files = append(s.Files, c.file)
		sum.add("file", e.Name(), c.sum[:])
	}
	r.files = seen
	if len(s.Files)+len(s.Faults) == 0 {
		return r.failed(&fs.PathError{Op: "read", Path: r.dir, Err: ErrNoFiles})
	}
	s.Digest = sum.hex()
	return s
}

// failed is the snapshot of a directory that can't be read.
func (r *reader) failed(err error) Snapshot {
	sum := newDigest()
	sum.add("directory", r.dir, []byte(err.Error()))
	return Snapshot{Err: err, Digest: sum.hex()}
}

// errAbsent means that an entry is not a policy file: a link to a directory, or
// gone since the directory was listed.
var errAbsent = errors.New("no such policy file")

// file returns one entry's content, from memory if d allows it.
func (r *reader) file(e fs.DirEntry, d depth) (*cached, error) {
	if c := r.files[e.Name()]; c != nil && d == changedOnly {
		info, err := os.Stat(filepath.Join(r.dir, e.Name()))
		if err == nil && c.state.unchanged(stateOf(info)) {
			return c, nil
		}
	}
	c, err := r.load(e.Name())
	if errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink == 0 {
		return nil, errAbsent
	}
	return c, err
}

// load reads a file. Errors have its path.
func (r *reader) load(name string) (*cached, error) {
	path := filepath.Join(r.dir, name)
	f, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errAbsent
	case !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: path, Err: errNotRegular}
	}
	// The status is from before the read: a write during it shows as a change later.
	state := stateOf(info)
	r.buf.Reset()
	if _, err := r.buf.ReadFrom(io.LimitReader(f, MaxFileSize+1)); err != nil {
		return nil, err
	}
	if r.buf.Len() > MaxFileSize {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errTooLarge}
	}
	if c := r.files[name]; c != nil && bytes.Equal(c.file.Data, r.buf.Bytes()) {
		c.state = state
		return c, nil
	}
	data := bytes.Clone(r.buf.Bytes())
	return &cached{file: policy.File{Name: name, Data: data}, sum: sha256.Sum256(data), state: state}, nil
}

// links returns the names of the symbolic links to policy files that the last read has
// found, by their final targets as absolute paths.
func (r *reader) links() map[string][]string {
	targets := map[string][]string{}
	for _, name := range r.symlinks {
		target, err := filepath.EvalSymlinks(filepath.Join(r.dir, name))
		if err != nil {
			continue
		}
		if target, err = filepath.Abs(target); err == nil {
			targets[target] = append(targets[target], name)
		}
	}
	return targets
}

// age tells how long ago a file of the last read was changed, or an entry of the directory if there is no such file;
// 0 if that is not known.
func (r *reader) age(name string) time.Duration {
	if c := r.files[name]; c != nil {
		return max(0, time.Since(c.state.changed))
	}
	info, err := os.Stat(r.dir)
	if err != nil {
		return 0
	}
	return max(0, time.Since(info.ModTime()))
}

// fileState is what the file system says about a file's content without reading it.
type fileState struct {
	device, inode uint64
	size          int64
	modified      time.Time
	changed       time.Time
	// seen is when this state was taken.
	seen time.Time
}

// unchanged reports whether now surely is the same content as before.
func (before fileState) unchanged(now fileState) bool {
	return before.device == now.device && before.inode == now.inode && before.size == now.size &&
		before.modified.Equal(now.modified) && before.changed.Equal(now.changed) &&
		before.seen.Sub(before.changed) > racyAge
}

// digest hashes named parts so that no two lists of parts look alike.
type digest struct{ hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) add(kind, name string, data []byte) {
	for _, part := range [][]byte{[]byte(kind), []byte(name), data} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		d.Write(size[:])
		d.Write(part)
	}
}

func (d digest) hex() string { return hex.EncodeToString(d.Sum(nil)) }
