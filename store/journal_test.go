package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/store"
)

// mustReplay returns what the journal has.
func mustReplay(t *testing.T, d *store.Dir) []int {
	t.Helper()
	got, err := replay(d)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func replay(d *store.Dir) ([]int, error) {
	var got []int
	err := d.Replay("doc", func(value []byte) error {
		var x doc
		if err := json.Unmarshal(value, &x); err != nil {
			return err
		}
		got = append(got, x.A)
		return nil
	})
	return got, err
}

func wantJournal(t *testing.T, when string, d *store.Dir, want ...int) {
	t.Helper()
	if diff := cmp.Diff(want, mustReplay(t, d)); diff != "" {
		t.Errorf("%s the journal has (-want +got):\n%s", when, diff)
	}
}

func mustAppend(t *testing.T, d *store.Dir, values ...int) {
	t.Helper()
	for _, v := range values {
		if err := d.Append("doc", doc{A: v}); err != nil {
			t.Fatal(err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		wantJournal(t, "at first", d)
		mustAppend(t, d, 1, 2)
		wantJournal(t, "after two appends", d, 1, 2)
		must(t, d.Turn("doc"))
		mustAppend(t, d, 3)
		wantJournal(t, "before the document is saved", d, 1, 2, 3)
		must(t, d.Turn("doc")) // the document could not be saved
		mustAppend(t, d, 4)
		wantJournal(t, "turned again", d, 1, 2, 3, 4)
		must(t, d.Drop("doc"))
		wantJournal(t, "once the document is saved", d, 3, 4)
		must(t, d.Turn("doc"))
		must(t, d.Drop("doc"))
		must(t, d.Turn("doc"))
		must(t, d.Drop("doc"))
		wantJournal(t, "with all saved", d)
		mustAppend(t, d, 5)
		wantJournal(t, "begun anew", d, 5)
	})
}

func TestJournalOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	mustAppend(t, first, 1)
	must(t, first.Turn("doc"))
	mustAppend(t, first, 2)
	must(t, first.Close())
	if err := first.Append("doc", doc{}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("an append after the end: %v", err)
	}
	// The next line was being written when the process ended.
	path := filepath.Join(dir, "doc.journal")
	whole, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, append(whole, `{"A":3`...), 0o600))
	second := open(t, dir)
	wantJournal(t, "of the former process", second, 1, 2)
	mustAppend(t, second, 4)
	wantJournal(t, "gone on with", second, 1, 2, 4)
}

func TestCorruptJournal(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "doc.journal"), []byte("{\"A\":1}\nnonsense\n{\"A\":2}\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "doc.journal-turned"), []byte("{\"A\":0}\n"), 0o600))
	d := open(t, dir)
	got, err := replay(d)
	if corrupt := new(store.CorruptError); !errors.As(err, &corrupt) || filepath.Base(corrupt.Aside) != "doc.journal.corrupt-1" {
		t.Errorf("error %v, want a corrupt journal set aside", err)
	}
	if diff := cmp.Diff([]int{0, 1}, got); diff != "" {
		t.Errorf("what is whole (-want +got):\n%s", diff)
	}
	mustAppend(t, d, 5)
	wantJournal(t, "afterwards", d, 0, 5)
}
