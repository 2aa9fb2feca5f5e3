package breaker

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func windowOf(size uint32) *window {
	w := &window{}
	w.resize(size)
	return w
}

func wantWindow(t *testing.T, w *window, attempts, failures uint64) {
	t.Helper()
	if w.attempts != attempts || w.failures != failures {
		t.Fatalf("%d of %d failed, want %d of %d; batches %+v", w.failures, w.attempts, failures, attempts, w.batches)
	}
}

func TestWindowBatches(t *testing.T) {
	w := windowOf(100)
	w.add(0, []HostResults{{"a", 990, 10}})
	wantWindow(t, w, 100, 1) // in proportion

	w = windowOf(100)
	w.add(0, []HostResults{{"a", 900, 0}, {"b", 98, 2}})
	wantWindow(t, w, 100, 1) // rounded up

	w = windowOf(100)
	w.add(0, []HostResults{{"a", 48, 2}})
	w.add(0, []HostResults{{"a", 50, 0}})
	wantWindow(t, w, 100, 2) // what is there as a whole counts as a whole
	w.add(0, []HostResults{{"a", 24, 0}})
	wantWindow(t, w, 100, 2)
	w.add(0, []HostResults{{"a", 1, 0}})
	wantWindow(t, w, 100, 1)
	w.add(0, []HostResults{{"a", 24, 0}})
	wantWindow(t, w, 100, 1) // the last stays while any of its batch does
	w.add(0, []HostResults{{"a", 1, 0}})
	wantWindow(t, w, 100, 0)
	if len(w.batches) != 1 {
		t.Fatalf("%d batches without failures", len(w.batches))
	}
	w.add(0, []HostResults{{"a", 0, 0}})
	w.add(0, nil)
	wantWindow(t, w, 100, 0)
}

// Of a batch that leaves, the hosts' failures leave in proportion too, so that a discount finds what is there.
func TestWindowHostsLeaveInProportion(t *testing.T) {
	w := windowOf(100)
	w.add(0, []HostResults{{"a", 0, 600}, {"b", 0, 300}, {"c", 100, 0}})
	wantWindow(t, w, 100, 90)
	w.discount([]string{"a", "z"})
	wantWindow(t, w, 40, 30)
	w.discount([]string{"b"})
	wantWindow(t, w, 10, 0)
	w.discount([]string{"b"})
	wantWindow(t, w, 10, 0)

	w = windowOf(10)
	w.add(0, []HostResults{{"a", 0, 5}, {"b", 0, 5}})
	for range 4 {
		w.add(0, []HostResults{{"c", 1, 0}})
	}
	wantWindow(t, w, 10, 6)
	w.discount([]string{"a"})
	wantWindow(t, w, 7, 3)
}

// What leaves after a discount leaves in the proportion of what the discount left.
func TestWindowLeavesInProportionAfterADiscount(t *testing.T) {
	w := windowOf(10)
	w.add(0, []HostResults{{"a", 0, 4}, {"b", 4, 2}})
	w.discount([]string{"a"})
	wantWindow(t, w, 6, 2)
	w.add(0, []HostResults{{"c", 7, 0}})
	wantWindow(t, w, 10, 1)
}

func TestWindowDiscountLeavesNoEmptyBatch(t *testing.T) {
	w := windowOf(10)
	w.add(1, []HostResults{{"a", 0, 3}})
	w.add(2, []HostResults{{"b", 1, 1}, {"a", 0, 1}})
	w.discount([]string{"a"})
	wantWindow(t, w, 2, 1)
	if len(w.batches) != 1 {
		t.Fatalf("batches %+v", w.batches)
	}
}

func TestWindowAbsurdCounts(t *testing.T) {
	w := windowOf(100)
	for range 3 {
		w.add(0, []HostResults{{"a", 1<<64 - 1, 1<<64 - 1}, {"b", 1<<64 - 1, 1<<64 - 1}})
		wantWindow(t, w, 100, 50)
	}
}

