package store_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
)

// holdLockEnv makes the test binary hold the lock of that directory until its
// standard input ends.
const holdLockEnv = "BREAKWATER_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdLockEnv); dir != "" {
		os.Exit(holdLock(dir))
	}
	if dir := os.Getenv(fillEnv); dir != "" {
		os.Exit(fill(dir))
	}
	os.Exit(m.Run())
}

func holdLock(dir string) int {
	if _, err := store.Open(dir, nil); err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return 1
	}
	os.Stdout.WriteString("locked\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

func open(t *testing.T, dir string) *store.Dir {
	t.Helper()
	d, err := store.Open(dir, nil)
	if err != nil {
		t.Fatalf("Open(%q): %v", dir, err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// eachKind runs test on a store in memory and on one in a directory.
func eachKind(t *testing.T, test func(t *testing.T, d *store.Dir)) {
	t.Run("memory", func(t *testing.T) { test(t, open(t, "")) })
	t.Run("directory", func(t *testing.T) { test(t, open(t, t.TempDir())) })
}

type doc struct{ A, B int }

func TestSaveAndLoad(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		var got doc
		if found, err := d.Load("doc", &got); found || err != nil {
			t.Fatalf("Load before Save = %v, %v; want false, nil", found, err)
		}
		for _, want := range []doc{{1, 2}, {3, 4}} {
			if err := d.Save("doc", want); err != nil {
				t.Fatal(err)
			}
			if found, err := d.Load("doc", &got); !found || err != nil || got != want {
				t.Fatalf("Load = %v, %v, %+v; want true, nil, %+v", found, err, got, want)
			}
		}
	})
}

func TestNamesAreChecked(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		for _, name := range []string{"", "../x", "a/b", "A", "a.json", "-a", "a-", "a--b"} {
			if err := d.Save(name, 1); err == nil || !strings.Contains(err.Error(), strconv.Quote(name)) {
				t.Errorf("Save(%q) = %v, want an error that names it", name, err)
			}
			if _, err := d.Load(name, new(int)); err == nil {
				t.Errorf("Load(%q) succeeded", name)
			}
		}
	})
}

func TestUseAfterClose(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		if err := errors.Join(d.Close(), d.Close()); err != nil {
			t.Fatal(err)
		}
		if err := d.Save("doc", 1); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Save = %v, want ErrClosed", err)
		}
		if _, err := d.Load("doc", new(int)); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Load = %v, want ErrClosed", err)
		}
	})
}

func TestDocumentsSurviveReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state")
	generations := map[string]store.Generation{
		"fraud-service": {Cluster: 3, Hosts: map[string]uint64{"127.0.0.1:8005": 2}},
		"pricing":       {},
	}
	files := []policy.File{{Name: "a.yaml", Data: []byte("service: a\n")}, {Name: "b.yaml", Data: []byte{0xff, 0, '\n'}}}

	d := open(t, dir)
	if g, err := d.LoadGenerations(); err != nil || g == nil || len(g) != 0 {
		t.Fatalf("LoadGenerations before Save = %v, %v; want empty", g, err)
	}
	if f, err := d.Policies("/policies").LoadPolicies(); err != nil || f != nil {
		t.Fatalf("LoadPolicies before Save = %v, %v; want nil", f, err)
	}
	if err := errors.Join(d.SaveGenerations(generations), d.Policies("/policies").SavePolicies(files), d.Close()); err != nil {
		t.Fatal(err)
	}

	d = open(t, dir)
	gotGenerations, err := d.LoadGenerations()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(generations, gotGenerations); diff != "" {
		t.Errorf("generations (-saved +loaded):\n%s", diff)
	}
	gotFiles, err := d.Policies("/policies").LoadPolicies()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, gotFiles); diff != "" {
		t.Errorf("files (-saved +loaded):\n%s", diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the state directory has %v, %v, want one file", entries, err)
	}
	for path, perm := range map[string]fs.FileMode{"": 0o700, store.FileName: 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != perm {
			t.Errorf("%q has mode %v, want %v", path, info.Mode().Perm(), perm)
		}
	}
}

