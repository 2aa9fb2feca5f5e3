package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/breakwater/breakwater/store"
)

// saveSome saves documents of several sizes, and returns their names.
func saveSome(t *testing.T, d *store.Dir) []string {
	t.Helper()
	names := []string{"breakers", "generations", "orders", "policies"}
	for i, name := range names {
		for range 3 { // so that there are free pages
			must(t, d.Save(name, strings.Repeat(name, 1+i*1000)))
		}
	}
	var events []store.Entry
	for i := range 300 {
		events = append(events, store.Entry{ID: uint64(i + 1), Value: fmt.Sprint("event ", i)})
	}
	must(t, d.SaveLog("events", events))
	return names
}

// wantSaved fails unless the next life of a store loads what saveSome has saved.
func wantSaved(t *testing.T, d *store.Dir, names []string) {
	t.Helper()
	d = reopened(t, d)
	for i, name := range names {
		var got string
		if found, err := d.Load(name, &got); !found || err != nil || got != strings.Repeat(name, 1+i*1000) {
			t.Errorf("%s: %t, %d bytes, %v", name, found, len(got), err)
		}
	}
	events := 0
	if err := d.LoadLog("events", func([]byte) error { events++; return nil }); err != nil || events != 300 {
		t.Errorf("%d events, %v", events, err)
	}
}

// wantCorrupt fails unless the file was set aside, and that is said.
func wantCorrupt(t *testing.T, d *store.Dir) {
	t.Helper()
	f := d.Faults()
	if len(f) != 1 || f[0].Document != store.FileName || !f[0].Corrupt || !strings.Contains(f[0].Err.Error(), "was set aside as "+store.FileName+".corrupt-1") {
		t.Errorf("faults %+v", f)
	}
}

// Whatever becomes of the file while it is open, it has all documents after the next save.
func TestFileIsDamagedWhileItIsOpen(t *testing.T) {
	for _, tt := range []struct {
		name    string
		corrupt bool
		do      func(t *testing.T, path string)
	}{
		{"removed", false, func(t *testing.T, path string) { must(t, os.Remove(path)) }},
		{"replaced", false, func(t *testing.T, path string) {
			must(t, os.WriteFile(path+"-new", nil, 0o600))
			must(t, os.Rename(path+"-new", path))
		}},
		{"emptied", true, func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }},
		{"cut off", true, func(t *testing.T, path string) { must(t, os.Truncate(path, 12<<10)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			names := saveSome(t, d)
			tt.do(t, filepath.Join(dir, store.FileName))
			must(t, d.Save("doc", doc{A: 1}))
			if tt.corrupt {
				wantCorrupt(t, d)
			} else if f := d.Faults(); len(f) > 0 {
				t.Errorf("faults %+v", f)
			}
			wantSaved(t, d, names)
		})
	}
}

// A page that somebody else has written over is no end of the process, and what comes next is saved.
func TestFileIsOverwrittenWhileItIsOpen(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		d := open(t, dir)
		names := saveSome(t, d)
		scribble(t, filepath.Join(dir, store.FileName), r)
		for i, name := range names {
			must(t, d.Save(name, strings.Repeat(name, 1+i*1000)))
		}
		must(t, d.Save("doc", doc{A: 1}))
		must(t, d.Close())
		var got doc
		if found, err := open(t, dir).Load("doc", &got); !found || err != nil || got.A != 1 {
			t.Fatalf("seed %d: %t, %+v, %v", seed, found, got, err)
		}
	}
}

// scribble writes over some of a file's pages, in part or as a whole.
func scribble(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer f.Close()
	for range 1 + r.IntN(4) {
		junk := make([]byte, 1+r.IntN(64))
		if r.IntN(2) == 0 {
			junk = make([]byte, 4096)
		}
		if r.IntN(3) > 0 {
			for i := range junk {
				junk[i] = byte(r.Uint32())
			}
		}
		at := r.Int64N(info.Size()) / 4096 * 4096
		if len(junk) < 4096 {
			at += r.Int64N(4096 - int64(len(junk)))
		}
		_, err := f.WriteAt(junk, at)
		must(t, err)
	}
}

// A file that was damaged while nobody had it open is set aside, and what can be read of it goes on.
func TestCorruptFile(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, path string)
	}{
		{"text", func(t *testing.T, path string) { must(t, os.WriteFile(path, []byte("nonsense\n"), 0o600)) }},
		{"cut off after its head", func(t *testing.T, path string) { must(t, os.Truncate(path, 8<<10)) }},
		{"cut off in its middle", func(t *testing.T, path string) { must(t, os.Truncate(path, 20<<10)) }},
		{"zeros", func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 64<<10), 0o600)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir)
			saveSome(t, d)
			must(t, d.Close())
			tt.do(t, filepath.Join(dir, store.FileName))
			d = open(t, dir)
			wantCorrupt(t, d)
			names := saveSome(t, d)
			wantSaved(t, d, names)
		})
	}
}

func TestCorruptPages(t *testing.T) {
	set := map[bool]int{}
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		dir := t.TempDir()
		d := open(t, dir)
		saveSome(t, d)
		must(t, d.Close())
		scribble(t, filepath.Join(dir, store.FileName), r)
		d = open(t, dir)
		set[len(d.Faults()) > 0]++
		var got doc
		must(t, d.Save("doc", doc{A: 1}))
		must(t, d.Close())
		d = open(t, dir)
		if found, err := d.Load("doc", &got); !found || err != nil || got.A != 1 || len(d.Faults()) > 0 {
			t.Fatalf("seed %d: %t, %+v, %v, faults %+v", seed, found, got, err, d.Faults())
		}
		must(t, d.Close())
	}
	if set[true] == 0 || set[false] == 0 {
		t.Errorf("set aside or not: %v", set)
	}
}

// A page that is damaged costs the documents that are on it.
func TestCorruptPageCostsNoOtherDocument(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	saveSome(t, d)
	must(t, d.Close())
	path := filepath.Join(dir, store.FileName)
	var page uint64
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	err = db.View(func(tx *bolt.Tx) error {
		page = uint64(tx.Bucket([]byte("events")).Root())
		return nil
	})
	must(t, errors.Join(err, db.Close()))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 4096), int64(page)*int64(os.Getpagesize()))
	must(t, errors.Join(err, f.Close()))

	d = open(t, dir)
	wantCorrupt(t, d)
	for i, name := range []string{"breakers", "generations", "orders", "policies"} {
		var got string
		if found, err := d.Load(name, &got); !found || err != nil || got != strings.Repeat(name, 1+i*1000) {
			t.Errorf("%s: %t, %d bytes, %v", name, found, len(got), err)
		}
	}
}
