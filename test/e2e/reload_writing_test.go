package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/test/envoytest"
)

// pause is how long a writer of a policy file pauses: nearly a second.
func pause() { <-time.After(900 * time.Millisecond) }

// must ends the test on an error.
func (s *stack) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestFilesAreWrittenUnderLoad: whatever a writer does within a second to the file of all services, with an open breaker
// beside steady traffic: no request fails, no cluster is replaced or removed, the breaker stays open, and each edit is in
// force at the end.
func TestFilesAreWrittenUnderLoad(t *testing.T) {
	t.Parallel()
	u, broken := envoytest.NewUpstream(t), newScript(t)
	content := func(seconds int) string {
		return other(u, seconds) + "---\n" + layer2("broken", broken, 10*time.Minute) + "\n---\n" + movable("last", u.Addr(), 5, "{prefix: /last}")
	}
	s := newLayer2(t, content(5))
	path := filepath.Join(s.dir, "services.yaml")
	s.live("/other", u, 5)
	s.trip("broken", broken)
	modified, removed := s.modified(), s.stat(s.envoy, "cluster_manager.cluster_removed")
	load := s.newLoad("/other", "/last")

	// write writes the file in these pieces, with a pause after each, and leaves it open meanwhile.
	write := func(pieces ...string) {
		f, err := os.Create(path)
		s.must(err)
		for _, piece := range pieces {
			pause()
			_, err := f.WriteString(piece)
			s.must(err)
		}
		s.must(f.Close())
	}
	faulty := func() {
		s.until("the fault is shown, and all services are those of before", func() error {
			if c := s.config(); c.OK || len(c.Stale) != 3 {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}
	for i, w := range []struct {
		name string
		edit func(whole string)
	}{
		{"in place, slowly", func(whole string) {
			first, rest, _ := strings.Cut(whole, "---\n")
			write(first[:len(first)/2], first[len(first)/2:]+"---\n", rest)
		}},
		{"unlinked and created", func(whole string) {
			s.must(os.Remove(path))
			pause()
			s.must(os.WriteFile(path, []byte(whole), 0o600))
		}},
		{"emptied and closed", func(whole string) {
			s.must(os.WriteFile(path, nil, 0o600))
			pause()
			s.must(os.WriteFile(path, []byte(whole), 0o600))
		}},
		{"torn between two documents and closed", func(whole string) {
			first, _, _ := strings.Cut(whole, "---\n")
			s.must(os.WriteFile(path, []byte(first), 0o600))
			pause()
			s.must(os.WriteFile(path, []byte(whole), 0o600))
		}},
		{"torn within a document, for longer", func(whole string) {
			first, _, _ := strings.Cut(whole, "ream")
			s.must(os.WriteFile(path, []byte(first), 0o600))
			faulty()
			s.must(os.WriteFile(path, []byte(whole), 0o600))
		}},
		{"emptied for longer", func(whole string) {
			s.must(os.Truncate(path, 0))
			faulty()
			s.must(os.WriteFile(path, []byte(whole), 0o600))
		}},
		{"renamed", func(whole string) {
			s.must(os.WriteFile(path, []byte(whole), 0o600))
			path = filepath.Join(s.dir, "renamed.yaml")
			s.must(os.Rename(filepath.Join(s.dir, "services.yaml"), path))
		}},
		{"moved to another file, saved first here", func(whole string) {
			first, rest, _ := strings.Cut(whole, "---\n")
			s.write("renamed.yaml", first)
			pause()
			s.write("second.yaml", rest)
		}},
	} {
		t.Log(w.name)
		w.edit(content(6 + i))
		s.live("/other", u, 6+i)
		s.untilClear()
	}
	load.mustBeClean(200)
	s.mustBeOpen("broken", broken, 5)
	s.mustHaveGone("broken", "closed→open")
	if m, r := s.modified(), s.stat(s.envoy, "cluster_manager.cluster_removed"); m != modified || r != removed {
		t.Errorf("%d clusters were replaced and %d removed", m-modified, r-removed)
	}
	if n := strings.Count(s.log.String(), "policy is not valid"); n != 2 {
		t.Errorf("%d faults were logged, want 2: of the file that was torn and of the one that was emptied, for longer than a second", n)
	}
}

// untilAccepted waits until what every Envoy has accepted is stored.
func (s *stack) untilAccepted() {
	s.t.Helper()
	s.until("what was accepted is stored", func() error {
		documents, err := store.Dump(s.stateDir)
		if err == nil && documents["accepted"] == nil {
			err = fmt.Errorf("stored are %v", documents)
		}
		return err
	})
}

// TestStartWithAcceptedPolicies: the policies are broken on disk and the last good version is gone, but what proxies accepted is there.
func TestStartWithAcceptedPolicies(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStack(t, map[string]string{"other.yaml": other(u, 5)})
	s.live("/other", u, 5)
	s.untilAccepted()
	s.stop()
	db, err := bolt.Open(filepath.Join(s.stateDir, store.FileName), 0o600, &bolt.Options{Timeout: time.Second})
	s.must(err)
	s.must(db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("policies")) }))
	s.must(db.Close())
	s.write("other.yaml", "service: other\nupst")
	load := s.newLoad("/other")
	s.start()
	s.untilConnected(1)
	s.live("/other", u, 5)
	if got := fmt.Sprint(s.config().Stale); got != "[other]" {
		t.Errorf("stale services %s", got)
	}
	load.mustBeClean(50)
}

// TestRejectedIsNotLastGood: a file whose policy every Envoy has rejected is cut off. What goes on is what was accepted
// before, and nobody calls the rejected one the last good version.
func TestRejectedIsNotLastGood(t *testing.T) {
	t.Parallel()
	u := envoytest.NewUpstream(t)
	s := newStrict(t, map[string]string{"picky.yaml": goodPicky(u, 5)})
	s.live("/picky", u, 5)
	r := refusables()[0]
	s.write("picky.yaml", r.bad(u))
	s.untilRefused(r)
	s.write("picky.yaml", "service: picky\nupst")
	s.until("the fault is shown", func() error {
		c := s.config()
		if len(c.Problems) != 1 || c.Problems[0].Severity != "error" {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if c := s.config(); len(c.Stale) != 0 || len(c.Rejections) != 1 {
		t.Errorf("%+v", c)
	}
	if out := s.run("status"); strings.Contains(out, "last good") {
		t.Errorf("status says:\n%s", out)
	}
	s.live("/picky", u, 5)
}
