package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// copyTime bounds the tries to copy a file while nothing is saved in it.
const copyTime = 10 * time.Second

// errBusy says that the file was written during each try to copy it.
var errBusy = errors.New("it is written all the time")

// Dump returns all documents of a state directory by name, whether a process has it or not: the JSON of a document, that of
// the entries of a log, and what is in the journals as NAME.journal. It changes nothing. Where the file is corrupt it
// returns what can be read with the error.
func Dump(dir string) (map[string]any, error) {
	documents, _, err := readCopy(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noFile(dir)
	}
	if err != nil {
		err = fmt.Errorf("cannot read %s: %w", filepath.Join(dir, FileName), err)
	}
	out := map[string]any{}
	for name, c := range documents {
		if data, ok := c[valueKey]; ok {
			out[name] = dumped(data)
			continue
		}
		log := []any{}
		for _, key := range slices.Sorted(maps.Keys(c)) {
			log = append(log, dumped(c[key]))
		}
		out[name] = log
	}
	return out, errors.Join(err, dumpJournals(dir, out))
}

// dumped is a value as JSON; one that is corrupt is a string.
func dumped(data []byte) any {
	if json.Valid(data) {
		return json.RawMessage(data)
	}
	return string(data)
}

func dumpJournals(dir string, out map[string]any) error {
	for _, extension := range []string{turnedExtension, journalExtension} {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+extension))
		if err != nil {
			return err
		}
		for _, path := range paths {
			data, err := readRegular(path)
			if err != nil {
				return fmt.Errorf("cannot read a journal: %w", err)
			}
			name := strings.TrimSuffix(filepath.Base(path), extension) + journalExtension
			entries, _ := out[name].([]any)
			_, _ = replay(data, func(value []byte) error { // it fails never
				entries = append(entries, dumped(value))
				return nil
			})
			if entries != nil {
				out[name] = entries
			}
		}
	}
	return nil
}

// Copy writes the file of a state directory to w as of one transaction, whether a process has it or not: it is a FileName
// for another state directory.
func Copy(dir string, w io.Writer) error {
	data, err := copied(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return noFile(dir)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", filepath.Join(dir, FileName), err)
	}
	_, err = w.Write(data)
	return err
}

func noFile(dir string) error { return fmt.Errorf("there is no %s in %s", FileName, dir) }

// readCopy is file.read of a copy of a file, which another process may have open, or fs.ErrNotExist.
func readCopy(path string) (documents map[string]contents, meta contents, err error) {
	data, err := copied(path)
	if err != nil {
		return nil, nil, err
	}
	tmp, err := os.CreateTemp("", "breakwater-state-*.db")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(tmp.Name())) }()
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return nil, nil, err
	}
	f, err := openFile(tmp.Name(), true)
	if err != nil {
		return nil, nil, err
	}
	documents, meta, err = f.read()
	return documents, meta, errors.Join(err, f.close())
}

// copied returns the bytes of a file as of one transaction. Each ends with a write of one of the two pages at its begin,
// and writes no page before that belongs to the one before: so what is copied is whole if these are the same afterwards.
func copied(path string) ([]byte, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 2*os.Getpagesize())
	for end := time.Now().Add(copyTime); time.Now().Before(end); {
		data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<62))
		if err != nil {
			return nil, err
		}
		n, err := f.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if bytes.HasPrefix(data, head[:n]) {
			return data, nil
		}
	}
	return nil, errBusy
}