// check is what holds for every window.
func (w *window) check(t interface{ Fatalf(string, ...any) }) {
	var attempts, failures uint64
	for i, b := range w.batches {
		if err := b.check(); err != nil {
			t.Fatalf("batch %d: %v: %+v", i, err, b)
		}
		attempts += b.Attempts
		failures += b.Failures
	}
	if attempts != w.attempts || failures != w.failures || w.attempts > w.size || w.failures > w.attempts {
		t.Fatalf("%d of %d in the batches, %d of %d counted, size %d", failures, attempts, w.failures, w.attempts, w.size)
	}
}

// Attempts that come one by one are looked back on exactly.
func TestWindowIsExactOneByOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint32Range(1, 20).Draw(t, "size")
		w := windowOf(size)
		var failed []bool
		for _, f := range rapid.SliceOfN(rapid.Bool(), 0, 100).Draw(t, "failed") {
			one := HostResults{Address: "a", Successes: 1}
			if f {
				one = HostResults{Address: "a", Failures: 1}
			}
			w.add(0, []HostResults{one})
			w.check(t)
			failed = append(failed, f)
			failed = failed[max(0, len(failed)-int(size)):]
			n := 0
			for _, f := range failed {
				if f {
					n++
				}
			}
			if int(w.failures) != n || int(w.attempts) != len(failed) {
				t.Fatalf("%d of %d failed, want %d of %d", w.failures, w.attempts, n, len(failed))
			}
		}
	})
}

// A window counts the failures of the batches that are in it as a whole, and of the one that is there in part its
// proportion, and less than one more.
func TestWindowCountsBatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Uint32Range(1, 50).Draw(t, "size")
		w := windowOf(size)
		type counts struct{ attempts, failures uint64 }
		var all []counts
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			results := rapid.SliceOfN(resultsOf(), 1, 4).Draw(t, "results")
			w.add(0, results)
			w.check(t)
			o := Observation{Hosts: results}
			ok, failed := o.results()
			all = append(all, counts{ok + failed, failed})

			room, failures, part := uint64(size), uint64(0), 0.0
			for _, b := range slices.Backward(all) {
				if b.attempts <= room {
					failures += b.failures
				} else if room > 0 {
					part = float64(b.failures) * float64(room) / float64(b.attempts)
				}
				room -= min(room, b.attempts)
			}
			if got := float64(w.failures) - float64(failures) - part; got < -1e-9 || got >= 1 || w.attempts != uint64(size)-room {
				t.Fatalf("%d of %d failed, want %d + %f of %d", w.failures, w.attempts, failures, part, uint64(size)-room)
			}
		}
	})
}

// After a discount none of the host's failures are there, whatever left the window before, and no one else's are gone.
func TestWindowDiscounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := windowOf(rapid.Uint32Range(1, 50).Draw(t, "size"))
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			w.add(0, rapid.SliceOfN(resultsOf(), 1, 4).Draw(t, "results"))
			if rapid.IntRange(0, 3).Draw(t, "discount") > 0 {
				continue
			}
			out := rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 1, 2, rapid.ID[string]).Draw(t, "ejected")
			var others uint64
			for _, b := range w.batches {
				for _, h := range b.Hosts {
					if !slices.Contains(out, h.Address) {
						others += h.Failures
					}
				}
			}
			successes := w.attempts - w.failures
			w.discount(out)
			w.check(t)
			if w.failures != others || w.attempts-w.failures != successes {
				t.Fatalf("%d of %d failed, want %d and %d successes", w.failures, w.attempts, others, successes)
			}
		}
	})
}

var addresses = []string{"a", "b", "c"}

func resultsOf() *rapid.Generator[HostResults] {
	return rapid.Custom(func(t *rapid.T) HostResults {
		r := HostResults{Address: rapid.SampledFrom(addresses).Draw(t, "host")}
		r.Successes = rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, 200)).Draw(t, "successes")
		if rapid.Bool().Draw(t, "fails") {
			r.Failures = rapid.OneOf(rapid.Uint64Range(0, 3), rapid.Uint64Range(0, 200)).Draw(t, "failures")
		}
		return r
	})
}
