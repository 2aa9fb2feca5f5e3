package xds

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/store"
	"github.com/breakwater/breakwater/xds/translate"
)

// The bounds of waiting for a proxy's answer. They only decide what happens when one does
// not come: an answer takes milliseconds.
const (
	// warmTimeout bounds the time for which the routes to a new cluster are held back until
	// every proxy has it warm. A cluster whose DNS name does not resolve must not hold
	// back for ever.
	warmTimeout = 5 * time.Second
	// retireTimeout bounds the time for which a removed cluster is kept until every proxy
	// has given up the routes to it.
	retireTimeout = 30 * time.Second
	// answerTimeout is how long proxies have to answer to what is new. A rejection that comes later concerns the proxy that
	// it comes from alone.
	answerTimeout = 5 * time.Second
)

// Generations keeps how often clusters and hosts were reset, over a restart; *store.Dir
// does.
type Generations interface {
	LoadGenerations() (map[string]store.Generation, error)
	SaveGenerations(map[string]store.Generation) error
}

// PublisherOptions configure a Publisher. The zero value works.
type PublisherOptions struct {
	// Log is the null logger if nil.
	Log hclog.Logger
	// Generations are forgotten at the end of the process if nil.
	Generations Generations
	// Settle is how long after the first Apply what there is from an earlier life stays current, for proxies that are still to
	// connect. If it is 0 they are not waited for.
	Settle time.Duration
	// Accepted is called with a set once proxies have accepted all of it; may be nil. It is called
	// in order, from the goroutine of Run.
	Accepted func(*policy.Set)
	// Reverted is called once InForce has changed without an Apply; may be nil. It is called from the goroutine of Run.
	Reverted func()
}

// Publisher turns sets of policies into published resources: it adds before use and removes
// after, and touches nothing that a change does not concern.
//
// There are two slots. The candidate is what the last set asks for, and current what every connected proxy has accepted.
// Every proxy is sent the candidate at once. A service whose candidate a proxy rejects goes back to current on all
// proxies; what all accept becomes current. What a proxy rejects of current it does without (withheld).
//
// The Publisher compares what is wanted with what is published and with what the ledger says each time
// one of them changes; there is no state of a change under way, so a change may come
// while an earlier one is still being acknowledged.
type Publisher struct {
	opts   PublisherOptions
	log    hclog.Logger
	cache  *cache
	ledger *Ledger
	kick   chan struct{}
	// mask is for what proxies say.
	mask policy.Mask
	// applied is set, for those who must not wait: an Apply of thousands of services takes up to a second.
	applied atomic.Pointer[policy.Set]
	// inForce is applied with the policies that are in effect.
	inForce atomic.Pointer[policy.Set]

	mu sync.Mutex
	// All below is guarded by mu.

	set *policy.Set
	// desired are the candidates, by service, and current what every connected proxy has accepted.
	desired, current map[string]*unit
	// effective is what is published: desired, or current where a proxy has rejected that.
	effective map[string]*unit
	// since is when the unit of a service in effect came into effect, and began when the first set was applied.
	since map[string]time.Time
	began time.Time
	// untranslated are the policies of the set that could not be translated.
	untranslated []Rejection
	// rejected are the candidates that a proxy has rejected.
	rejected map[string]*Rejection
	// withheld are the services that single proxies do without, by proxy and service. variantsChanged is true if they, or what is
	// on trial, have changed and what is published for single proxies is to be made anew.
	withheld        map[string]map[string]*withholding
	variantsChanged bool
	// trial is under way; nil for none. tried are the versions of the tables that proxies have rejected in which there is
	// nothing to blame, by proxy.
	trial *trial
	tried map[string]string
	// generations of the services that were ever reset.
	generations map[string]store.Generation

	// routed is what the route table for all consists of, and table is that table.
	routed map[string]*unit
	table  *table
	// variants are the tables of the proxies that something is withheld from, or that a trial is made on, and tables all
	// that some proxy has or is to have, by version.
	variants, tables map[string]*table
	// composed are the variants of table that need not be composed again.
	composed compositions
	// warming and leaving say since when a new cluster's routes wait, and a cluster or an
	// endpoint resource waits for its removal.
	warming          map[string]time.Time
	leaving          map[string]time.Time
	leavingEndpoints map[string]time.Time

	gateway gatewayState
	// announced is the digest of the set that Accepted was told last.
	announced string
}

