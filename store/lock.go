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
	f, err := openLock(dir)
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
	_ = writeOwner(f) // it is for a message alone, and a directory that is full or read-only has no room for it
	return f, nil
}

// openLock opens the file that is locked. In a directory that is full or read-only it is the one that is there, or the
// directory itself.
func openLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	roomErr := makeRoom(path)
	f, err := openRegular(path, os.O_RDWR|os.O_CREATE)
	if err == nil {
		return f, nil
	}
	if err = errors.Join(roomErr, err); !unwritable(err) {
		return nil, err
	}
	if f, err := openRegular(path, os.O_RDONLY); err == nil {
		return f, nil
	}
	return os.Open(dir)
}

// unwritable reports whether an error says that a directory is full or read-only.
func unwritable(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
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
