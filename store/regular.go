package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// errNotRegular says that something else is in the place of a state file: a named pipe would block whoever opens it, and a
// device never end.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a state file, or returns errNotRegular without waiting for anybody.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, filePerm)
	if errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EISDIR) {
		return nil, fmt.Errorf("%w: %w", errNotRegular, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s", errNotRegular, info.Mode().Type())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readRegular returns the bytes of a state file, fs.ErrNotExist or errNotRegular.
func readRegular(path string) ([]byte, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// makeRoom sets aside what is in the place of a state file and is none, and returns what it was. Its error is nil if there
// is room.
func makeRoom(path string) (aside *CorruptError, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return nil, nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %s", errNotRegular, info.Mode().Type())
	}
	e := setFileAside(path, err)
	if e.Aside == "" {
		return nil, e
	}
	return e, nil
}

// setFileAside moves a corrupt file out of the way, and says so.
func setFileAside(path string, cause error) *CorruptError {
	e := &CorruptError{Path: path, Err: cause}
	aside, err := freeName(path)
	if err == nil {
		err = os.Rename(path, aside)
	}
	if err != nil {
		e.Err = errors.Join(cause, err)
		return e
	}
	e.Aside = aside
	return e
}

// freeName is path.corrupt-N, with the least N that is not there.
func freeName(path string) (string, error) {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.corrupt-%d", path, n)
		_, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}

// unwritable reports whether an error says that a directory is full or read-only.
func unwritable(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// syncDir makes a new name in dir durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
