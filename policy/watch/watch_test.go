package watch

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/breakwater/breakwater/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds a wait for what must come; it is no measure of speed.
const deadline = 20 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

// replace swaps the file's content in one step. In fake time a read may come at the
// same moment as the change, so that a truncation would be seen again and again.
func replace(t testing.TB, path, content string) {
	t.Helper()
	write(t, path+".tmp", content)
	must(t, os.Rename(path+".tmp", path))
}

// tree writes the files of a new directory and returns it.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "policies")
	must(t, os.Mkdir(dir, 0o700))
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

// configMap lays out a directory as the kubelet does: links to ..data, which is a
// link to the version's directory.
func configMap(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "policies")
	must(t, os.Mkdir(dir, 0o700))
	swapConfigMap(t, dir, "..v1", files)
	for name := range files {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)))
	}
	return dir
}

func swapConfigMap(t testing.TB, dir, version string, files map[string]string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, version), 0o700))
	for name, content := range files {
		write(t, filepath.Join(dir, version, name), content)
	}
	must(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
}

func contents(files []policy.File) map[string]string {
	m := map[string]string{}
	for _, f := range files {
		m[f.Name] = string(f.Data)
	}
	return m
}

// run starts s and returns its deliveries. The test's end stops it.
func run(t *testing.T, s *Source) <-chan Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	deliveries := make(chan Snapshot, 1000)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(s Snapshot) bool { deliveries <- s; return false }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return deliveries
}

// next returns the next delivery.
func next(t *testing.T, deliveries <-chan Snapshot) Snapshot {
	t.Helper()
	select {
	case s := <-deliveries:
		return s
	case <-time.After(deadline):
		t.Fatalf("no delivery within %v", deadline)
		return Snapshot{}
	}
}

// until waits for a delivery of exactly these files, and returns those before it.
func until(t *testing.T, deliveries <-chan Snapshot, want map[string]string) (before []Snapshot) {
	t.Helper()
	timeout := time.After(deadline)
	for {
		select {
		case s := <-deliveries:
			if s.Err == nil && len(s.Faults) == 0 && maps.Equal(contents(s.Files), want) {
				return before
			}
			before = append(before, s)
		case <-timeout:
			last := "nothing was delivered"
			if len(before) > 0 {
				s := before[len(before)-1]
				last = fmt.Sprintf("the last delivery had errors %v and differs (-want +got):\n%s",
					s.errors(), cmp.Diff(want, contents(s.Files)))
			}
			t.Fatalf("not delivered within %v; %s", deadline, last)
		}
	}
}

// quiet checks that nothing is delivered for a while of fake time.
func quiet(t *testing.T, deliveries <-chan Snapshot, d time.Duration) {
	t.Helper()
	select {
	case s := <-deliveries:
		t.Fatalf("delivered %v %v, want nothing", contents(s.Files), s.errors())
	case <-time.After(d):
	}
}

// manual is a hinter driven by the test.
type manual struct {
	c      chan struct{}
	renews int // read it when Run has stopped or the bubble is idle

	// mu guards files.
	mu    sync.Mutex
	files map[string]bool
}

func newManual() *manual { return &manual{c: make(chan struct{}, 1), files: map[string]bool{}} }

func (m *manual) hint() {
	select {
	case m.c <- struct{}{}:
	default:
	}
}

// event says whether the writer of a file is done.
func (m *manual) event(name string, closed bool) {
	m.mu.Lock()
	m.files[name] = closed
	m.mu.Unlock()
	m.hint()
}

func (m *manual) hints() <-chan struct{}     { return m.c }
func (m *manual) follow(map[string][]string) {}
func (m *manual) renew() bool                { m.renews++; return false }
func (m *manual) close() error               { return nil }

func (m *manual) marks() (map[string]bool, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := m.files
	m.files = map[string]bool{}
	return files, false
}

// hintedBy makes a source depend on the test's hints and on the poll.
func hintedBy(m hinter) func(string, hclog.Logger) (hinter, error) {
	return func(string, hclog.Logger) (hinter, error) { return m, nil }
}

// pollOnly makes a source see no file events.
func pollOnly(string, hclog.Logger) (hinter, error) { return noEvents{}, nil }
