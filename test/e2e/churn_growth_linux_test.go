package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// grown are the metrics of what must not grow, each with how much it may: a share of what there was, and a number.
var grown = []struct {
	name   string
	series string
	share  float64
	more   float64
}{
	{"goroutines", "go_goroutines", 0, 12},
	{"open files", "process_open_fds", 0, 8},
	{"heap", "go_memstats_heap_inuse_bytes", .25, 8 << 20},
	{"memory", "process_resident_memory_bytes", .25, 32 << 20},
}

// growth is what Breakwater had at several times.
type growth struct{ samples map[string][]float64 }

// measure goes on with some disturbances for a time, and looks at what Breakwater has meanwhile.
func (c *churn) measure(length time.Duration, disturbances []disturbance) growth {
	c.t.Helper()
	g := growth{samples: map[string][]float64{}}
	c.until("all proxies are there", func() error {
		if n := c.metric("breakwater_connected_proxies"); n != 2 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	end := time.Now().Add(length)
	for n := 0; n < 8 || time.Now().Before(end); n++ {
		d := disturbances[n%len(disturbances)]
		c.t.Logf("%s: %s", time.Now().UTC().Format("15:04:05.000"), d.name)
		d.do()
		for range 5 {
			page, err := c.fetch("http://" + c.http + "/metrics")
			if err != nil {
				c.t.Fatal(err)
			}
			g.add(c.t, page)
			c.pause(c.t.Context(), 100*time.Millisecond)
		}
	}
	return g
}

// add adds a sample from a scrape.
func (g growth) add(t testing.TB, scrape string) {
	t.Helper()
	for _, x := range grown {
		i := strings.Index(scrape, "\n"+x.series+" ")
		if i < 0 {
			t.Fatalf("no series %s", x.series)
		}
		text, _, _ := strings.Cut(scrape[i+len(x.series)+2:], "\n")
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		g.samples[x.name] = append(g.samples[x.name], v)
	}
}

// judge prints the growth from the first third to the last, the least of each, and fails the test if something grows.
func (g growth) judge(t testing.TB) {
	t.Helper()
	for _, x := range grown {
		all := g.samples[x.name]
		third := len(all) / 3
		first, last := slices.Min(all[:third]), slices.Min(all[len(all)-third:])
		t.Logf("%-10s from %.0f to %.0f, at most %.0f", x.name, first, last, slices.Max(all))
		if last > first*(1+x.share)+x.more {
			t.Errorf("%s grew from %.0f to %.0f", x.name, first, last)
		}
	}
}
