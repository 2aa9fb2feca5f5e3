package envoy

import (
	"context"
	"errors"
	"time"
)

// How an Envoy that hangs is told from one that is busy. /ready needs nothing but a turn of the main thread, which
// takes configuration too: thousands of clusters, or a scrape of all statistics, take seconds.
const (
	probeEvery   = time.Second
	firstEvery   = 100 * time.Millisecond // until the first answer
	probeTimeout = 2 * time.Second
	// hangTime is how long a main thread that does nothing may leave its admin API unanswered, startTime how long before
	// its first answer, and busyTime how long one that works.
	hangTime  = 8 * time.Second
	startTime = 20 * time.Second
	busyTime  = 60 * time.Second
	// busyShare is the part of a core that a main thread that works has used at least.
	busyShare = 0.2
)

// silence measures how long an Envoy has not answered. Time in which this process itself did not run is not counted, for
// then Envoy may not have run either.
type silence struct {
	answered bool
	// silent is the time since the last answer, or since the start, and worked the main thread's time on a CPU meanwhile.
	silent, worked time.Duration
}

// add takes in a probe: whether there was an answer, how long it took since the probe before, how long it should have at
// most, and what the main thread has worked meanwhile.
func (s *silence) add(answered bool, took, bound, worked time.Duration) {
	if answered {
		*s = silence{answered: true}
		return
	}
	s.silent += min(took, bound)
	s.worked += worked
}

// hangs reports whether Envoy is to be replaced.
func (s *silence) hangs() bool {
	switch {
	case float64(s.worked) >= busyShare*float64(s.silent):
		return s.silent >= busyTime
	case !s.answered:
		return s.silent >= startTime
	}
	return s.silent >= hangTime
}

// untilHang returns true once the Envoy of that pid hangs, and false when ctx ends before. ask asks its admin API.
func untilHang(ctx context.Context, pid int, ask func(context.Context) error) bool {
	var s silence
	tick := time.NewTicker(firstEvery)
	defer tick.Stop()
	last, worked := time.Now(), cpuTime(pid)
	for !s.hangs() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		err := ask(probe)
		cancel()
		var status *StatusError
		now, work := time.Now(), cpuTime(pid)
		answers := err == nil || errors.As(err, &status)
		if answers && !s.answered {
			tick.Reset(probeEvery)
		}
		s.add(answers, now.Sub(last), probeEvery+probeTimeout, work-worked)
		last, worked = now, work
	}
	return ctx.Err() == nil
}
