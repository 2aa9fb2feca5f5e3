package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A journal is what happened to a document since it was saved: JSON values, one a line, in NAME.journal. Its owner appends
// to it what must not be lost until the next Save, which is slower. What is in it survives the end of the process at
// once, and a crash of the machine only when the system has written it. It is a file of its own, for an append is made
// before each change of a breaker is sent: it takes microseconds, a transaction of the file waits for the disk twice.
//
// To save the document, its owner calls Turn while nothing else appends, collects the document, saves it, and calls Drop.
// What is read back was in part saved with the document already: its owner's values must be such that taking them over
// a second time, in their order, does no harm.
const (
	journalExtension = ".journal"
	turnedExtension  = ".journal-turned"
)

// Append adds the JSON of v to the journal of the document of that name.
func (d *Dir) Append(name string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot append to journal %q: %w", name, err)
	}
	line = append(line, '\n')
	d.journaling.Lock()
	defer d.journaling.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	if d.path == "" {
		d.remembered[name+journalExtension] = append(d.remembered[name+journalExtension], line...)
		return nil
	}
	f, ok := d.journals[name]
	if !ok {
		if _, err = makeRoom(d.journal(name)); err == nil {
			f, err = openRegular(d.journal(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE)
		}
		if err != nil {
			return fmt.Errorf("cannot open journal %q: %w", name, err)
		}
		d.journals[name] = f
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot append to journal %q: %w", name, err)
	}
	if _, err := f.Write(line); err != nil {
		// What was written in part must not spoil what comes next.
		return errors.Join(fmt.Errorf("cannot append to journal %q: %w", name, err), f.Truncate(info.Size()))
	}
	return nil
}

// Turn sets what was appended so far apart, for Drop. What was set apart before and not dropped, because the document could
// not be saved, stays, and then nothing else is set apart.
func (d *Dir) Turn(name string) error {
	d.journaling.Lock()
	defer d.journaling.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	if d.path == "" {
		if _, ok := d.remembered[name+turnedExtension]; !ok {
			d.remembered[name+turnedExtension] = d.remembered[name+journalExtension]
			delete(d.remembered, name+journalExtension)
		}
		return nil
	}
	for _, path := range []string{d.turned(name), d.journal(name)} {
		if _, err := makeRoom(path); err != nil {
			return fmt.Errorf("cannot turn journal %q: %w", name, err)
		}
	}
	switch _, err := os.Lstat(d.turned(name)); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot turn journal %q: %w", name, err)
	}
	err := os.Rename(d.journal(name), d.turned(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, d.closeJournal(name))
}

// Drop forgets what Turn has set apart: it is saved with the document.
func (d *Dir) Drop(name string) error {
	d.journaling.Lock()
	defer d.journaling.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	if d.path == "" {
		delete(d.remembered, name+turnedExtension)
		return nil
	}
	if err := os.Remove(d.turned(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot drop journal %q: %w", name, err)
	}
	return nil
}

// Replay gives each value that was appended, from the oldest to the newest, and must come before the first Append. A last
// line without its end was being written when the process ended: it is cut off. What can't be decoded ends the
// journal: the file is set aside and reported as a *CorruptError, as take's own errors are. What was given until then
// holds.
func (d *Dir) Replay(name string, take func(value []byte) error) error {
	d.journaling.Lock()
	defer d.journaling.Unlock()
	if err := d.usable(name); err != nil {
		return err
	}
	if d.path == "" {
		_, err := replay(append(bytes.Clone(d.remembered[name+turnedExtension]), d.remembered[name+journalExtension]...), take)
		return err
	}
	var errs []error
	for _, path := range []string{d.turned(name), d.journal(name)} {
		data, err := readRegular(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, errNotRegular) {
			errs = append(errs, setFileAside(path, err))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot read journal %q: %w", name, err))
			continue
		}
		whole, err := replay(data, take)
		switch {
		case err != nil:
			errs = append(errs, setFileAside(path, err))
		case whole < len(data):
			d.log.Debug("cut off the last line of a journal, which was not finished", "name", filepath.Base(path))
			errs = append(errs, os.Truncate(path, int64(whole)))
		}
	}
	return errors.Join(errs...)
}

// replay gives the lines of data, and returns the length of those that have an end.
func replay(data []byte, take func([]byte) error) (whole int, err error) {
	for whole < len(data) {
		end := bytes.IndexByte(data[whole:], '\n')
		if end < 0 {
			break
		}
		if err := take(data[whole : whole+end]); err != nil {
			return whole, err
		}
		whole += end + 1
	}
	return whole, nil
}

// closeJournal closes a journal's file, if it is open. The caller must hold d.journaling.
func (d *Dir) closeJournal(name string) error {
	f, ok := d.journals[name]
	if !ok {
		return nil
	}
	delete(d.journals, name)
	return f.Close()
}

func (d *Dir) journal(name string) string { return filepath.Join(d.path, name+journalExtension) }

func (d *Dir) turned(name string) string { return filepath.Join(d.path, name+turnedExtension) }
