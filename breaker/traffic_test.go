package breaker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakwater/breakwater/policy"
)

func (f *fakeEnvoy) scraped() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.scrapes
}

// However many ask, a proxy is asked once a second; one who has waited that long has new counts.
func TestTrafficIsReadOnceForAll(t *testing.T) {
	f := start(t, []*policy.Service{service("other"), service("svc")}, "p1")
	e := f.envoys["p1"]
	begin := time.Now()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, err := f.Traffic(t.Context(), "svc")
			if err != nil || got.Service != "svc" || len(got.Proxies) != 1 || got.Proxies[0].Error != "" || got.Proxies[0].Requests["success"] == 0 {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n, most := e.scraped(), 1+int(time.Since(begin)/trafficInterval); n > most {
		t.Errorf("50 who asked at once were %d readings, want at most %d", n, most)
	}
	// What is asked of one service is not told of another.
	before := e.scraped()
	if got, err := f.Traffic(t.Context(), "other"); err != nil || got.Service != "other" || e.scraped() != before+1 {
		t.Errorf("%+v, %v after %d readings", got, err, e.scraped()-before)
	}
	if _, err := f.Traffic(t.Context(), "nobody"); !errors.Is(err, ErrUnknownService) {
		t.Errorf("of nobody: %v", err)
	}
	// What one asks for does not end with the one who asked first.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Traffic(gone, "svc"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("one who has gone: %v", err)
	}
	first, err := f.Traffic(t.Context(), "svc")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		next, err := f.Traffic(t.Context(), "svc")
		if err != nil || time.Now().After(end) {
			t.Fatalf("no new counts: %v", err)
		}
		if next.Time.Equal(first.Time) {
			continue
		}
		if d := next.Time.Sub(first.Time); d < trafficInterval || next.Proxies[0].Requests["success"] <= first.Proxies[0].Requests["success"] {
			t.Errorf("the next counts %+v came %s after %+v", next, d, first)
		}
		return
	}
}

// A proxy that can not be asked says why, in time, and the others' counts are there.
func TestTrafficOfProxiesThatDoNotAnswer(t *testing.T) {
	f := start(t, []*policy.Service{service("svc")}, "p1", "p2", "p3")
	f.envoys["p2"].hangUp(t)
	f.envoys["p3"].setDown(true)
	begin := time.Now()
	got, err := f.Traffic(t.Context(), "svc")
	if took := time.Since(begin); err != nil || took > trafficTimeout+2*time.Second {
		t.Fatalf("%v after %s", err, took)
	}
	for i, want := range []string{"", "deadline exceeded", "503"} {
		if p := got.Proxies[i]; !strings.Contains(p.Error, want) || (p.Error == "") != (want == "") {
			t.Errorf("%s: error %q, want %q", p.Proxy, p.Error, want)
		}
	}
	if got.Proxies[0].Requests["success"] != 1 {
		t.Errorf("%+v", got.Proxies[0])
	}
}

// One who asks a little before a reading is due waits for it; one who asks earlier has the last one.
func TestReadingsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := readings{last: map[string]*reading{}}
		reads := 0
		join := func() (*reading, time.Duration) {
			return s.join("svc", time.Now(), func(r *reading) {
				reads++
				<-time.After(100 * time.Millisecond)
				r.traffic.Time = r.begun
			})
		}
		first, wait := join()
		if again, w := join(); again != first || wait != 0 || w != 0 {
			t.Errorf("one that is under way is not shared: wait %s", w)
		}
		<-first.done
		for _, tt := range []struct{ at, wait time.Duration }{
			{100 * time.Millisecond, 0},
			{799 * time.Millisecond, 0},
			{800 * time.Millisecond, 200 * time.Millisecond},
			{999 * time.Millisecond, time.Millisecond},
		} {
			<-time.After(time.Until(first.begun.Add(tt.at)))
			if r, wait := join(); r != first || wait != tt.wait {
				t.Errorf("after %s: wait %s, want %s", tt.at, wait, tt.wait)
			}
		}
		<-time.After(time.Millisecond)
		next, wait := join()
		if next == first || wait != 0 || len(s.last) != 1 {
			t.Errorf("after a second there is no other: wait %s of %d", wait, len(s.last))
		}
		<-next.done
		if reads != 2 {
			t.Errorf("%d readings, want 2", reads)
		}
	})
}
