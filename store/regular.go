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

// makeRoom sets aside what is in the place of a state file and is none. Its error is nil if there is room.
func makeRoom(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %s", errNotRegular, info.Mode().Type())
	}
	var aside *CorruptError
	if err = setFileAside(path, err); errors.As(err, &aside) && aside.Aside != "" {
		return nil
	}
	return err
}
