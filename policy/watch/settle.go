package watch

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/policy"
)

const (
	// closedTime is how long a file must stay the same after an event that says that its
	// writer is done. Event, read, wait and second read fit in 10 ms at 1,000 files.
	closedTime = 3 * time.Millisecond
	// quietTime is how long a file must stay the same without such an event, and how long a
	// file must be missing: longer than a writer that pauses for a second. With a poll it is
	// less than 2 s.
	quietTime = 1150 * time.Millisecond
	// patience is how long what goes away waits for other files that are being written: it
	// may be in one of them.
	patience = 3 * quietTime
	// closeAge is how long after the event a read can be the first to see the content.
	closeAge = 200 * time.Millisecond
	// unsettledTime is how long a file may keep changing before the log says so.
	unsettledTime = 5 * time.Second
)

// errTorn is the fault of a file that is the beginning of what it was, cut within a line.
var errTorn = errors.New("cut off in the middle of a line: it stays as it was (end the line with a line feed if the file is whole)")

// settler decides when what is read of each file is whole. It has no clock: time comes in
// with what was read. The zero value takes what it sees first after closedTime, for nothing
// can be lost by that.
type settler struct {
	dir     string
	files   map[string]*tracked
	started bool // something was taken
	round   int

	// fault is the directory's that was taken; without Err: none. faultSince is when it was first seen.
	fault      Snapshot
	faultSince time.Time
}

// content is what a read finds under a name.
type content struct {
	data []byte
	sum  [sha256.Size]byte
	err  error // nil if data could be read
	line int   // of err; 0: none
}

func (c *content) is(data []byte, err error) bool {
	switch {
	case c == nil:
		return false
	case c.err != nil || err != nil:
		return c.err != nil && err != nil && c.err.Error() == err.Error()
	}
	return bytes.Equal(c.data, data)
}

func (c *content) same(other *content) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.is(other.data, other.err)
}

// tracked is one name.
type tracked struct {
	// taken is the content that is handed on, torn that of the file that it was taken from if
	// that is cut off, and seen that of the last read; nil: no file.
	taken, torn, seen *content
	// since is when seen was seen first, and differs since when seen is not taken.
	since, differs time.Time
	// changed is when the content that is taken came: at a start, in place of what was stored, the start.
	changed time.Time
	// closed is true if the last event of the file says that its writer is done, and closedAt
	// when that was noticed.
	closed   bool
	closedAt time.Time
	// good is the last content without a fault.
	good []byte
	// round is that of the last look that saw the file, and marked that of the last that had a mark for it.
	round, marked int
	said          bool // the log has said that the file keeps changing
}

func newSettler(dir string, stored []policy.File) *settler {
	s := &settler{dir: dir, files: map[string]*tracked{}}
	for _, f := range stored {
		s.files[f.Name] = &tracked{taken: &content{data: f.Data, sum: sha256.Sum256(f.Data)}, good: f.Data}
	}
	return s
}

// mark takes in what the file events say since it was called last.
func (s *settler) mark(events hinter, now time.Time) {
	files, lost := events.marks()
	if lost {
		for _, f := range s.files {
			f.closed = false
		}
	}
	for name, closed := range files {
		f := s.file(name)
		f.closed, f.closedAt, f.marked = closed, now, s.round+1
	}
}

func (s *settler) file(name string) *tracked {
	f := s.files[name]
	if f == nil {
		f = &tracked{}
		s.files[name] = f
	}
	return f
}

// look takes in what a read that began at now has found. It reports whether there is something new to hand
// on, and when to look again; zero: when something changes. age tells how long ago a file
// was changed at least; nil: not at all.
func (s *settler) look(raw Snapshot, now time.Time, age func(name string) time.Duration) (changed bool, next time.Time) {
	if raw.Err != nil {
		return s.lookAtFault(raw, now)
	}
	changed = s.fault.Err != nil
	s.fault, s.faultSince = Snapshot{}, time.Time{}
	s.round++
	for _, f := range raw.Files {
		s.see(f.Name, f.Data, nil, now, age)
	}
	for _, f := range raw.Faults {
		s.see(f.Name, nil, f.Err, now, age)
	}
	for name, f := range s.files {
		if f.seen != nil && f.round != s.round || f.since.IsZero() {
			f.seen, f.since = nil, before(now, name, age)
		}
	}
	busy := s.busy()
	for name, f := range s.files {
		due := s.due(f, busy)
		switch {
		case f.seen.same(f.current()):
			f.differs, f.said = time.Time{}, false
			if f.seen == nil && f.marked != s.round {
				delete(s.files, name)
			}
			continue
		case !now.Before(due):
			from := f.since
			if !s.started && f.taken != nil {
				from = now
			}
			f.take(filepath.Join(s.dir, name), from)
			changed = true
			continue
		case f.differs.IsZero():
			f.differs = now
		}
		next = earlier(next, due)
	}
	return changed, next
}

