package watch

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/breakwater/breakwater/policy"
)

func TestLoadAppliesBeforeItReturns(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001"), "b.yaml": doubtful("b")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		if s := h.Status(); s.OK || !s.LastAttempt.IsZero() {
			t.Errorf("status before Load: %+v", s)
		}
		h.wantMetrics(t, map[string]float64{
			"last_reload_successful": 0, "hash": 0, "reloads_total/success": 0, "problems/error": 0, "problems/warning": 0,
		})
		must(t, h.Load(t.Context()))
		wantServed(t, h, "a=8001 b=8008")
		s := h.next(t)
		if !s.OK || s.Services != 2 || s.Digest != h.applied[0].Digest || s.Stale != nil ||
			!s.LastSuccess.Equal(s.LastAttempt) || s.LastAttempt.IsZero() {
			t.Errorf("status %+v", s)
		}
		if len(s.Problems) == 0 || s.Problems[0].Severity != policy.SeverityWarning || s.Problems[0].Service != "b" {
			t.Fatalf("problems %v, want a warning for b", s.Problems)
		}
		h.wantMetrics(t, map[string]float64{
			"last_reload_successful": 1, "last_reload_success_timestamp_seconds": seconds(s.LastSuccess),
			"hash": hashNumber(s.Digest), "reloads_total/success": 1, "reloads_total/partial": 0,
			"problems/error": 0, "problems/warning": float64(len(s.Problems)),
		})
		s.Problems[0].Message = "changed by a reader"
		if h.Status().Problems[0].Message == s.Problems[0].Message {
			t.Error("Status shares its memory with its readers")
		}
	})
}

func TestRunAppliesEachChangeOnce(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		h.start(t)
		noAttempt(t, h, 10*time.Second)
		write(t, filepath.Join(dir, "b.yaml"), good("b", "8002"))
		h.next(t)
		wantServed(t, h, "a=8001 b=8002")
		must(t, os.Remove(filepath.Join(dir, "a.yaml")))
		h.next(t)
		wantServed(t, h, "b=8002")
		noAttempt(t, h, 10*time.Second)
		if n := h.timesApplied(); n != 3 {
			t.Errorf("applied %d times, want 3", n)
		}
	})
}

func TestFaultIsConfined(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001"), "b.yaml": good("b", "8002")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		first := h.start(t)

		write(t, filepath.Join(dir, "a.yaml"), bad("a"))
		write(t, filepath.Join(dir, "b.yaml"), good("b", "8003"))
		s := h.next(t)
		wantServed(t, h, "a=8001 b=8003")
		if s.OK || !slices.Equal(s.Stale, []string{"a"}) || s.Services != 2 || !s.LastSuccess.Equal(first.LastSuccess) ||
			!s.LastAttempt.After(first.LastAttempt) {
			t.Errorf("status %+v", s)
		}
		if len(s.Problems) != 1 || s.Problems[0].Position.File != "a.yaml" || s.Problems[0].Position.Line == 0 {
			t.Errorf("problems %v, want one with its place", s.Problems)
		}
		h.wantMetrics(t, map[string]float64{
			"last_reload_successful": 0, "last_reload_success_timestamp_seconds": seconds(first.LastSuccess),
			"reloads_total/success": 1, "reloads_total/partial": 1, "problems/error": 1,
		})

		write(t, filepath.Join(dir, "b.yaml"), good("b", "8004"))
		h.next(t)
		wantServed(t, h, "a=8001 b=8004")
		if n := strings.Count(h.log.String(), "[ERROR] policy is not valid"); n != 1 {
			t.Errorf("the same problem was logged %d times:\n%s", n, h.log.String())
		}
		for _, want := range []string{"file=a.yaml", "line=", "column=", "service=a"} {
			if !strings.Contains(h.log.String(), want) {
				t.Errorf("no %q in the log:\n%s", want, h.log.String())
			}
		}

		write(t, filepath.Join(dir, "a.yaml"), good("a", "8005"))
		if s := h.next(t); !s.OK || s.Stale != nil || len(s.Problems) != 0 {
			t.Errorf("status %+v", s)
		}
		wantServed(t, h, "a=8005 b=8004")

		write(t, filepath.Join(dir, "a.yaml"), bad("a"))
		h.next(t)
		if n := strings.Count(h.log.String(), "[ERROR] policy is not valid"); n != 2 {
			t.Errorf("a problem that came back was logged %d times in all, want 2", n)
		}
	})
}

