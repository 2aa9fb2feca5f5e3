package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestRenewTellsARecreatedDirectory: also where the file system gives the new directory the number of the former, so
// that the two have the same identity.
func TestRenewTellsARecreatedDirectory(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "1"})
	e, err := newFileEvents(dir, hclog.NewNullLogger())
	must(t, err)
	defer func() { must(t, e.close()) }()
	if !e.renew() {
		t.Fatal("the first time is not told")
	}
	if e.renew() {
		t.Fatal("nothing has happened, and it is told")
	}
	for range 20 {
		must(t, os.RemoveAll(dir))
		must(t, os.Mkdir(dir, 0o700))
		told, end := false, time.After(5*time.Second)
		for !told {
			select {
			case <-e.hints():
				told = e.renew()
			case <-end:
				t.Fatal("a new directory of the same name is not told")
			}
		}
	}
}

// slowly writes a file in pieces, and then calls between, with the file open.
func slowly(t *testing.T, path, content string, between func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	must(t, err)
	between()
	for i := 0; i < len(content); i += 8 {
		_, err := f.WriteString(content[i:min(i+8, len(content))])
		must(t, err)
		between()
	}
	must(t, f.Close())
}

// TestSlowWriterOfOneFile: its file is taken when it is closed and not before, and other files do not wait for it.
func TestSlowWriterOfOneFile(t *testing.T) {
	const old, whole = "service: a\nupstream: http://a:1\n", "service: a\nupstream: http://a:22\n"
	dir := tree(t, map[string]string{"a.yaml": old, "b.yaml": "b"})
	deliveries := run(t, &Source{Dir: dir, Poll: 10 * time.Millisecond})
	until(t, deliveries, map[string]string{"a.yaml": old, "b.yaml": "b"})
	b := "b"
	slowly(t, filepath.Join(dir, "a.yaml"), whole, func() {
		b += "b"
		replace(t, filepath.Join(dir, "b.yaml"), b)
		if before := until(t, deliveries, map[string]string{"a.yaml": old, "b.yaml": b}); len(before) > 0 {
			t.Errorf("delivered %v", contents(before[0].Files))
		}
	})
	start := time.Now()
	if before := until(t, deliveries, map[string]string{"a.yaml": whole, "b.yaml": b}); len(before) > 0 {
		t.Errorf("delivered %v", contents(before[0].Files))
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("taken %v after the close", took)
	}
}
