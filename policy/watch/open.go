package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// readOnly opens a named pipe without waiting for its writer.
const readOnly = os.O_RDONLY | syscall.O_NONBLOCK

// open opens a file of the directory. A link must lead to a file in the directory or below: what is elsewhere is not for
// those who see problems and the lines around them. Errors have the path.
func (r *reader) open(path string) (*os.File, error) {
	if r.anywhere {
		return os.OpenFile(path, readOnly, 0)
	}
	f, err := os.OpenFile(path, readOnly|syscall.O_NOFOLLOW, 0)
	if !errors.Is(err, syscall.ELOOP) {
		return f, err
	}
	if f, err = r.follow(path); err != nil {
		// The name alone is in an error of os.Root.
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return f, nil
}

// follow opens a link. The kernel is asked to go nowhere else, whatever becomes of the link meanwhile.
func (r *reader) follow(path string) (*os.File, error) {
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.Base(path), readOnly, 0)
	if err == nil {
		return f, nil
	}
	// os.Root follows no absolute link, though it may lead to a file of the directory.
	name, inside := r.below(path)
	switch {
	case inside:
		return root.OpenFile(name, readOnly, 0)
	case name != "":
		return nil, errOutside
	}
	return nil, err
}

// below gives the path of what a link leads to, from the directory, and whether it is in or below it; empty if the link leads nowhere.
func (r *reader) below(path string) (name string, inside bool) {
	target, err := final(path)
	if err != nil {
		return "", false
	}
	dir, err := final(r.dir)
	if err != nil {
		return "", false
	}
	name, err = filepath.Rel(dir, target)
	return name, err == nil && filepath.IsLocal(name)
}

// final is the absolute path of what a path leads to.
func final(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(target)
}
