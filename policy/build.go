package policy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// state is what a Set keeps so that the next Build reads only what changed and can
// fall back to what was good.
type state struct {
	files   map[string]*fileState
	layers  *layers
	gateway *gatewayFile
	live    map[string]*record
	// holds is true if some of live are there only because their file is Changed or Gone.
	holds bool
}

// fileState is one policy file as it was read.
type fileState struct {
	data    []byte
	entries []*entry
	// fault is true if a document of the file has an error, so that the services of this file stay: the file may be
	// torn, and what was after the tear is missing.
	fault bool
	// changed and gone are those of the File.
	changed, gone bool
	// named are the services that its documents name, and those that they named before, as long as it may have lost them.
	named map[string]bool
}

// mayHaveLost reports whether the file may be without documents that it is meant to have.
func (f *fileState) mayHaveLost() bool {
	return f.changed || f.gone || f.fault || len(f.entries) == 0
}

// record is one service that is served.
type record struct {
	// entry is the document in force; not the newest if the service is stale.
	entry *entry
	// frozen is true if the document no longer fits the layers, so that the
	// service stays as it was resolved once.
	frozen bool
	// base is the service before its fallback was judged, served the outcome.
	base, served *Service
}

// Build reads the policy files, with the environment variables that env gives, and
// returns what is to be served and every violation. It is pure, but keeps the
// files' Data: the caller must not change those bytes afterwards.
//
// The Set is never nil and always valid. A fault is confined: a document with an
// error keeps that service's version of prev, which may be nil, and so do
// defaults.yaml with its profiles, as a whole, and gateway.yaml; a new service with an
// error is left out. Of two documents for one service the one that prev served stays. A file with an
// error gives up no service, for it may be torn. A file that became empty, and a
// directory that did, are faults too. Files other than *.yaml and *.yml are ignored.
//
// What did not change is taken over from prev, so that an edit of one service costs
// little and every other *Service is the same pointer as before.
func Build(files []File, env func(string) (string, bool), prev *Set) (*Set, []Problem) {
	return build(files, environment{lookup: env}, prev)
}

func build(files []File, env environment, prev *Set) (*Set, []Problem) {
	searches := maxSearches
	env.searches = &searches
	b := newBuilder(env, prev)
	files = b.sort(files)
	if len(files) == 0 && prev != nil && len(prev.Services) > 0 {
		return prev, []Problem{{
			Severity: SeverityError,
			Message:  fmt.Sprintf("there are no policy files: the directory is empty or gone; its %d services stay", len(prev.Services)),
		}}
	}
	var defaults, gateway *specialFile
	for _, f := range files {
		switch {
		case isSpecial(f.Name, "defaults"):
			defaults = b.special(defaults, f)
		case isSpecial(f.Name, "gateway"):
			gateway = b.special(gateway, f)
		default:
			b.read(f)
		}
	}
	var problems []Problem
	b.next.layers, problems = buildLayers(defaults, env, b.prev.layers)
	b.problems = append(b.problems, problems...)
	b.next.gateway, problems = buildGateway(gateway, env, b.prev.gateway)
	b.problems = append(b.problems, problems...)

	b.resolve()
	if env.ended() {
		return prev, nil
	}
	b.elect()
	b.keep()
	b.fallbacks()
	slices.SortStableFunc(b.problems, compareProblems)
	return b.set(), b.problems
}

type builder struct {
	env      environment
	prev     *state
	next     *state
	problems []Problem
	// names are those of next.files, in order.
	names []string
	// claims are the documents for each service, in order of file and place.
	claims map[string][]*entry
}

func newBuilder(env environment, prev *Set) *builder {
	b := &builder{
		env: env, prev: &state{}, claims: map[string][]*entry{},
		next: &state{files: map[string]*fileState{}, live: map[string]*record{}},
	}
	if prev != nil && prev.state != nil {
		b.prev = prev.state
	}
	return b
}

func (b *builder) report(file string, line int, format string, args ...any) {
	b.problems = append(b.problems, Problem{
		Severity: SeverityError, Position: Position{File: file, Line: line, Column: 1}, Message: fmt.Sprintf(format, args...),
	})
}

// sort gives the policy files in order of name, each name once.
func (b *builder) sort(files []File) []File {
	files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return !isPolicyName(f.Name) })
	slices.SortStableFunc(files, func(x, y File) int { return strings.Compare(x.Name, y.Name) })
	return slices.CompactFunc(files, func(x, y File) bool {
		if x.Name == y.Name {
			b.report(y.Name, 1, "the file is given twice; the first is read")
		}
		return x.Name == y.Name
	})
}

func (b *builder) special(already *specialFile, f File) *specialFile {
	if already != nil {
		b.report(f.Name, 1, "%s is there too; %s is ignored", already.name, f.Name)
		return already
	}
	return readSpecial(f)
}

