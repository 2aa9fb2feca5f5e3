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
	// rememberFor is how long a disconnected proxy is remembered unless it is forgotten: long enough to alert and to be
	// looked into, and short enough that nobody has to forget one that was ended for good.
	rememberFor = time.Hour
	// maxDisconnected bounds the disconnected proxies that are remembered, for a fleet that comes and goes.
	maxDisconnected = 1000
	// replaceWithin is the most time between the end of a proxy and the first connection of the one that replaces it.
	replaceWithin = time.Minute
	// settleTime is how long proxies are given to connect after a start without a saved roster. They try each second.
	settleTime = 3 * time.Second
	// saveInterval is the least time between two writes of the roster.
	saveInterval = time.Second

	rosterDoc = "proxies"
)

var (
	// ErrUnsettled says that Breakwater has just started, and does not know yet which proxies there are.
	ErrUnsettled = errors.New("the proxies are given a few seconds to connect after the start")
	// ErrConnected says that a proxy is connected.
	ErrConnected = errors.New("the proxy is connected")
	// ErrNotSaved says that a proxy was forgotten, and that this could not be saved: it may be back after a restart.
	ErrNotSaved = errors.New("cannot save the list of the proxies")
	// ErrNotDisconnected says that no proxy of an id is remembered as disconnected.
	ErrNotDisconnected = errors.New("no disconnected proxy has that id")
)

// Member is a proxy that is connected, or has disconnected and is remembered.
type Member struct {
	ID string `json:"id"`
	// Cluster of its node. Only a proxy of the same one replaces it.
	Cluster string `json:"cluster,omitempty"`
	// AdminAddress is ip:port; empty if its metadata has no port.
	AdminAddress string `json:"admin,omitempty"`
	// FirstConnected is when its id was first seen; zero if that is not known.
	FirstConnected time.Time `json:"came,omitzero"`
	// Disconnected is when its last stream ended; zero while it is connected.
	Disconnected time.Time `json:"left,omitzero"`
	// ReplacedBy is the id of the new proxy that replaces it; empty if none does, and while it is connected.
	ReplacedBy string `json:"replaced_by,omitempty"`
}

// Memory keeps documents over a restart; *store.Dir does.
type Memory interface {
	// Load decodes a document, and reports whether there is one. A corrupt one is set aside and an error.
	Load(name string, v any) (found bool, err error)
	// Save replaces a document as a whole.
	Save(name string, v any) error
}

// Roster remembers which proxies are connected and which have disconnected. A disconnected proxy is remembered until it
// connects again, is forgotten, or rememberFor has passed. The roster is kept over a restart, after which all proxies are
// disconnected until they connect again.
//
// A disconnected proxy that another replaces, as in a rolling deployment, is kept apart and is no fault. How its stream
// ended does not enter into that: an Envoy that is drained, ends on SIGTERM, is killed or loses its connection ends the
// stream in the same way, with Canceled. See [Member.replaces] for the rule. Each new proxy replaces one, so of several
// that were killed together all but one are still faults.
type Roster struct {
	now    func() time.Time
	memory Memory
	log    hclog.Logger

	// saving is held while a document is made and saved, so that none takes the place of a newer one. It comes before mu.
	saving sync.Mutex

	mu sync.Mutex
	// members by id, connected and disconnected; guarded by mu.
	members map[string]*Member
	// settled is when those that are there are known; zero before open. Guarded by mu.
	settled time.Time
	// closed is true once the server ends: it ends the streams itself then, and no proxy disconnects. Guarded by mu.
	closed bool
	// changed holds one value while there is something to save.
	changed chan struct{}
}

// newRoster loads the saved roster; a nil memory keeps nothing.
func newRoster(now func() time.Time, memory Memory, log hclog.Logger) *Roster {
	r := &Roster{now: now, memory: memory, log: log, members: map[string]*Member{}, changed: make(chan struct{}, 1)}
	if memory == nil {
		return r
	}
	var kept []Member
	if _, err := memory.Load(rosterDoc, &kept); err != nil {
		log.Error("cannot load the list of the proxies; those that do not connect again are not known", "error", err)
		return r
	}
	for _, m := range kept {
		if m.Disconnected.IsZero() {
			m.Disconnected = now()
		}
		r.members[m.ID] = &m
	}
	r.pruneLocked()
	if len(r.members) > 0 {
		r.settled = now()
	}
	return r
}

// connected notes that a proxy has connected.
func (r *Roster) connected(p Proxy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.members[p.ID]
	if m == nil {
		m = &Member{ID: p.ID, FirstConnected: r.now()}
		r.members[p.ID] = m
	}
	m.Cluster, m.AdminAddress, m.Disconnected = p.Cluster, p.AdminAddress, time.Time{}
	newcomer := m
	if m.ReplacedBy != "" { // that one is free to replace another
		newcomer, m.ReplacedBy = r.members[m.ReplacedBy], ""
	}
	if newcomer != nil {
		r.replaceOneLocked(newcomer)
	}
	r.changeLocked()
}

