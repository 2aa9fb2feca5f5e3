package xds

import (
	"errors"
	"testing"

	"github.com/breakwater/breakwater/store"
)

// failing is a store that can be told to fail.
type failing struct {
	err  error
	kept map[string]store.Generation
}

func (f *failing) LoadGenerations() (map[string]store.Generation, error) { return f.kept, nil }

func (f *failing) SaveGenerations(g map[string]store.Generation) error {
	if f.err == nil {
		f.kept = g
	}
	return f.err
}

// The order that has disabled a service can end while no policy names it: it must not come back with hosts that are
// never ejected.
func TestEnforcingOfAServiceThatIsNotPublished(t *testing.T) {
	kept := &failing{kept: map[string]store.Generation{}}
	p := NewPublisher(PublisherOptions{Generations: kept})
	apply(t, p, service("a"))
	before := p.effective["a"].cluster.version
	if change, err := p.SetEnforcing("a", false); err != nil || change == nil {
		t.Fatal(change, err)
	}
	apply(t, p)
	kept.err = errors.New("the disk is full")
	if _, err := p.SetEnforcing("a", true); err == nil {
		t.Error("it was not stored, and that is no error")
	}
	kept.err = nil
	for range 2 {
		if change, err := p.SetEnforcing("a", true); err != nil || change != nil {
			t.Errorf("%+v, %v; want nothing to confirm", change, err)
		}
	}
	if kept.kept["a"].Disabled {
		t.Error("after a restart it would not be enforced")
	}
	apply(t, p, service("a"))
	if got := p.effective["a"].cluster.version; got != before {
		t.Errorf("the cluster is back as %s, want %s as before it was disabled", got, before)
	}
}