// A warning about a last good version would point into a file that has other lines now.
func TestLastGoodVersionsRaiseNoWarning(t *testing.T) {
	const shared = "retry: {methods: [GET, POST]}\n"
	for name, tt := range map[string]struct {
		files map[string]string
		spoil func(t *testing.T, dir string)
	}{
		"a wrong document": {
			map[string]string{"a.yaml": doubtful("a"), "b.yaml": doubtful("b")},
			func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a.yaml"), "# longer\n"+bad("a")) },
		},
		"wrong defaults": {
			map[string]string{"defaults.yaml": shared, "a.yaml": good("a", "8001"), "b.yaml": doubtful("b")},
			func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "defaults.yaml"), "# longer\nretry: {methods: 1}\n")
			},
		},
		"a file that can not be read": {
			map[string]string{"a.yaml": doubtful("a"), "b.yaml": doubtful("b")},
			func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, "a.yaml")))
				must(t, os.Symlink("a.yaml", filepath.Join(dir, "a.yaml")))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, tt.files, func(t *testing.T, dir string) {
				h := newHarness(t, dir, nil)
				before := warnedOf(h.start(t))
				if len(before) != 2 || !slices.Contains(before, "b.yaml") {
					t.Fatalf("warnings about %v, want one of b.yaml and of another file", before)
				}
				tt.spoil(t, dir)
				s := h.next(t)
				if got := warnedOf(s); s.OK || !slices.Equal(got, []string{"b.yaml"}) {
					t.Errorf("warnings about %v, want b.yaml alone; status %+v", got, s)
				}
			})
		})
	}
}

// warnedOf are the files that there is a warning about, in ascending order.
func warnedOf(s Status) []string {
	files := map[string]bool{}
	for _, p := range s.Problems {
		if p.Severity == policy.SeverityWarning {
			files[p.Position.File] = true
		}
	}
	return slices.Sorted(maps.Keys(files))
}

func TestUnreadableFileKeepsItsContent(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001"), "b.yaml": good("b", "8002")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		h.start(t)
		must(t, os.Remove(filepath.Join(dir, "a.yaml")))
		must(t, os.Symlink("nowhere", filepath.Join(dir, "a.yaml")))
		must(t, os.Symlink("nowhere", filepath.Join(dir, "c.yaml")))
		write(t, filepath.Join(dir, "b.yaml"), good("b", "8003"))
		s := h.next(t)
		wantServed(t, h, "a=8001 b=8003")
		if s.OK || !slices.Equal(s.Stale, []string{"a"}) || len(s.Problems) != 2 ||
			s.Problems[0].Position.File != "a.yaml" || s.Problems[1].Position.File != "c.yaml" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestVanishedDirectoryDropsNothing(t *testing.T) {
	for name, vanish := range map[string]func(dir string) error{
		"vanished": os.RemoveAll,
		"emptied":  func(dir string) error { return os.Remove(filepath.Join(dir, "a.yaml")) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, map[string]string{"a.yaml": good("a", "8001")}, func(t *testing.T, dir string) {
				h := newHarness(t, dir, nil)
				h.start(t)
				must(t, vanish(dir))
				s := h.next(t)
				if s.OK || s.Services != 1 || !slices.Equal(s.Stale, []string{"a"}) || len(s.Problems) != 1 ||
					s.Problems[0].Position.File != dir || h.timesApplied() != 1 {
					t.Errorf("applied %d times, status %+v", h.timesApplied(), s)
				}
				h.wantMetrics(t, map[string]float64{"reloads_total/failure": 1, "hash": hashNumber(s.Digest)})
				must(t, os.MkdirAll(dir, 0o700))
				write(t, filepath.Join(dir, "a.yaml"), good("a", "8002"))
				if s := h.next(t); !s.OK || s.Stale != nil {
					t.Errorf("status %+v", s)
				}
				h.next(t)
				wantServed(t, h, "a=8002")
			})
		})
	}
}

