package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// former is a state directory as a Breakwater that had no state.db wrote it, beside an Envoy with an open breaker and after
// a reset and two overrides.
const former = "testdata/former"

// formerDir is a copy of former, with what a save that was killed leaves, a journal, and what is no state.
func formerDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(former)))
	for name, content := range map[string]string{
		".orders.json123456": "[{", "doc.journal": "{\"A\":1}\n", "notes.json": "{}", ".hidden": "",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

// wantFormer fails unless a store has all that former has.
func wantFormer(t *testing.T, d *store.Dir) {
	t.Helper()
	for _, name := range []string{"breakers", "generations", "orders", "proxies"} {
		want, err := os.ReadFile(filepath.Join(former, name+".json"))
		must(t, err)
		var got json.RawMessage
		if found, err := d.Load(name, &got); !found || err != nil || string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s: %t, %s, %v, want %s", name, found, got, err, want)
		}
	}
	want, err := os.ReadFile(filepath.Join(former, "events.json"))
	must(t, err)
	var events []json.RawMessage
	must(t, d.LoadLog("events", func(value []byte) error { events = append(events, value); return nil }))
	got, err := json.Marshal(events)
	if err != nil || string(got) != strings.TrimSpace(string(want)) {
		t.Errorf("events %s, %v, want %s", got, err, want)
	}
	p := d.Policies("/tmp/breakwater/policies")
	for name, v := range versions(p) {
		wantFiles(t, name, v, []policy.File{
			{Name: "drill.yaml", Data: []byte("# Used for drills alone.\nservice: drill\nupstream: 127.0.0.1:29998\n")},
			{Name: "legacy.yaml", Data: []byte("service: legacy\nupstream: 127.0.0.1:29997\n")},
			{Name: "svc.yaml", Data: []byte("service: svc\nupstream: ${SVC_UPSTREAM}\nbreaker: {failure_threshold: 3, timeout: 10m}\n")},
		})
	}
	if f := d.Faults(); len(f) > 0 {
		t.Errorf("faults %+v", f)
	}
	wantJournal(t, "moved in", d, 1)
}

// namesIn are those of the files in a directory.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func wantOnlyNew(t *testing.T, dir string) {
	t.Helper()
	if diff := cmp.Diff([]string{".hidden", "doc.journal", "notes.json", store.FileName}, namesIn(t, dir)); diff != "" {
		t.Errorf("the directory has (-want +got):\n%s", diff)
	}
}

func TestStateOfTheFormerVersion(t *testing.T) {
	dir := formerDir(t)
	d := open(t, dir)
	wantFormer(t, d)
	wantOnlyNew(t, dir)
	wantFormer(t, reopened(t, d))
}

// A process that ends before the file has all, or before the former files are removed, leaves it to the next one.
func TestImportIsInterrupted(t *testing.T) {
	t.Run("before the transaction", func(t *testing.T) {
		dir := formerDir(t)
		db, err := bolt.Open(filepath.Join(dir, store.FileName), 0o600, nil)
		must(t, err)
		must(t, db.Close())
		wantFormer(t, open(t, dir))
		wantOnlyNew(t, dir)
	})
	t.Run("after it", func(t *testing.T) {
		dir := formerDir(t)
		d := open(t, dir)
		must(t, d.Save("orders", "newer"))
		must(t, d.Close())
		must(t, os.CopyFS(dir, os.DirFS(former)))
		edit(t, dir, func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("_file")).Put([]byte("imported"), []byte(strings.Join(namesIn(t, former), "\n")))
		})
		d = open(t, dir)
		var orders string
		if found, err := d.Load("orders", &orders); !found || err != nil || orders != "newer" {
			t.Errorf("orders: %t, %q, %v", found, orders, err)
		}
		wantOnlyNew(t, dir)
		// What somebody puts there later is his.
		must(t, d.Close())
		must(t, os.WriteFile(filepath.Join(dir, "orders.json"), []byte("[]"), 0o600))
		d = open(t, dir)
		if found, err := d.Load("orders", &orders); !found || err != nil || orders != "newer" {
			t.Errorf("orders: %t, %q, %v", found, orders, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "orders.json")); err != nil {
			t.Error(err)
		}
	})
}

// A document that was corrupt before costs no other.
func TestImportOfCorruptDocuments(t *testing.T) {
	dir := formerDir(t)
	for _, name := range []string{"generations.json", "events.json"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("[{"), 0o600))
	}
	must(t, os.Remove(filepath.Join(dir, "proxies.json")))
	must(t, syscall.Mkfifo(filepath.Join(dir, "proxies.json"), 0o600))
	within(t, "the import", func() {
		d := open(t, dir)
		_, err := d.LoadGenerations()
		logErr := d.LoadLog("events", func(v []byte) error { return json.Unmarshal(v, new(doc)) })
		var corrupt, corruptLog *store.CorruptError
		if !errors.As(err, &corrupt) || !errors.As(logErr, &corruptLog) {
			t.Errorf("generations: %v, events: %v", err, logErr)
		}
		if f := d.Faults(); len(f) != 3 {
			t.Errorf("faults %+v", f)
		}
		var orders json.RawMessage
		if found, err := d.Load("orders", &orders); !found || err != nil {
			t.Errorf("orders: %t, %v", found, err)
		}
	})
}

func TestImportWhileTheFormerVersionRuns(t *testing.T) {
	dir := formerDir(t)
	f, err := os.Open(filepath.Join(dir, "lock"))
	must(t, err)
	defer f.Close()
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	before := namesIn(t, dir)
	if d, err := store.Open(dir, nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("open: %v, %v", d, err)
	}
	after := namesIn(t, dir)
	if diff := cmp.Diff(append(before, store.FileName), after); diff != "" {
		t.Errorf("the directory (-want +got):\n%s", diff)
	}
	must(t, f.Close())
	wantFormer(t, open(t, dir))
}
