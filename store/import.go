package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Before there was state.db each document was a file, NAME.json. The journal is as it was.
const (
	formerExtension = ".json"
	formerLock      = "lock"
	eventsName      = "events"
)

var formerDocuments = []string{acceptedName, "breakers", eventsName, generationsName, "orders", policiesName, "proxies"}

// importFiles makes what the files of the former version have the documents, and notes which files they were. It changes
// none of them. It fails with ErrLocked if a process of that version has the directory. The caller must hold d.mu.
func (d *Dir) importFiles() error {
	lock, err := openRegular(filepath.Join(d.path, formerLock), os.O_RDONLY)
	if err == nil {
		defer lock.Close()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w, with the state directory %s", ErrLocked, d.path)
		}
		d.imported = append(d.imported, formerLock)
	}
	for _, name := range formerDocuments {
		// What a save that was killed has left behind.
		unfinished, err := filepath.Glob(filepath.Join(d.path, "."+name+formerExtension+"[0-9]*"))
		if err != nil {
			return err
		}
		for _, path := range unfinished {
			d.imported = append(d.imported, filepath.Base(path))
		}
		data, err := readRegular(filepath.Join(d.path, name+formerExtension))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.log.Error("cannot import a document of the former version", "document", name, "error", err)
			d.noteCorrupt(name, err)
			continue
		}
		d.documents[name] = formerContents(name, bytes.TrimSpace(data))
		d.imported = append(d.imported, name+formerExtension)
	}
	return nil
}

// formerContents is a document of the former version as it is saved now: the events are a log. What is corrupt stays so, for
// Load and LoadLog to say it.
func formerContents(name string, data []byte) contents {
	if name != eventsName {
		return contents{valueKey: data}
	}
	var events []json.RawMessage
	if err := json.Unmarshal(data, &events); err != nil {
		return contents{valueKey: data}
	}
	log := contents{}
	for _, e := range events {
		var id struct {
			ID uint64 `json:"id"`
		}
		if err := json.Unmarshal(e, &id); err != nil {
			return contents{valueKey: data}
		}
		log[key(id.ID)] = e
	}
	return log
}

// removeImported removes the files whose contents are in the file. The caller must hold d.mu.
func (d *Dir) removeImported() {
	if len(d.imported) == 0 {
		return
	}
	for _, name := range d.imported {
		if err := ignoreMissing(os.Remove(filepath.Join(d.path, name))); err != nil {
			d.log.Warn("cannot remove a state file of the former version, which is not read any more", "error", err)
		}
	}
	d.log.Info("the state of the former version was moved into the state file", "files", len(d.imported))
	d.imported = nil
	if err := d.fill(d.file); err != nil {
		d.log.Warn("cannot write the state file", "error", err)
	}
}
