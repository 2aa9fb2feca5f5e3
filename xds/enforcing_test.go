package xds

import (
	"errors"
	"maps"
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
		f.kept = maps.Clone(g)
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

// What cannot be saved is published all the same, and says so.
func TestGenerationThatCannotBeSaved(t *testing.T) {
	kept := &failing{kept: map[string]store.Generation{}, err: errors.New("the disk is full")}
	p := NewPublisher(PublisherOptions{Generations: kept})
	apply(t, p, service("a"))
	before := p.effective["a"].cluster.version
	reset, err := p.Regenerate("a", "")
	if err != nil || reset.Generation != 1 || !errors.Is(reset.Unsaved, kept.err) || p.effective["a"].cluster.version == before {
		t.Errorf("reset: %+v, %v", reset, err)
	}
	before = p.effective["a"].cluster.version
	disabled, err := p.SetEnforcing("a", false)
	if err != nil || disabled == nil || !errors.Is(disabled.Unsaved, kept.err) || p.effective["a"].cluster.version == before {
		t.Errorf("disable: %+v, %v", disabled, err)
	}
	kept.err = nil
	if again, err := p.Regenerate("a", ""); err != nil || again.Generation != 2 || again.Unsaved != nil || !kept.kept["a"].Disabled {
		t.Errorf("once it can be saved: %+v, %v, kept %+v", again, err, kept.kept)
	}
}