// lookAtFault is look for a directory that cannot be read.
func (s *settler) lookAtFault(raw Snapshot, now time.Time) (changed bool, next time.Time) {
	if s.faultSince.IsZero() {
		s.faultSince = now
	}
	due := s.faultSince.Add(quietTime)
	if !s.started {
		due = s.faultSince.Add(closedTime)
	}
	if s.fault.Err == nil && now.Before(due) {
		return false, due
	}
	changed = s.fault.Digest != raw.Digest
	s.fault = raw
	return changed, time.Time{}
}

func (s *settler) see(name string, data []byte, err error, now time.Time, age func(string) time.Duration) {
	f := s.file(name)
	f.round = s.round
	if f.seen.is(data, err) {
		return
	}
	f.seen, f.since = &content{data: data, sum: sha256.Sum256(data), err: err}, before(now, name, age)
	if now.Sub(f.closedAt) > closeAge {
		f.closed = false // a change without an event
	}
}

func before(now time.Time, name string, age func(string) time.Duration) time.Time {
	if age == nil {
		return now
	}
	return now.Add(-age(name))
}

// busy reports whether a file is being written.
func (s *settler) busy() bool {
	for _, f := range s.files {
		if f.seen != nil && !f.seen.same(f.current()) {
			return true
		}
	}
	return false
}

// due is when what was seen is taken if it stays the same.
func (s *settler) due(f *tracked, busy bool) time.Time {
	switch {
	case f.seen == nil && busy:
		return f.since.Add(patience)
	case !s.started && f.taken == nil:
		return f.since.Add(closedTime)
	case f.closed && f.seen != nil && f.seen.err == nil && !cutOff(f.good, f.seen.data):
		return later(f.since.Add(closedTime), f.closedAt)
	}
	return f.since.Add(quietTime)
}

// cutOff reports whether the content may have lost its end, though its writer is done.
func cutOff(before, now []byte) bool {
	return len(now) == 0 || len(now) < len(before) && bytes.HasPrefix(before, now) || endsLine(before) && !endsLine(now)
}

func endsLine(data []byte) bool { return bytes.HasSuffix(data, []byte("\n")) }

// current is what of the file was taken last.
func (f *tracked) current() *content {
	if f.torn != nil {
		return f.torn
	}
	return f.taken
}

// take takes what was seen, which counts as changed from a time on.
func (f *tracked) take(path string, changed time.Time) {
	f.taken, f.torn, f.changed, f.differs, f.said = f.seen, nil, changed, time.Time{}, false
	switch {
	case f.seen == nil:
		f.good = nil
	case f.seen.err == nil && len(f.seen.data) > 0:
		if rest, ok := bytes.CutPrefix(f.good, f.seen.data); ok && len(rest) > 0 && rest[0] != '\n' && !endsLine(f.seen.data) {
			line := bytes.Count(f.seen.data, []byte("\n")) + 1
			f.taken, f.torn = &content{err: &fs.PathError{Op: "read", Path: path, Err: errTorn}, line: line}, f.seen
			return
		}
		f.good = f.seen.data
	}
}

// snapshot is what is to be handed on, and when the first of its files is not Changed or
// Gone any more; zero: none is.
func (s *settler) snapshot(now time.Time) (Snapshot, time.Time) {
	s.started = true
	if s.fault.Err != nil {
		return s.fault, time.Time{}
	}
	var out Snapshot
	var until time.Time
	sum := newDigest()
	settled := quietTime
	if s.busy() {
		settled = patience
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[name]
		switch {
		case f.taken == nil:
			continue
		case f.taken.err != nil:
			out.Faults = append(out.Faults, Fault{Name: name, Err: f.taken.err, Line: f.taken.line})
			sum.add("fault", name, []byte(f.taken.err.Error()))
			continue
		}
		file := policy.File{Name: name, Data: f.taken.data, Gone: f.seen == nil}
		if end := f.changed.Add(settled); !file.Gone && now.Before(end) {
			file.Changed = true
			until = earlier(until, end)
		}
		out.Files = append(out.Files, file)
		sum.add("file", name, f.taken.sum[:])
	}
	out.Digest = sum.hex()
	return out, until
}

// unsettled returns the files that have kept changing for long, each once.
func (s *settler) unsettled(now time.Time) string {
	var names []string
	for name, f := range s.files {
		if !f.said && !f.differs.IsZero() && now.Sub(f.differs) > unsettledTime {
			f.said = true
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// earlier ignores a zero time.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