func TestFailedApplyKeepsTheFormerSet(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001")}, func(t *testing.T, dir string) {
		kept := &lastGood{}
		h := newHarness(t, dir, func(o *Options) { o.LastGood = kept })
		first := h.start(t)
		h.failApply(errors.New("cluster a: no such thing"))
		write(t, filepath.Join(dir, "a.yaml"), good("a", "8002"))
		s := h.next(t)
		if s.OK || s.Digest != first.Digest || len(s.Problems) != 1 ||
			!strings.Contains(s.Problems[0].Message, "cluster a: no such thing") {
			t.Errorf("status %+v", s)
		}
		h.wantMetrics(t, map[string]float64{"reloads_total/failure": 1, "last_reload_successful": 0})
		if diff := cmp.Diff(map[string]string{"a.yaml": good("a", "8001")}, contents(kept.files)); diff != "" {
			t.Errorf("stored files (-want +got):\n%s", diff)
		}
		h.failApply(nil)
		write(t, filepath.Join(dir, "a.yaml"), good("a", "8003"))
		if s := h.next(t); !s.OK {
			t.Errorf("status %+v", s)
		}
		wantServed(t, h, "a=8003")
	})
}

func TestRefusedStartSaysOneThing(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": doubtful("a"), "b.yaml": bad("b")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, nil)
		taken := errors.New("the address is taken")
		h.failApply(taken)
		if err := h.Load(t.Context()); !errors.Is(err, taken) || err.Error() != taken.Error() || h.log.Len() != 0 {
			t.Errorf("Load = %v, want %v alone; log:\n%s", err, taken, h.log.String())
		}
	})
}

func TestStrictRefusesAtStart(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"errors":   {"a.yaml": bad("a"), "b.yaml": bad("b"), "c.yaml": good("c", "8001")},
		"warnings": {"a.yaml": doubtful("a"), "b.yaml": doubtful("b")},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, files, func(t *testing.T, dir string) {
				h := newHarness(t, dir, func(o *Options) { o.Strict = true })
				err := h.Load(t.Context())
				var refused *ProblemsError
				if !errors.As(err, &refused) || len(h.applied) != 0 {
					t.Fatalf("Load = %v, applied %d times; want a ProblemsError, nothing applied", err, len(h.applied))
				}
				for _, file := range []string{"a.yaml:", "b.yaml:"} {
					if !strings.Contains(err.Error(), file) {
						t.Errorf("no %q in %q", file, err)
					}
				}
				if h.log.Len() != 0 {
					t.Errorf("beside the error the log says:\n%s", h.log.String())
				}
				if s := h.next(t); s.OK || s.Digest != "" || s.Services != 0 || len(s.Problems) != len(refused.Problems) {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

func TestStrictStartGoesOnLikeAnyOther(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001"), "b.yaml": good("b", "8002")}, func(t *testing.T, dir string) {
		h := newHarness(t, dir, func(o *Options) { o.Strict = true })
		h.start(t)
		write(t, filepath.Join(dir, "a.yaml"), bad("a"))
		write(t, filepath.Join(dir, "b.yaml"), good("b", "8003"))
		h.next(t)
		wantServed(t, h, "a=8001 b=8003")
	})
}

func TestStartWithFaults(t *testing.T) {
	stored := []policy.File{{Name: "a.yaml", Data: []byte(good("a", "7001"))}}
	tests := []struct {
		name    string
		files   map[string]string // nil: no directory
		stored  lastGood
		want    string
		wantErr error
		stale   []string
		log     string
	}{
		{
			name:  "wrong document, none stored: left out",
			files: map[string]string{"a.yaml": bad("a"), "b.yaml": good("b", "8002")},
			want:  "b=8002",
		}, {
			name:   "wrong document, one stored: that one",
			files:  map[string]string{"a.yaml": bad("a"), "b.yaml": good("b", "8002")},
			stored: lastGood{files: stored},
			want:   "a=7001 b=8002",
			stale:  []string{"a"},
		}, {
			name:   "removed while down: not brought back",
			files:  map[string]string{"b.yaml": good("b", "8002")},
			stored: lastGood{files: stored},
			want:   "b=8002",
		}, {
			name:   "no directory, policies stored: those",
			stored: lastGood{files: stored},
			want:   "a=7001",
			stale:  []string{"a"},
		}, {
			name:    "no directory, none stored",
			wantErr: fs.ErrNotExist,
		}, {
			name:    "store can't be read, no directory",
			stored:  lastGood{loadErr: errors.New("the state is corrupt")},
			wantErr: fs.ErrNotExist,
			log:     "the state is corrupt",
		}, {
			name:   "store can't be written",
			files:  map[string]string{"b.yaml": good("b", "8002")},
			stored: lastGood{saveErr: errors.New("disk full")},
			want:   "b=8002",
			log:    "disk full",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.files, func(t *testing.T, dir string) {
				if tt.files == nil {
					must(t, os.Remove(dir))
				}
				h := newHarness(t, dir, func(o *Options) { o.LastGood = &tt.stored })
				err := h.Load(t.Context())
				if !errors.Is(err, tt.wantErr) {
					t.Errorf("Load = %v, want %v", err, tt.wantErr)
				}
				if err != nil && (strings.Contains(err.Error(), "\n") || strings.Contains(h.log.String(), dir)) {
					t.Errorf("Load = %v, want one line and nothing about it in the log:\n%s", err, h.log.String())
				}
				wantServed(t, h, tt.want)
				if s := h.next(t); !slices.Equal(s.Stale, tt.stale) {
					t.Errorf("stale %v, want %v", s.Stale, tt.stale)
				}
				if !strings.Contains(h.log.String(), tt.log) {
					t.Errorf("no %q in the log:\n%s", tt.log, h.log.String())
				}
			})
		})
	}
}

