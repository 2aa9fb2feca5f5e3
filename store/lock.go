package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const lockName = "lock"

// ErrLocked means that another process uses the state directory.
var ErrLocked = errors.New("already running")

// takeLock takes the directory's lock, which the kernel gives back when the file is
// closed or the process ends, however it ends. The file holds the owner's process
// id for the error message of the next one.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%w%s, with the state directory %s", ErrLocked, owner(f), dir)
		} else {
			err = fmt.Errorf("lock the state directory %s: %w", dir, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := writeOwner(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the state directory: %w", err), f.Close())
	}
	return f, nil
}

func lockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func writeOwner(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// owner names the process in the lock file, if it is there.
func owner(f *os.File) string {
	data, err := io.ReadAll(io.LimitReader(f, 32))
	pid := strings.TrimSpace(string(data))
	if _, convErr := strconv.Atoi(pid); err != nil || convErr != nil {
		return ""
	}
	return " (process " + pid + ")"
}