// edit changes the file of a store that nobody has open.
func edit(t *testing.T, dir string, do func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(filepath.Join(dir, store.FileName), 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(do), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// Losing a document costs no more than that document.
func TestCorruptDocumentIsSetAside(t *testing.T) {
	dir := t.TempDir()
	for n, content := range []string{"", `{"fraud-service": {"clus`, `["not", "a", "map"]`} {
		d := open(t, dir)
		if err := errors.Join(d.SaveGenerations(nil), d.Save("doc", doc{A: 1}), d.Close()); err != nil {
			t.Fatal(err)
		}
		edit(t, dir, func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("generations")).Put([]byte("value"), []byte(content))
		})
		d = open(t, dir)
		aside := filepath.Join(dir, "generations.corrupt-"+strconv.Itoa(n+1))
		g, err := d.LoadGenerations()
		var corrupt *store.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Aside != aside || !strings.Contains(err.Error(), "generations is corrupt and was set aside as "+filepath.Base(aside)) {
			t.Fatalf("content %q: error %v, want a CorruptError, aside %s", content, err, aside)
		}
		if g == nil || len(g) != 0 {
			t.Errorf("content %q: generations %v, want empty and not nil", content, g)
		}
		if f := d.Faults(); len(f) != 1 || !f[0].Corrupt || f[0].Document != "generations" {
			t.Errorf("content %q: faults %+v", content, f)
		}
		kept, err := os.ReadFile(aside)
		if err != nil || string(kept) != content {
			t.Errorf("content %q: set aside %q, %v", content, kept, err)
		}
		if _, err := d.LoadGenerations(); err != nil {
			t.Errorf("content %q: second load: %v", content, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		d = open(t, dir)
		var x doc
		if found, err := d.Load("doc", &x); !found || err != nil || x.A != 1 || len(d.Faults()) > 0 {
			t.Errorf("content %q: the other document: %t, %+v, %v; faults %+v", content, found, x, err, d.Faults())
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLog(t *testing.T) {
	load := func(d *store.Dir) (out []string, err error) {
		err = d.LoadLog("log", func(value []byte) error {
			if string(value) == `"bad"` {
				return errors.New("it is bad")
			}
			out = append(out, string(value))
			return nil
		})
		return out, err
	}
	want := func(t *testing.T, d *store.Dir, want ...string) {
		t.Helper()
		got, err := load(d)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("the log has (-want +got):\n%s%v", diff, err)
		}
	}
	eachKind(t, func(t *testing.T, d *store.Dir) {
		want(t, d)
		must(t, d.SaveLog("log", []store.Entry{{ID: 9, Value: "a"}, {ID: 10, Value: "b"}}))
		want(t, d, `"a"`, `"b"`)
		must(t, d.SaveLog("log", []store.Entry{{ID: 10, Value: "c"}, {ID: 11, Value: "bad"}, {ID: 1 << 60, Value: "d"}}))
		d = reopened(t, d)
		got, err := load(d)
		if diff := cmp.Diff([]string{`"c"`, `"d"`}, got); diff != "" {
			t.Errorf("what is whole (-want +got):\n%s", diff)
		}
		if corrupt := (*store.CorruptError)(nil); !errors.As(err, &corrupt) {
			t.Errorf("error %v", err)
		}
		want(t, reopened(t, d), `"c"`, `"d"`)
	})
}

// reopened is the next life of a store; one in memory has only this one.
func reopened(t *testing.T, d *store.Dir) *store.Dir {
	t.Helper()
	if d.Path() == "" {
		return d
	}
	must(t, d.Close())
	return open(t, d.Path())
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	_, err := store.Open(dir, nil)
	want := "already running (process " + strconv.Itoa(os.Getpid()) + "), with the state directory " + dir
	if !errors.Is(err, store.ErrLocked) || err.Error() != want {
		t.Fatalf("second Open = %v, want ErrLocked as %q", err, want)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
}

func TestLockEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdLockEnv+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	if _, err := store.Open(dir, nil); !errors.Is(err, store.ErrLocked) ||
		!strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Fatalf("Open = %v, want ErrLocked by process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	open(t, dir)
}

func TestConcurrentSavesLeaveOneWholeDocument(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := d.Save("doc", doc{i, i}); err != nil {
					t.Error(err)
				}
				var got doc
				if found, err := d.Load("doc", &got); !found || err != nil || got.A != got.B {
					t.Errorf("Load = %v, %v, %+v", found, err, got)
				}
			})
		}
		wg.Wait()
	})
}

func TestFailedSaveKeepsTheFormer(t *testing.T) {
	eachKind(t, func(t *testing.T, d *store.Dir) {
		if err := d.Save("doc", 1); err != nil {
			t.Fatal(err)
		}
		if err := d.Save("doc", func() {}); err == nil {
			t.Fatal("a function was saved")
		}
		var got int
		if found, err := d.Load("doc", &got); !found || err != nil || got != 1 {
			t.Errorf("Load = %v, %v, %d; want the former document", found, err, got)
		}
	})
}
