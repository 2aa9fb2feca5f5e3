package xds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// goneFor is how long a proxy that has gone is remembered unless it is struck off: long enough to alert and to be
	// looked into, and short enough that nobody has to strike off one that was ended for good.
	goneFor = time.Hour
	// maxGone bounds the proxies that are remembered so, for a fleet that comes and goes.
	maxGone = 1000
	// turnover is how long before a proxy goes its successor may have come: the most that a rolling deployment runs both.
	turnover = 10 * time.Minute
	// settleTime is how long proxies are given to connect after a start without a roster. They try each second.
	settleTime = 3 * time.Second
	// saveInterval is the least time between two writes of the roster.
	saveInterval = time.Second

	rosterDoc = "proxies"
)

var (
	// ErrUnsettled says that Breakwater has just started, and does not know yet which proxies there are.
	ErrUnsettled = errors.New("the proxies are given a few seconds to connect after the start")
	// ErrConnected says that a proxy has not gone.
	ErrConnected = errors.New("the proxy is connected")
	// ErrNotSaved says that a proxy was forgotten, and that this could not be saved: it may be back after a restart.
	ErrNotSaved = errors.New("cannot save the list of the proxies")
	// ErrNotMissed says that no proxy of an id is missed: there was none within goneFor, or another has come in its place.
	ErrNotMissed = errors.New("no such proxy is missed")
)

// Member is a proxy that is connected, or is missed: it has gone, and neither has it come back nor another in its place.
type Member struct {
	ID string `json:"id"`
	// Cluster of its node. Only a proxy of the same one comes in its place.
	Cluster string `json:"cluster,omitempty"`
	// AdminAddress is ip:port; empty if its metadata has no port.
	AdminAddress string `json:"admin,omitempty"`
	// Came is when it connected first; zero if it was there before Breakwater.
	Came time.Time `json:"came,omitzero"`
	// Left is when it went; zero while it is connected.
	Left time.Time `json:"left,omitzero"`
}

// Memory keeps documents over a restart; *store.Dir does.
type Memory interface {
	// Load decodes a document, and reports whether there is one. A corrupt one is set aside and an error.
	Load(name string, v any) (found bool, err error)
	// Save replaces a document as a whole.
	Save(name string, v any) error
}

// Roster remembers which proxies there are and which have gone. A proxy that goes is missed for goneFor, unless it comes
// back or another of its node cluster comes in its place, as in a rolling deployment: a newcomer stands in for one proxy
// that went before it came, or within turnover after it and was older by twice the time that both were there: two of one
// age do not stand in for each other, and one deployment may soon follow another. The roster is kept over a restart,
// after which all proxies count as gone until they are back.
type Roster struct {
	now    func() time.Time
	memory Memory
	log    hclog.Logger

	// saving is held while a document is made and saved, so that none takes the place of a newer one. It comes before mu.
	saving sync.Mutex

	mu sync.Mutex
	// members by id, with all that have gone, missed or not; guarded by mu.
	members map[string]*Member
	// settled is when those that are there are known; zero before open. Guarded by mu.
	settled time.Time
	// closed is true once the server ends: those that go then are not gone. Guarded by mu.
	closed bool
	// changed holds one value while there is something to save.
	changed chan struct{}
}

// newRoster takes over what an earlier life has kept; a nil memory keeps nothing.
func newRoster(now func() time.Time, memory Memory, log hclog.Logger) *Roster {
	r := &Roster{now: now, memory: memory, log: log, members: map[string]*Member{}, changed: make(chan struct{}, 1)}
	if memory == nil {
		return r
	}
	var kept []Member
	if _, err := memory.Load(rosterDoc, &kept); err != nil {
		log.Error("which proxies there were is lost", "error", err)
		return r
	}
	for _, m := range kept {
		if m.Left.IsZero() {
			m.Left = now()
		}
		r.members[m.ID] = &m
	}
	r.prune()
	if len(r.members) > 0 {
		r.settled = now()
	}
	return r
}

// came notes that a proxy has connected.
func (r *Roster) came(p Proxy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.members[p.ID]
	if m == nil {
		m = &Member{ID: p.ID, Came: r.now()}
		r.members[p.ID] = m
	}
	m.Cluster, m.AdminAddress, m.Left = p.Cluster, p.AdminAddress, time.Time{}
	r.change()
}

// brought notes that a connected proxy has resources of an earlier connection: it is no newcomer, if since is when it
// was seen first.
func (r *Roster) brought(id string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[id]; m != nil && !m.Came.IsZero() && !m.Came.Before(since) {
		m.Came = time.Time{}
		r.change()
	}
}

// left notes that a proxy has gone.
func (r *Roster) left(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[id]; m != nil && !r.closed {
		m.Left = r.now()
		r.prune()
		r.change()
	}
}

// change has the roster saved. The caller must hold r.mu.
func (r *Roster) change() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// prune forgets those that went too long ago, and of too many those that went first. The caller must hold r.mu.
func (r *Roster) prune() {
	var gone []*Member
	for id, m := range r.members {
		switch {
		case m.Left.IsZero():
		case r.now().Sub(m.Left) >= goneFor:
			delete(r.members, id)
		default:
			gone = append(gone, m)
		}
	}
	if len(gone) <= maxGone {
		return
	}
	slices.SortFunc(gone, func(a, b *Member) int { return a.Left.Compare(b.Left) })
	for _, m := range gone[:len(gone)-maxGone] {
		delete(r.members, m.ID)
	}
}

