package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds/translate"
)

// ErrNotPublished is returned for a service that is not published.
var ErrNotPublished = errors.New("the service is not published")

// ErrNoSuchHost is returned for a host that is not one of the service's, or that can not be
// told apart because the service is reached by DNS name.
var ErrNoSuchHost = errors.New("no such host")

// target returns the version of the unit's cluster or of its endpoints; none if it has none of that type.
func (p *Publisher) target(u *unit, typeURL string) target {
	switch {
	case typeURL == typeCluster:
		return p.cache.target(u.cluster)
	case u.endpoints != nil:
		return p.cache.target(u.endpoints)
	default:
		return target{}
	}
}

// Regenerate gives a service's cluster a new generation or, if host (ip:port) is not empty, only that
// host. Envoy then builds it anew and forgets its ejections. The generation is saved before it is published, so
// that a restarted control plane does not take it back; if it cannot be saved it is published all the same, and the change
// says so.
func (p *Publisher) Regenerate(service, host string) (Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.effective[service]
	if u == nil {
		return Change{}, fmt.Errorf("%w: %s", ErrNotPublished, service)
	}
	gen := p.generation(service)
	if host == "" {
		gen.Cluster++
		return p.regenerate(service, gen, Change{typeURL: typeCluster, Generation: gen.Cluster})
	}
	if err := u.checkHost(host); err != nil {
		return Change{}, err
	}
	if gen.Hosts == nil {
		gen.Hosts = map[string]uint64{}
	}
	gen.Hosts[host]++
	return p.regenerate(service, gen, Change{typeURL: typeEndpoint, Generation: gen.Hosts[host]})
}

// SetEnforcing says whether the service's hosts are to be ejected. The change is nil if they are, or are not, already, and
// for a service that is not published: that is so once it is. It
// replaces the cluster, so that a service whose breaker is disabled gets its ejected hosts back at once. Like a
// generation it is saved before it is published, if it can be.
func (p *Publisher) SetEnforcing(service string, enforcing bool) (*Change, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gen := p.generation(service)
	if gen.Disabled == !enforcing {
		return nil, nil
	}
	gen.Disabled = !enforcing
	if p.desired[service] == nil {
		_ = p.keepGeneration(service, gen) // the order that it follows from is settled again after a restart
		return nil, nil
	}
	change, err := p.regenerate(service, gen, Change{typeURL: typeCluster, Generation: gen.Cluster})
	switch {
	case errors.Is(err, ErrNotPublished):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &change, nil
}

// generation returns a copy of a service's generation. The caller must hold p.mu.
func (p *Publisher) generation(service string) store.Generation {
	gen := p.generations[service]
	gen.Hosts = maps.Clone(gen.Hosts)
	return gen
}

// regenerate stores and publishes a new generation of a service, and completes the change that it is. The caller must
// hold p.mu.
func (p *Publisher) regenerate(service string, gen store.Generation, change Change) (Change, error) {
	fresh, err := newUnit(p.desired[service].policy, translate.Generation(gen))
	if err != nil {
		return Change{}, err
	}
	change.Unsaved = p.keepGeneration(service, gen)
	p.desired[service] = fresh
	p.reconcile(time.Now())
	p.wake()
	u := p.effective[service]
	if u == nil {
		return Change{}, fmt.Errorf("%w any more: %s", ErrNotPublished, service)
	}
	change.target, change.without = p.target(u, change.typeURL), map[string]bool{}
	for proxy, services := range p.withheld {
		change.without[proxy] = services[service] != nil
	}
	return change, nil
}

// keepGeneration keeps a new generation of a service, and returns why it could not be saved. The caller must hold p.mu.
func (p *Publisher) keepGeneration(service string, gen store.Generation) error {
	p.generations[service] = gen
	if p.opts.Generations == nil {
		return nil
	}
	if err := p.opts.Generations.SaveGenerations(p.generations); err != nil {
		return fmt.Errorf("cannot save the generation of %s: %w", service, err)
	}
	return nil
}

func (u *unit) checkHost(host string) error {
	if u.endpoints == nil {
		return fmt.Errorf("%w: %s is reached by DNS name, so only the whole service can be reset", ErrNoSuchHost, u.policy.Name)
	}
	known := u.policy.Upstream.Addresses()
	if slices.Contains(known, host) {
		return nil
	}
	return fmt.Errorf("%w: %s has %v, not %s", ErrNoSuchHost, u.policy.Name, known, host)
}