// read takes in one file of services.
func (b *builder) read(f File) {
	b.names = append(b.names, f.Name)
	last := b.prev.files[f.Name]
	if last != nil && bytes.Equal(last.data, f.Data) &&
		!slices.ContainsFunc(last.entries, func(e *entry) bool { return !e.current(b.env) }) && len(last.entries) > 0 {
		b.next.files[f.Name] = &fileState{data: f.Data, entries: slices.Clone(last.entries), changed: f.Changed, gone: f.Gone, named: map[string]bool{}}
		return
	}
	state := &fileState{data: f.Data, changed: f.Changed, gone: f.Gone, named: map[string]bool{}}
	b.next.files[f.Name] = state
	if len(f.Data) > maxFileSize {
		b.report(f.Name, 1, "the file has %d bytes, more than %d", len(f.Data), maxFileSize)
		state.fault = true
		return
	}
	chunks := split(f.Data)
	if len(chunks) > maxDocuments {
		b.report(f.Name, chunks[maxDocuments].line, "the file has more than %d documents", maxDocuments)
		state.fault = true
		return
	}
	known := map[[sha256.Size]byte]*entry{}
	if last != nil {
		for _, e := range last.entries {
			known[e.hash] = e
		}
	}
	for i, c := range chunks {
		if b.env.ended() {
			return
		}
		e := known[c.hash]
		if e == nil || !e.current(b.env) {
			e = newEntry(f.Name, c, i, b.env)
		}
		state.entries = append(state.entries, e.moved(c.line, i))
	}
}

// resolve lays every document over its layers and notes whose it is.
func (b *builder) resolve() {
	defer b.remember()
	for _, name := range b.names {
		file := b.next.files[name]
		for i, e := range file.entries {
			if b.env.ended() {
				return
			}
			if file.named[e.name] = true; file.gone {
				continue
			}
			e = b.disclosed(e.resolved(b.next.layers))
			file.entries[i] = e
			b.problems = append(b.problems, e.report()...)
			file.fault = file.fault || e.service == nil
			if e.name != "" {
				b.claims[e.name] = append(b.claims[e.name], e)
			}
		}
	}
}

// elect decides which document is in force for each service that has one.
func (b *builder) elect() {
	for name, claims := range b.claims {
		last := b.prev.live[name]
		chosen := pick(claims, last)
		for _, e := range claims {
			if e != chosen {
				at := e.inFile(e.start)
				b.problems = append(b.problems, Problem{
					Severity: SeverityError, Position: at, Service: name, Path: "service",
					Message: fmt.Sprintf("service %s is also defined at %s, and that one is in force", e.title, chosen.inFile(chosen.start)),
				})
			}
		}
		switch {
		case chosen.service != nil:
			b.next.live[name] = newRecord(chosen, last)
		case last != nil:
			b.next.live[name] = b.lastGood(last)
		}
	}
}

// pick chooses among documents for one service: the one in force before, else the
// first that is valid, else the first.
func pick(claims []*entry, last *record) *entry {
	if len(claims) == 1 {
		return claims[0]
	}
	if last != nil {
		same := func(match func(e *entry) bool) *entry {
			i := slices.IndexFunc(claims, func(e *entry) bool { return e.file == last.entry.file && match(e) })
			if i < 0 {
				return nil
			}
			return claims[i]
		}
		for _, match := range []func(e *entry) bool{
			func(e *entry) bool { return e.hash == last.entry.hash && e.index == last.entry.index },
			func(e *entry) bool { return e.hash == last.entry.hash },
			func(e *entry) bool { return e.index == last.entry.index },
			func(*entry) bool { return true },
		} {
			if e := same(match); e != nil {
				return e
			}
		}
	}
	if i := slices.IndexFunc(claims, func(e *entry) bool { return e.service != nil }); i >= 0 {
		return claims[i]
	}
	return claims[0]
}

// newRecord serves what the document says. It takes over the pointers of last if
// they are for the same.
func newRecord(e *entry, last *record) *record {
	if last != nil && last.base == e.placed {
		return &record{entry: e, base: last.base, served: last.base}
	}
	return &record{entry: e, base: e.placed, served: e.placed}
}

// lastGood serves the last good document of a service, over the present layers if
// it still fits them, else as it was.
func (b *builder) lastGood(last *record) *record {
	e, frozen := last.entry.resolved(b.next.layers), false
	if e.service == nil {
		e, frozen = last.entry, true
	}
	base := e.placed.stale()
	if e == last.entry && last.base.Stale {
		base = last.base
	}
	if path, _ := base.variables.hidden(b.env); path != "" {
		base = last.served.stale() // which may have been without its fallback, or over other layers
	}
	return &record{entry: e, frozen: frozen, base: base, served: base}
}

// asBefore serves a service as before, over the present layers.
func (b *builder) asBefore(last *record) *record {
	if e := last.entry.resolved(b.next.layers); e.service != nil && !last.base.Stale {
		return newRecord(e, last)
	}
	return b.lastGood(last)
}

// set assembles the Set.
func (b *builder) set() *Set {
	s := &Set{Gateway: b.next.gateway.gateway, state: b.next}
	hash := sha256.New()
	fmt.Fprintf(hash, "gateway %s\n", s.Gateway.digest())
	for _, name := range slices.Sorted(maps.Keys(b.next.live)) {
		svc := b.next.live[name].served
		s.Services = append(s.Services, svc)
		fmt.Fprintf(hash, "%s %s\n", svc.Name, svc.Digest)
	}
	s.Digest = fmt.Sprintf("%x", hash.Sum(nil)[:16])
	return s
}

func compareProblems(a, b Problem) int {
	return cmp.Or(
		strings.Compare(a.Position.File, b.Position.File),
		a.Position.Line-b.Position.Line,
		a.Position.Column-b.Position.Column,
		strings.Compare(a.Path, b.Path),
		strings.Compare(a.Message, b.Message),
	)
}