// Members returns the proxies that are connected or missed, in ascending order of id, or ErrUnsettled.
func (r *Roster) Members() ([]Member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled.IsZero() || r.now().Before(r.settled) {
		return nil, ErrUnsettled
	}
	r.prune()
	return missed(r.all()), nil
}

// Forget strikes off a proxy that is missed, as if it had never been there, and saves that before it returns. It is back
// once it connects. It returns ErrUnsettled, ErrConnected or ErrNotMissed, and has changed nothing then; or ErrNotSaved with
// the proxy.
func (r *Roster) Forget(id string) (Member, error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	member, ids, rest, err := r.without(id)
	if err != nil {
		return Member{}, err
	}
	var unsaved error
	if r.memory != nil {
		if err := r.memory.Save(rosterDoc, rest); err != nil {
			unsaved = fmt.Errorf("%w: %w", ErrNotSaved, err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[id]; m != nil && m.Left.IsZero() {
		return Member{}, ErrConnected // it has just come back
	}
	for _, id := range ids {
		if m := r.members[id]; m != nil && !m.Left.IsZero() {
			delete(r.members, id)
		}
	}
	return member, unsaved
}

// without returns a proxy that is missed, its id with those of all whom it stands for, who would be missed again without
// it, and all other members.
func (r *Roster) without(id string) (member Member, ids []string, rest []Member, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[id]; m != nil && m.Left.IsZero() {
		return Member{}, nil, nil, ErrConnected
	}
	if r.settled.IsZero() || r.now().Before(r.settled) {
		return Member{}, nil, nil, ErrUnsettled
	}
	r.prune()
	rest = r.all()
	left := missed(slices.Clone(rest))
	i := slices.IndexFunc(left, func(m Member) bool { return m.ID == id })
	if i < 0 {
		return Member{}, nil, nil, ErrNotMissed
	}
	member = left[i]
	stands := standIns(rest)
	rest = slices.DeleteFunc(rest, func(m Member) bool {
		last := m.ID
		for range stands { // there are no more steps, even if times that are equal made a ring
			by, ok := stands[last]
			if !ok {
				break
			}
			last = by
		}
		if last == id {
			ids = append(ids, m.ID)
		}
		return last == id
	})
	return member, ids, rest, nil
}

// all returns copies of all members. The caller must hold r.mu.
func (r *Roster) all() []Member {
	out := make([]Member, 0, len(r.members))
	for _, m := range r.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// missed leaves out those that have gone and in whose place another has come. One whose address another has now is not
// missed either: it could not be told from that.
func missed(members []Member) []Member {
	replaced := standIns(members)
	taken := map[string]bool{}
	for _, m := range members {
		if m.Left.IsZero() && m.AdminAddress != "" {
			taken[m.AdminAddress] = true
		}
	}
	return slices.DeleteFunc(members, func(m Member) bool {
		return replaced[m.ID] != "" || !m.Left.IsZero() && taken[m.AdminAddress]
	})
}

// standIns returns who stands in for whom, by the id of the one that has gone. Each newcomer stands in for one, the first
// that went; it does so even after it has gone itself, for then it is the one that is missed.
func standIns(members []Member) map[string]string {
	var gone, newcomers []*Member
	for i := range members {
		m := &members[i]
		if !m.Left.IsZero() {
			gone = append(gone, m)
		}
		if !m.Came.IsZero() {
			newcomers = append(newcomers, m)
		}
	}
	slices.SortStableFunc(gone, func(a, b *Member) int { return a.Left.Compare(b.Left) })
	slices.SortStableFunc(newcomers, func(a, b *Member) int { return a.Came.Compare(b.Came) })
	replaced := map[string]string{}
	for _, m := range gone {
		for i, n := range newcomers {
			if n.replaces(m) {
				replaced[m.ID] = n.ID
				newcomers = slices.Delete(newcomers, i, i+1)
				break
			}
		}
	}
	return replaced
}

// replaces reports whether a newcomer may stand in for a proxy that has gone.
func (m *Member) replaces(old *Member) bool {
	if m.Cluster != old.Cluster || m.ID == old.ID {
		return false
	}
	both := old.Left.Sub(m.Came)
	return both <= 0 || both <= turnover && m.Came.Sub(old.Came) >= 2*both
}

// open begins the time that proxies have to connect, unless an earlier life has told which there are.
func (r *Roster) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled.IsZero() {
		r.settled = r.now().Add(settleTime)
	}
}

// close has those that go from now on stay in the roster, for it is the server that ends.
func (r *Roster) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// run saves the roster when it has changed, until ctx ends, and then once more.
func (r *Roster) run(ctx context.Context) {
	defer r.save()
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
			r.save()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Roster) save() {
	if r.memory == nil {
		return
	}
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	members := r.all()
	r.mu.Unlock()
	if err := r.memory.Save(rosterDoc, members); err != nil {
		r.log.Error("the list of the proxies could not be saved", "error", err)
	}
}
