package watch

import (
	"os"
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
