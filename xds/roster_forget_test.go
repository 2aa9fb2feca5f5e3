package xds

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/store"
)

// forget fails unless the roster answers so when a proxy is to be forgotten.
func (r *rosterTest) forget(t *testing.T, id string, want error) {
	t.Helper()
	m, err := r.Forget(id)
	if !errors.Is(err, want) || err == nil && (m.ID != id || m.Disconnected.IsZero()) {
		t.Errorf("forgetting %s: %+v, %v; want %v", id, m, err, want)
	}
}

func TestRosterForgetsTheDisconnected(t *testing.T) {
	r := newRosterTest(nil)
	r.connect("edge", "a", "b", "c")
	r.wait(time.Minute)
	r.forget(t, "a", ErrConnected)
	r.forget(t, "z", ErrNotDisconnected)
	r.disconnected("a")
	r.disconnected("b")
	r.forget(t, "a", nil)
	r.is(t, "one is forgotten", []string{"c"}, []string{"b"}, nil)
	r.forget(t, "a", ErrNotDisconnected)
	r.connect("edge", "a")
	r.forget(t, "a", ErrConnected)
	r.disconnected("b")
	r.wait(rememberFor)
	r.forget(t, "b", ErrNotDisconnected)
}

// A replaced proxy can be forgotten too, and so can the one that replaced it: the other is not a fault again.
func TestRosterForgetsInARollingDeployment(t *testing.T) {
	r := newRosterTest(nil)
	r.connect("edge", "a0")
	for _, next := range [][2]string{{"a0", "a1"}, {"a1", "a2"}} {
		r.wait(time.Minute)
		r.disconnected(next[0])
		r.connect("edge", next[1])
	}
	r.wait(2 * time.Minute)
	r.disconnected("a2")
	r.is(t, "the last of three", nil, []string{"a2"}, []string{"a0", "a1"})
	r.forget(t, "a2", nil)
	r.is(t, "scaled down", nil, nil, []string{"a0", "a1"})
	r.forget(t, "a0", nil)
	r.is(t, "a replaced one is forgotten", nil, nil, []string{"a1"})
}

func TestRosterForgetsOverARestart(t *testing.T) {
	memory, err := store.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	r := newRosterTest(memory)
	r.connect("edge", "a", "b", "c")
	r.wait(time.Minute)
	r.disconnected("a")
	r.disconnected("b")
	r.forget(t, "a", nil)
	// The process ends here, without a last save.
	next := &rosterTest{at: r.at}
	next.Roster = newRoster(func() time.Time { return next.at }, memory, hclog.NewNullLogger())
	next.is(t, "after a restart", nil, []string{"b", "c"}, nil)
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
	r.connect("edge", "a", "b")
	r.wait(time.Minute)
	r.disconnected("a")
	r.disconnected("b")
	atSave = func() error { return full }
	if m, err := r.Forget("a"); m.ID != "a" || !errors.Is(err, ErrNotSaved) || !errors.Is(err, full) {
		t.Errorf("forgetting a: %+v, %v", m, err)
	}
	r.is(t, "it is not saved", nil, []string{"b"}, nil)
	atSave = func() error { r.connect("edge", "b"); return full }
	r.forget(t, "b", ErrConnected)
	r.is(t, "it is back meanwhile", []string{"b"}, nil, nil)
}
