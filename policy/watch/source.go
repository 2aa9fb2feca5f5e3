package watch

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/policy"
)

const (
	defaultPoll = time.Second
	// settleTime is how long content must stay the same before it is handed on. Event,
	// read, wait and second read fit in 10 ms at 1,000 files.
	settleTime = 3 * time.Millisecond
	// lingerTime takes its place where a file has vanished or was emptied: editors that
	// move the old file away, or truncate it, before they write the new one must not
	// take a service down.
	lingerTime = 50 * time.Millisecond
	// unsettledTime is how long content may keep changing before the log says so.
	unsettledTime = time.Second
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
	// without file events; 0 means 1 s.
	Poll time.Duration
	// Log is where trouble with file events is said; nil means nowhere.
	Log hclog.Logger

	// newHinter replaces file events in tests.
	newHinter func(dir string, log hclog.Logger) (hinter, error)
}

// Read returns the directory's content once it has settled, or as it is when ctx
// is done.
func (s *Source) Read(ctx context.Context) Snapshot {
	now, _ := s.settle(ctx, newReader(s.Dir), Snapshot{}, everything)
	return now
}

// Run calls deliver with the first snapshot and then with each that differs from
// the one before, from one goroutine, until ctx is done; then it returns nil.
// Changes during a call are seen after it.
func (s *Source) Run(ctx context.Context, deliver func(Snapshot)) error {
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
	var last Snapshot
	again := make(chan struct{}, 1)
	budget := fruitlessHints
	for d := everything; ; {
		next, ok := s.settle(ctx, r, last, d)
		if !ok {
			return nil
		}
		changed := next.Digest != last.Digest
		switch {
		case changed:
			deliver(next)
			last = next
			budget = fruitlessHints
		case d == changedOnly:
			budget--
		}
		if changed || d == everything {
			events.follow(r.links())
		}
		if events.renew() {
			select {
			case again <- struct{}{}:
			default:
			}
		}

		hints := events.hints()
		var rested <-chan time.Time
		if budget <= 0 {
			hints, rested = nil, time.After(restTime)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			d = changedOnly
		case <-hints:
			d = changedOnly
		case <-rested:
			d = changedOnly
		case <-ticker.C:
			d = everything
			budget = fruitlessHints
		}
	}
}

// settle reads until the content stays the same, and returns it; at once if it is
// what was delivered last. ok is false if ctx is done before.
func (s *Source) settle(ctx context.Context, r *reader, last Snapshot, d depth) (now Snapshot, ok bool) {
	start := time.Now()
	since := start
	warned := false
	// From the start of a read to the start of the next, so that a long read counts.
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	now = r.read(d)
	for now.Digest != last.Digest {
		select {
		case <-ctx.Done():
			return now, false
		case <-timer.C:
		}
		timer.Reset(settleTime)
		next := r.read(d)
		switch {
		case next.Digest != now.Digest:
			now, since = next, time.Now()
		case !loses(last, now) || time.Since(since) >= lingerTime:
			return now, true
		}
		if !warned && time.Since(start) > unsettledTime {
			warned = true
			s.logger().Warn("policy files keep changing; waiting until they are still", "dir", s.Dir)
		}
	}
	return now, ctx.Err() == nil
}

// loses reports whether a file of before has vanished or was emptied in now.
func loses(before, now Snapshot) bool {
	if before.Err == nil && now.Err != nil {
		return true
	}
	content := make(map[string]policy.File, len(now.Files))
	for _, f := range now.Files {
		content[f.Name] = f
	}
	for _, f := range now.Faults {
		content[f.Name] = policy.File{Data: []byte(f.Err.Error())}
	}
	for _, f := range before.Files {
		if len(f.Data) > 0 && len(content[f.Name].Data) == 0 {
			return true
		}
	}
	return false
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

func (noEvents) hints() <-chan struct{} { return nil }
func (noEvents) follow([]string)        {}
func (noEvents) renew() bool            { return false }
func (noEvents) close() error           { return nil }