// disconnected notes that a proxy's last stream has ended.
func (r *Roster) disconnected(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.members[id]
	if m == nil || r.closed {
		return
	}
	m.Disconnected = r.now()
	var by *Member
	used := r.replacementsLocked()
	for _, n := range r.members {
		if !used[n.ID] && n.replaces(m) && (by == nil || n.FirstConnected.Before(by.FirstConnected)) {
			by = n
		}
	}
	if by != nil {
		m.ReplacedBy = by.ID
	}
	r.pruneLocked()
	r.changeLocked()
}

// replaceOneLocked has a new proxy replace the one that disconnected first of those that it may.
func (r *Roster) replaceOneLocked(newcomer *Member) {
	if r.replacementsLocked()[newcomer.ID] {
		return
	}
	var old *Member
	for _, m := range r.members {
		if m.ReplacedBy == "" && newcomer.replaces(m) && (old == nil || m.Disconnected.Before(old.Disconnected)) {
			old = m
		}
	}
	if old != nil {
		old.ReplacedBy = newcomer.ID
	}
}

// replacementsLocked returns the ids of the proxies that replace one.
func (r *Roster) replacementsLocked() map[string]bool {
	used := map[string]bool{}
	for _, m := range r.members {
		if m.ReplacedBy != "" {
			used[m.ReplacedBy] = true
		}
	}
	return used
}

// replaces reports whether a proxy may replace one that has disconnected. It is of the same node cluster, its id was new
// within replaceWithin before or after that end, and then more than half of the old one's time was over: proxies that were
// started together do not replace each other.
func (m *Member) replaces(old *Member) bool {
	if old.Disconnected.IsZero() || m.ID == old.ID || m.Cluster != old.Cluster {
		return false
	}
	both := old.Disconnected.Sub(m.FirstConnected) // negative if the old one ended first
	return both.Abs() <= replaceWithin && m.FirstConnected.Sub(old.FirstConnected) > both
}

// changeLocked has the roster saved.
func (r *Roster) changeLocked() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// pruneLocked removes those that disconnected too long ago. Of too many it removes those that are replaced, and then those
// that disconnected first.
func (r *Roster) pruneLocked() {
	var disconnected []*Member
	for id, m := range r.members {
		switch {
		case m.Disconnected.IsZero():
		case r.now().Sub(m.Disconnected) >= rememberFor:
			delete(r.members, id)
		default:
			disconnected = append(disconnected, m)
		}
	}
	if len(disconnected) <= maxDisconnected {
		return
	}
	slices.SortFunc(disconnected, func(a, b *Member) int {
		if a, b := a.ReplacedBy != "", b.ReplacedBy != ""; a != b {
			if a {
				return -1
			}
			return 1
		}
		return a.Disconnected.Compare(b.Disconnected)
	})
	for _, m := range disconnected[:len(disconnected)-maxDisconnected] {
		delete(r.members, m.ID)
	}
}

// Members returns the proxies that are connected or remembered, in ascending order of id, or ErrUnsettled.
func (r *Roster) Members() ([]Member, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsettledLocked() {
		return nil, ErrUnsettled
	}
	r.pruneLocked()
	return r.allLocked(), nil
}

// Forget removes a disconnected proxy as if it had never been there, and saves that before it returns. It is back once it
// connects. It returns ErrConnected, ErrUnsettled or ErrNotDisconnected, and has changed nothing then; or ErrNotSaved with
// the proxy.
func (r *Roster) Forget(id string) (Member, error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	member, rest, err := r.without(id)
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
	if m := r.members[id]; m != nil && m.Disconnected.IsZero() {
		return Member{}, ErrConnected // it has just connected again
	}
	delete(r.members, id)
	return member, unsaved
}

// without returns a disconnected proxy, and all other members.
func (r *Roster) without(id string) (member Member, rest []Member, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.members[id]; m != nil && m.Disconnected.IsZero() {
		return Member{}, nil, ErrConnected
	}
	if r.unsettledLocked() {
		return Member{}, nil, ErrUnsettled
	}
	r.pruneLocked()
	m := r.members[id]
	if m == nil {
		return Member{}, nil, ErrNotDisconnected
	}
	return *m, slices.DeleteFunc(r.allLocked(), func(m Member) bool { return m.ID == id }), nil
}

func (r *Roster) unsettledLocked() bool { return r.settled.IsZero() || r.now().Before(r.settled) }

// allLocked returns copies of all members, in ascending order of id.
func (r *Roster) allLocked() []Member {
	out := make([]Member, 0, len(r.members))
	for _, m := range r.members {
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// open begins the time that proxies have to connect, unless a saved roster says which there are.
func (r *Roster) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled.IsZero() {
		r.settled = r.now().Add(settleTime)
	}
}

// close has proxies stay connected in the roster from now on, for it is the server that ends their streams.
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
	members := r.allLocked()
	r.mu.Unlock()
	if err := r.memory.Save(rosterDoc, members); err != nil {
		r.log.Error("cannot save the list of the proxies", "error", err)
	}
}