// NewPublisher returns a publisher of nothing yet. Proxies that connect before the first
// Apply are kept waiting.
func NewPublisher(opts PublisherOptions) *Publisher {
	ledger := newLedger(time.Now)
	p := &Publisher{
		opts:             opts,
		log:              opts.Log,
		cache:            newCache(ledger),
		ledger:           ledger,
		kick:             make(chan struct{}, 1),
		desired:          map[string]*unit{},
		effective:        map[string]*unit{},
		since:            map[string]time.Time{},
		current:          map[string]*unit{},
		rejected:         map[string]*Rejection{},
		generations:      map[string]store.Generation{},
		routed:           map[string]*unit{},
		tables:           map[string]*table{},
		withheld:         map[string]map[string]*withholding{},
		tried:            map[string]string{},
		warming:          map[string]time.Time{},
		leaving:          map[string]time.Time{},
		leavingEndpoints: map[string]time.Time{},
	}
	if p.log == nil {
		p.log = hclog.NewNullLogger()
	}
	if opts.Generations != nil {
		g, err := opts.Generations.LoadGenerations()
		if err != nil {
			p.log.Error("the generations of clusters that were reset are lost: their ejections will be forgotten once", "error", err)
		}
		p.generations = g
	}
	return p
}

// Ledger returns the ledger of the proxies.
func (p *Publisher) Ledger() *Ledger { return p.ledger }

// Hide takes the values of variables out of what a proxy says of the policies.
func (p *Publisher) Hide(text string) string { return p.mask.Hide(text) }

// Set returns the set that was applied last; nil before the first Apply. It does not wait for an Apply that is going on.
func (p *Publisher) Set() *policy.Set { return p.applied.Load() }

// InForce is Set, but a service whose policy a proxy rejects, or that cannot be translated, has the policy that stays
// in effect for it. Its own is there only if there is no other. It is nil before the first Apply.
func (p *Publisher) InForce() *policy.Set { return p.inForce.Load() }

// enforce has InForce return what is in effect now, and reports whether that has changed. The caller must hold p.mu.
func (p *Publisher) enforce() (changed bool) {
	set := p.set
	if set != nil && len(p.rejected)+len(p.untranslated) > 0 {
		s := *set
		s.Services = slices.Clone(set.Services)
		for i, svc := range s.Services {
			if u := p.effective[svc.Name]; u != nil {
				s.Services[i] = u.policy
			}
		}
		if last := p.inForce.Load(); last != nil && last.Gateway == s.Gateway && slices.Equal(last.Services, s.Services) {
			return false
		}
		set = &s
	}
	return p.inForce.Swap(set) != set
}

// Baseline takes a set as accepted by the proxies in an earlier life of the control
// plane, so that there is something to go back to if they reject the first Apply. It must
// be called before that.
func (p *Publisher) Baseline(set *policy.Set) {
	p.mask.Add(set)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, svc := range set.Services {
		u, err := newUnit(svc, translate.Generation(p.generations[svc.Name]))
		if err != nil {
			p.log.Warn("the last good version of a service cannot be used", "service", svc.Name, "error", err)
			continue
		}
		u.stored = true
		p.current[svc.Name] = u
	}
	if g, err := newGatewayUnit(set.Gateway); err != nil {
		p.log.Warn("cannot use the last good version of the gateway", "error", err)
	} else {
		g.stored = true
		p.gateway.current = g
	}
}

// Apply publishes a set. A service that can not be translated keeps its version of before and is
// one of the Rejections; the others go on. Apply does not wait for the proxies: Run acts on
// their answers.
func (p *Publisher) Apply(set *policy.Set) {
	p.mask.Add(set)
	p.mu.Lock()
	defer p.mu.Unlock()
	desired := make(map[string]*unit, len(set.Services))
	p.untranslated = nil
	for _, svc := range set.Services {
		u, err := p.unitOf(svc)
		if err != nil {
			p.refuse(svc.Name, svc.Position, svc.Excerpt(svc.Position), err)
			if u = p.desired[svc.Name]; u == nil {
				continue
			}
		}
		desired[svc.Name] = u
	}
	if err := p.gateway.want(set.Gateway); err != nil {
		p.refuse("", set.Gateway.Position, set.Gateway.Excerpt(set.Gateway.Position), err)
	}
	p.set, p.desired = set, desired
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.reconcile(time.Now())
	p.cache.openUp()
	p.applied.Store(set)
	p.enforce()
	p.wake()
}

// unitOf returns the unit of a policy, the same as before if nothing differs. The caller must hold p.mu.
func (p *Publisher) unitOf(svc *policy.Service) (*unit, error) {
	gen := translate.Generation(p.generations[svc.Name])
	if u := p.desired[svc.Name]; u.is(svc, gen) {
		return u, nil
	}
	if u := p.current[svc.Name]; u != nil && u.policy.Digest == svc.Digest && sameGeneration(u.generation, gen) {
		// The same values as in a stored or an earlier version, maybe at other positions.
		v := *u
		v.policy, v.stored = svc, false
		p.current[svc.Name] = &v
		return &v, nil
	}
	return newUnit(svc, gen)
}

// refuse notes that a policy can not be translated. The caller must hold p.mu.
func (p *Publisher) refuse(service string, at policy.Position, excerpt []policy.SourceLine, err error) {
	p.untranslated = append(p.untranslated, Rejection{
		Service: service, Type: untranslatedType, Text: p.Hide(err.Error()), Since: time.Now(), Position: at, Excerpt: excerpt,
	})
	p.log.Error("a policy can not be translated: its version of before stays in effect", "service", service, "at", at.String(), "error", p.Hide(err.Error()))
}

