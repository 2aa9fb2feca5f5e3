package watch

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/policy"
)

const (
	// defaultPoll and quietTime together are less than 2 s.
	defaultPoll = 800 * time.Millisecond
	// fruitlessHints bounds the reads at once that found no change, so that a busy
	// neighbour in the directory costs little. After that there is one every restTime
	// until the next poll: the hints may be the late ones of a burst that is not over.
	fruitlessHints = 50
	restTime       = 50 * time.Millisecond
)

// Source watches a directory of policy files: *.yaml and *.yml in the directory
// itself, symbolic links to files included (a Kubernetes ConfigMap's ..data is
// one), hidden files and sub-directories not.
type Source struct {
	// Dir is the directory. It may be a symbolic link, and may vanish and come back.
	Dir string
	// Poll is the time between two full reads, which see every change, with or
	// without file events; 0 means 0.8 s.
	Poll time.Duration
	// Log is where trouble with file events is said; nil means nowhere.
	Log hclog.Logger

	// newHinter replaces file events in tests.
	newHinter func(dir string, log hclog.Logger) (hinter, error)
	// settler is what Read has taken, for Run to go on from.
	settler *settler
}

// Read returns the directory's content as far as it has settled, or as it is when ctx is
// done. It must come before Run, if at all. stored is what was in force before: a file
// that differs from it and has changed just now may be half written, and is awaited for
// quietTime; if it changes on, its stored content stands in.
func (s *Source) Read(ctx context.Context, stored []policy.File) Snapshot {
	s.settler = newSettler(s.Dir, stored)
	r := newReader(s.Dir)
	for end := time.Now().Add(quietTime + closedTime); ; {
		now := time.Now()
		raw := r.read(everything)
		_, next := s.settler.look(raw, now, r.age)
		if next.IsZero() || ctx.Err() != nil || !now.Before(end) {
			out, _ := s.settler.snapshot(now)
			return out
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(earlier(next, end))):
		}
	}
}

// Run calls deliver with the first snapshot and then with each that differs from
// the one before, from one goroutine, until ctx is done; then it returns nil.
// Changes during a call are seen after it. If deliver reports that it holds something
// only because a file is Changed or Gone, it is called again when that is over.
func (s *Source) Run(ctx context.Context, deliver func(Snapshot) (holds bool)) error {
	events, err := s.events()
	if err != nil {
		s.logger().Warn("no file events; changes are seen by the poll", "dir", s.Dir, "error", err)
		events = noEvents{}
	}
	defer func() { _ = events.close() }()

	poll := s.Poll
	if poll <= 0 {
		poll = defaultPoll
	}
	ticker := time.NewTicker(poll)
	defer ticker.Stop()

	// Before the first read, or a change between that and the first watch would have no event.
	events.renew()
	r := newReader(s.Dir)
	st, first := s.settler, s.settler != nil
	if st == nil {
		st = newSettler(s.Dir, nil)
	}
	var digest string // of the last read
	var held time.Time
	again := make(chan struct{}, 1)
	budget := fruitlessHints
	timer := time.NewTimer(0)
	defer timer.Stop()
	for d := everything; ; {
		// What is whole was closed before the read began, and not written until it ended.
		now := time.Now()
		st.mark(events, now)
		raw := r.read(d)
		st.mark(events, time.Now())
		changed, next := st.look(raw, now, nil)
		if changed || first || !held.IsZero() && !now.Before(held) {
			first, budget = false, fruitlessHints
			out, until := st.snapshot(now)
			if held = until; !deliver(out) {
				held = time.Time{}
			}
		} else if d == changedOnly {
			budget--
		}
		if names := st.unsettled(now); names != "" {
			s.logger().Warn("policy files keep changing; they are applied once they are still", "dir", s.Dir, "files", names)
		}
		if raw.Digest != digest || d == everything {
			events.follow(r.links())
		}
		digest = raw.Digest
		if events.renew() {
			select {
			case again <- struct{}{}:
			default:
			}
		}

		hints := events.hints()
		var rested, due <-chan time.Time
		if budget <= 0 {
			hints, rested = nil, time.After(restTime)
		}
		if next = earlier(next, held); !next.IsZero() {
			timer.Reset(time.Until(next))
			due = timer.C
		}
		d = changedOnly
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-hints:
		case <-rested:
		case <-due:
		case <-ticker.C:
			d = everything
			budget = fruitlessHints
		}
	}
}

func (s *Source) logger() hclog.Logger {
	if s.Log == nil {
		return hclog.NewNullLogger()
	}
	return s.Log
}

func (s *Source) events() (hinter, error) {
	if s.newHinter != nil {
		return s.newHinter(s.Dir, s.logger())
	}
	return newFileEvents(s.Dir, s.logger())
}

// noEvents is the hinter of a system without file events.
type noEvents struct{}

func (noEvents) hints() <-chan struct{}         { return nil }
func (noEvents) marks() (map[string]bool, bool) { return nil, false }
func (noEvents) follow(map[string][]string)     {}
func (noEvents) renew() bool                    { return false }
func (noEvents) close() error                   { return nil }
