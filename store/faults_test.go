package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/store"
)

// deadline bounds what a test waits for.
const deadline = 20 * time.Second

// within fails unless do returns before the deadline.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatalf("%s does not return within %s", what, deadline)
	}
}

// metricsOf is what a store's metrics say, by document.
func metricsOf(t *testing.T, d *store.Dir) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(d)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		line := f.GetName()
		for _, m := range f.GetMetric() {
			line += fmt.Sprintf(" %s=%v", m.GetLabel()[0].GetValue(), m.GetCounter().GetValue()+m.GetGauge().GetValue())
		}
		out = append(out, line)
	}
	return strings.Join(out, ", ")
}

// What could not be saved is a fault, and is saved as soon as that works: by Run, or at the end.
func TestUnsavedIsSavedAgain(t *testing.T) {
	for _, by := range []string{"Run", "Close"} {
		t.Run(by, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			d := open(t, dir)
			if err := d.Save("saved", doc{A: 1}); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			for n := range 2 {
				if err := d.Save("orders", doc{A: n}); err == nil {
					t.Fatal("a directory that is gone takes a document")
				}
			}
			if f := d.Faults(); len(f) != 1 || f[0].Document != "orders" || f[0].Err == nil || f[0].Since.IsZero() || !d.Unsaved("orders") || d.Unsaved("saved") {
				t.Fatalf("faults %+v", f)
			}
			want := "breakwater_store_save_failures_total orders=2 saved=0, breakwater_store_unsaved orders=1 saved=0"
			if got := metricsOf(t, d); got != want {
				t.Errorf("metrics %s, want %s", got, want)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if by == "Run" {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- d.Run(ctx) }()
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for end := time.Now().Add(deadline); d.Unsaved("orders"); <-tick.C {
					if time.Now().After(end) {
						t.Fatalf("not saved within %s: %+v", deadline, d.Faults())
					}
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			var got doc
			if found, err := open(t, dir).Load("orders", &got); !found || err != nil || got.A != 1 {
				t.Errorf("found %t, %+v, %v", found, got, err)
			}
		})
	}
}

// Whatever is in the place of a state file and is none is set aside, and blocks nobody.
func TestOtherFilesInTheStateDirectory(t *testing.T) {
	for kind, put := range map[string]func(path string) error{
		"named pipe": func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory":  func(path string) error { return os.MkdirAll(filepath.Join(path, "full"), 0o700) },
		"device":     func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		for _, name := range []string{store.FileName, "orders.journal", "orders.journal-turned"} {
			for _, when := range []string{"before the start", "after it"} {
				t.Run(kind+" as "+name+" "+when, func(t *testing.T) {
					dir := t.TempDir()
					path := filepath.Join(dir, name)
					early := when == "before the start"
					if early {
						if err := put(path); err != nil {
							t.Fatal(err)
						}
					}
					within(t, "a life", func() {
						d, err := store.Open(dir, nil)
						if err != nil {
							t.Errorf("open: %v", err)
							return
						}
						var v doc
						_, loadErr := d.Load("orders", &v)
						replayErr := d.Replay("orders", func([]byte) error { return nil })
						if told := loadErr != nil || replayErr != nil || len(d.Faults()) > 0; told != early {
							t.Errorf("load: %v, replay: %v, faults: %v", loadErr, replayErr, d.Faults())
						}
						if !early {
							_ = os.RemoveAll(path)
							if err := put(path); err != nil {
								t.Error(err)
							}
						}
						for i, err := range []error{d.Append("orders", doc{A: 1}), d.Turn("orders"), d.Save("orders", doc{A: 2}), d.Drop("orders")} {
							if err != nil {
								t.Errorf("step %d: %v", i+1, err)
							}
						}
						if err := d.Close(); err != nil {
							t.Error(err)
						}
					})
					var v doc
					if found, err := open(t, dir).Load("orders", &v); !found || err != nil || v.A != 2 {
						t.Errorf("the next life loads %t, %+v, %v", found, v, err)
					}
				})
			}
		}
	}
}
