package store_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/store"
)

func dumpJSON(t *testing.T, dir string) string {
	t.Helper()
	documents, err := store.Dump(dir)
	must(t, err)
	data, err := json.Marshal(documents)
	must(t, err)
	return string(data)
}

func TestDump(t *testing.T) {
	dir := t.TempDir()
	if _, err := store.Dump(dir); err == nil || err.Error() != "there is no state.db in "+dir {
		t.Errorf("without a file: %v", err)
	}
	d := open(t, dir)
	must(t, d.Save("orders", doc{A: 1}))
	must(t, d.SaveLog("events", []store.Entry{{ID: 10, Value: "b"}, {ID: 9, Value: "a"}}))
	mustAppend(t, d, 1)
	must(t, d.Turn("doc"))
	mustAppend(t, d, 2)
	want := `{"doc.journal":[{"A":1,"B":0},{"A":2,"B":0}],"events":["a","b"],"orders":{"A":1,"B":0}}`
	for _, when := range []string{"while it is open", "afterwards"} {
		if diff := cmp.Diff(want, dumpJSON(t, dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		must(t, d.Close())
	}
}

// A dump is one version of each document, whatever is saved meanwhile.
func TestDumpWhileDocumentsAreSaved(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	var enough atomic.Bool
	saved := make(chan error, 1)
	go func() {
		var err error
		for n := 0; err == nil && !enough.Load(); n++ {
			err = d.Save("doc", strings.Repeat(string(rune('a'+n%26)), 1+n*7919%30000))
		}
		saved <- err
	}()
	for range 200 {
		documents, err := store.Dump(dir)
		if err != nil && strings.Contains(err.Error(), "there is no") {
			continue
		}
		must(t, err)
		data, ok := documents["doc"].(json.RawMessage)
		if !ok {
			continue // nothing is saved yet
		}
		var text string
		if err := json.Unmarshal(data, &text); err != nil || strings.Trim(text, text[:1]) != "" {
			t.Fatalf("%d bytes that were never saved, %v", len(data), err)
		}
	}
	enough.Store(true)
	must(t, <-saved)
}

func TestDumpOfACorruptFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, store.FileName), []byte("nonsense"), 0o600))
	before := namesIn(t, dir)
	if _, err := store.Dump(dir); err == nil || !strings.HasPrefix(err.Error(), "cannot read "+filepath.Join(dir, store.FileName)+": ") {
		t.Errorf("dump: %v", err)
	}
	if diff := cmp.Diff(before, namesIn(t, dir)); diff != "" {
		t.Errorf("the directory (-want +got):\n%s", diff)
	}
}