// What was in force before the restart is in force after it, from the store alone.
func TestStoredFilesMakeTheSameSet(t *testing.T) {
	bubble(t, map[string]string{"a.yaml": good("a", "8001"), "b.yaml": good("b", "8002")}, func(t *testing.T, dir string) {
		kept := &lastGood{}
		h := newHarness(t, dir, func(o *Options) { o.LastGood = kept })
		h.start(t)
		write(t, filepath.Join(dir, "a.yaml"), bad("a"))
		write(t, filepath.Join(dir, "b.yaml"), good("b", "8003"))
		before := h.next(t)

		again := newHarness(t, filepath.Join(dir, "gone"), func(o *Options) { o.LastGood = kept })
		must(t, again.Load(t.Context()))
		wantServed(t, again, "a=8001 b=8003")
		if after := again.next(t); after.Digest != before.Digest {
			t.Errorf("digest %s, before the restart %s", after.Digest, before.Digest)
		}
	})
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	h := newHarness(t, t.TempDir(), nil)
	_, err := NewReloader(Options{Source: &Source{}, Registerer: h.registry})
	if already := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &already) {
		t.Errorf("NewReloader = %v, want AlreadyRegisteredError", err)
	}
}

// The reload must reach Apply with a real edit seen by file events.
func TestEditReachesApplyByEvents(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": good("a", "8001")})
	sets := make(chan map[string]string, 10)
	r, err := NewReloader(Options{
		Source: &Source{Dir: dir, Poll: time.Hour},
		Apply: func(_ context.Context, set *policy.Set) error {
			ports := map[string]string{}
			for _, svc := range set.Services {
				ports[svc.Name] = port(svc)
			}
			sets <- ports
			return nil
		},
	})
	must(t, err)
	must(t, r.Load(t.Context()))
	<-sets
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })

	write(t, filepath.Join(dir, "a.yaml"), good("a", "8002"))
	timeout := time.After(deadline)
	for {
		select {
		case ports := <-sets:
			if maps.Equal(ports, map[string]string{"a": "8002"}) {
				return
			}
		case <-timeout:
			t.Fatalf("not applied within %v", deadline)
		}
	}
}