func (p *Publisher) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Run acts on the proxies' answers until ctx ends. It always returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed := p.ledger.answersChanged()
		p.mu.Lock()
		next := p.reconcile(time.Now())
		done := p.takeAccepted()
		reverted := p.enforce()
		p.mu.Unlock()
		if reverted && p.opts.Reverted != nil {
			p.opts.Reverted()
		}
		if done != nil && p.opts.Accepted != nil {
			p.opts.Accepted(done)
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = max(time.Until(next), time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-p.kick:
		case <-timer.C:
		}
	}
}

// takeAccepted returns the set if all proxies have just come to accept all of it. The caller must
// hold p.mu.
func (p *Publisher) takeAccepted() *policy.Set {
	if p.set == nil || p.announced == p.set.Digest || len(p.rejected)+len(p.untranslated) > 0 || p.gateway.current != p.gateway.desired {
		return nil
	}
	for name, u := range p.desired {
		if p.current[name] != u {
			return nil
		}
	}
	p.announced = p.set.Digest
	return p.set
}

// reconcile brings what is published towards what is wanted, as far as the proxies' answers
// allow, and returns when it has to be called again if they do not change; zero: never.
// The caller must hold p.mu.
func (p *Publisher) reconcile(now time.Time) time.Time {
	if p.set == nil {
		return time.Time{}
	}
	var next deadline
	p.judge(now, &next)
	p.gateway.choose(now)
	if p.choose(now) || p.gateway.clustersChanged || p.variantsChanged {
		p.publishClusters(now)
		p.gateway.clustersChanged = false
	}
	p.publishRoutes(now, &next)
	p.variantsChanged = false
	p.cache.update(typeListener, p.gateway.listeners(), nil)
	p.promote(now, &next)
	p.retire(now, &next)
	return next.t
}

// deadline is the earliest of several times.
type deadline struct{ t time.Time }

func (d *deadline) at(t time.Time) {
	if d.t.IsZero() || t.Before(d.t) {
		d.t = t
	}
}

// choose decides which version of each service is in effect, and reports whether that has
// changed. The caller must hold p.mu.
func (p *Publisher) choose(now time.Time) (changed bool) {
	for name, u := range p.desired {
		if r, ok := p.rejected[name]; ok && r.digest != u.policy.Digest {
			delete(p.rejected, name)
		} else if ok {
			u = p.instead(name, u)
		}
		old := p.effective[name]
		if old == u {
			continue
		}
		changed = true
		if u == nil {
			delete(p.effective, name)
			delete(p.since, name)
		} else {
			p.effective[name], p.since[name] = u, now
		}
	}
	for name := range p.effective {
		if _, ok := p.desired[name]; !ok {
			changed = true
			delete(p.effective, name)
			delete(p.current, name)
			delete(p.since, name)
		}
	}
	for name := range p.rejected { // one that was new when it was rejected was never in effect
		if _, ok := p.desired[name]; !ok {
			delete(p.rejected, name)
		}
	}
	return changed
}

// publishClusters publishes limits, endpoints and clusters, in that order: each is in place before
// what refers to it. The caller must hold p.mu.
func (p *Publisher) publishClusters(now time.Time) {
	units := make([]*translate.Unit, 0, len(p.effective))
	var endpoints, clusters []*resource
	for _, name := range slices.Sorted(maps.Keys(p.effective)) {
		u := p.effective[name]
		units = append(units, u.translated)
		clusters = append(clusters, u.cluster)
		delete(p.leaving, name)
		if u.endpoints != nil {
			endpoints = append(endpoints, u.endpoints)
			delete(p.leavingEndpoints, u.endpoints.name)
		}
	}
	limits, err := newResource(typeRuntime, envoy.LimitsLayer, translate.Limits(units))
	if err != nil {
		p.log.Error("the limits cannot be published", "error", err)
	} else {
		p.cache.update(typeRuntime, []*resource{limits}, nil)
	}
	clusters = append(clusters, p.gateway.clusters()...)
	frozenClusters, frozenEndpoints := p.frozen()
	p.cache.vary(typeEndpoint, endpoints, frozenEndpoints)
	p.cache.vary(typeCluster, clusters, frozenClusters)

	published := map[string]bool{}
	for _, c := range clusters {
		published[c.name] = true
	}
	for _, name := range p.cache.names(typeCluster) {
		if _, ok := p.leaving[name]; !ok && !published[name] {
			p.leaving[name] = now
		}
	}
	used := map[string]bool{}
	for _, e := range endpoints {
		used[e.name] = true
	}
	for _, name := range p.cache.names(typeEndpoint) {
		if _, ok := p.leavingEndpoints[name]; !ok && !used[name] {
			p.leavingEndpoints[name] = now
		}
	}
}
