package xds

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/store"
)

// forget fails unless the roster answers so when a proxy is to be struck off.
func (r *rosterTest) forget(t *testing.T, id string, want error) {
	t.Helper()
	m, err := r.Forget(id)
	if !errors.Is(err, want) || err == nil && (m.ID != id || m.Left.IsZero()) {
		t.Errorf("forgetting %s: %+v, %v; want %v", id, m, err, want)
	}
}

func TestRosterForgetsWhoIsMissed(t *testing.T) {
	r := newRosterTest(nil)
	r.join("edge", "a", "b", "c")
	r.wait(time.Minute)
	r.forget(t, "a", ErrConnected)
	r.forget(t, "z", ErrNotMissed)
	r.left("a")
	r.left("b")
	r.forget(t, "a", nil)
	r.is(t, "one is forgotten", []string{"c"}, []string{"b"})
	r.forget(t, "a", ErrNotMissed)
	r.join("edge", "a")
	r.forget(t, "a", ErrConnected)
	r.left("b")
	r.wait(goneFor)
	r.forget(t, "b", ErrNotMissed)
}

// Who is forgotten is as if it had never been there: neither is it missed that it stood in for, nor does another come in
// its place.
func TestRosterForgetsAllThatOneStandsFor(t *testing.T) {
	r := newRosterTest(nil)
	r.join("edge", "a0", "b0")
	r.join("other", "z")
	for _, next := range [][2]string{{"a0", "a1"}, {"a1", "a2"}} {
		r.wait(time.Minute)
		r.left(next[0])
		r.join("edge", next[1])
	}
	r.wait(time.Minute)
	r.forget(t, "a0", ErrNotMissed)
	r.left("a2")
	r.is(t, "the last of three", []string{"b0", "z"}, []string{"a2"})
	r.forget(t, "a2", nil)
	r.is(t, "scaled down", []string{"b0", "z"}, nil)

	r.wait(time.Minute)
	r.left("b0")
	r.left("z")
	r.forget(t, "z", nil)
	r.join("edge", "b1")
	r.is(t, "a newcomer is for one that is missed", []string{"b1"}, nil)
}

func TestRosterForgetsOverARestart(t *testing.T) {
	memory, err := store.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	r := newRosterTest(memory)
	r.join("edge", "a", "b", "c")
	r.wait(time.Minute)
	r.left("a")
	r.left("b")
	r.forget(t, "a", nil)
	// The process ends here, without a last save.
	next := &rosterTest{at: r.at}
	next.Roster = newRoster(func() time.Time { return next.at }, memory, hclog.NewNullLogger())
	next.is(t, "after a restart", nil, []string{"b", "c"})
}

func TestRosterForgetsNobodyTooEarly(t *testing.T) {
	r := &rosterTest{at: noon}
	r.Roster = newRoster(func() time.Time { return r.at }, nil, hclog.NewNullLogger())
	r.open()
	r.forget(t, "a", ErrUnsettled)
}

// fullDisk loads nothing, and calls atSave instead of saving.
type fullDisk struct{ atSave func() error }

func (fullDisk) Load(string, any) (bool, error) { return false, nil }
func (d fullDisk) Save(string, any) error       { return d.atSave() }

func TestRosterThatCannotBeSavedForgets(t *testing.T) {
	full := errors.New("no space left on device")
	var atSave func() error
	r := newRosterTest(fullDisk{func() error { return atSave() }})
	r.join("edge", "a", "b")
	r.wait(time.Minute)
	r.left("a")
	r.left("b")
	atSave = func() error { return full }
	if m, err := r.Forget("a"); m.ID != "a" || !errors.Is(err, ErrNotSaved) || !errors.Is(err, full) {
		t.Errorf("forgetting a: %+v, %v", m, err)
	}
	r.is(t, "it is not saved", nil, []string{"b"})
	atSave = func() error { r.join("edge", "b"); return full }
	r.forget(t, "b", ErrConnected)
	r.is(t, "it is back meanwhile", []string{"b"}, nil)
}
