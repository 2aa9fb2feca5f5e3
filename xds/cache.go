package xds

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/breakwater/breakwater/xds/translate"
)

// resource is one published resource. Its bytes are made once and shared by the
// responses to all proxies.
type resource struct {
	name string
	// version is the hash of the bytes: the same content has the same version in
	// every process, so a restarted control plane replaces nothing.
	version string
	body    *anypb.Any
	// sequence is the number of its last publication; guarded by the cache's mu.
	sequence uint64
	// lease is how long a proxy keeps it if it hears nothing more of it; 0: for ever. expires is until when it does at most,
	// whenever it hears of it; zero: as long as the lease.
	lease   time.Duration
	expires time.Time
}

// leastTTL is the TTL of what has expired already. Envoy counts in milliseconds.
const leastTTL = 10 * time.Millisecond

// ttl is how long a proxy that is sent the resource now keeps it; nil: for ever.
func (r *resource) ttl() *durationpb.Duration {
	switch {
	case !r.expires.IsZero():
		return durationpb.New(max(time.Until(r.expires), leastTTL))
	case r.lease > 0:
		return durationpb.New(r.lease)
	default:
		return nil
	}
}

func newResource(typeURL, name string, m proto.Message) (*resource, error) {
	b, err := translate.Marshal(m)
	if err != nil {
		return nil, err
	}
	return &resource{
		name:    name,
		version: hashBytes(b),
		body:    &anypb.Any{TypeUrl: typeURL, Value: b},
	}, nil
}

// cache holds the resources of every type and answers the watches of go-control-plane's
// server. Unlike that library's LinearCache it knows per proxy which version is not
// to be sent again, because the proxy rejected it (go-control-plane issue 962).
type cache struct {
	// ledger says what the streams have accepted and rejected. It is called with mu held and does not call back.
	ledger *Ledger

	mu sync.Mutex
	// types and all below it are guarded by mu.
	types map[string]*typeCache
	// open is false until the first publication is complete: until then a proxy
	// is kept waiting rather than told that there is nothing.
	open bool
	// waiting are the watches, by stream, of which a change is held back for a while.
	waiting map[streamKey]map[*deltaWatch]*wait
}

type typeCache struct {
	// sequence is the number of the last publication.
	sequence  uint64
	resources map[string]*resource
	// variants are the resources that one proxy gets in place of those for all, by proxy and name; nil: what it has of that
	// name stays as it is.
	variants map[string]map[string]*resource
	deltas   map[*deltaWatch]struct{}
}

// lookup returns the resource of a name as that proxy gets it; nil if there is none.
func (t *typeCache) lookup(proxy, name string) *resource {
	if r := t.variants[proxy][name]; r != nil {
		return r
	}
	return t.resources[name]
}

// frozen reports whether what a proxy has of that name stays as it is.
func (t *typeCache) frozen(proxy, name string) bool {
	r, ok := t.variants[proxy][name]
	return ok && r == nil
}

// set sets resources as the next publication and returns the names of those whose version was not there already.
func (t *typeCache) set(resources []*resource) (changed []string) {
	t.sequence++
	for _, r := range resources {
		if old, ok := t.resources[r.name]; ok && old.version == r.version {
			r.sequence = old.sequence
			continue
		}
		t.resources[r.name] = r
		r.sequence = t.sequence
		changed = append(changed, r.name)
	}
	return changed
}

type deltaWatch struct {
	proxy  string
	stream streamKey
	// req has the node, the type and the nonce of the request, and no more.
	req *discoveryv3.DeltaDiscoveryRequest
	sub cachev3.Subscription
	out chan cachev3.DeltaResponse
}

var _ cachev3.Cache = (*cache)(nil)

func newCache(ledger *Ledger) *cache {
	return &cache{ledger: ledger, types: map[string]*typeCache{}, waiting: map[streamKey]map[*deltaWatch]*wait{}}
}

// ofType returns the cache of one type. The caller must hold c.mu.
func (c *cache) ofType(typeURL string) *typeCache {
	t, ok := c.types[typeURL]
	if !ok {
		t = &typeCache{
			resources: map[string]*resource{},
			deltas:    map[*deltaWatch]struct{}{},
		}
		c.types[typeURL] = t
	}
	return t
}

// openUp answers the watches that were opened before the first publication.
func (c *cache) openUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		return
	}
	c.open = true
	for typeURL, t := range c.types {
		for w := range t.deltas {
			c.answerDelta(typeURL, t, w, nil)
		}
	}
}

// vary is update, but for removals, and replaces the variants of the type at the same time, by proxy and name of a
// resource that is there for all: no proxy is sent for a moment what it is to have no longer, or not at all.
func (c *cache) vary(typeURL string, set []*resource, variants map[string]map[string]*resource) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.ofType(typeURL)
	changedForAll := t.set(set)
	before := t.variants
	t.variants = variants
	for proxy, mine := range variants {
		for name, r := range mine {
			switch old := before[proxy][name]; {
			case r == nil:
			case old == nil || old.version != r.version:
				r.sequence = t.sequence
			default:
				r.sequence = old.sequence
			}
		}
	}
	changed := func(proxy string) []string {
		if len(before[proxy])+len(variants[proxy]) == 0 {
			return changedForAll
		}
		names := slices.Clone(changedForAll)
		names = slices.AppendSeq(names, maps.Keys(before[proxy]))
		names = slices.AppendSeq(names, maps.Keys(variants[proxy]))
		slices.Sort(names) // Envoy refuses a response that has a name twice
		return slices.Compact(names)
	}
	if !c.open || len(before)+len(variants)+len(changedForAll) == 0 {
		return
	}
	for w := range t.deltas {
		if names := w.of(changed(w.proxy)); len(names) > 0 {
			c.answerDelta(typeURL, t, w, names)
		}
	}
}

// update sets and removes resources of one type and answers the watches that are
// concerned. Resources whose version is there already are passed over.
func (c *cache) update(typeURL string, set []*resource, remove []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.ofType(typeURL)
	changed := t.set(set)
	for _, name := range remove {
		if _, ok := t.resources[name]; ok {
			delete(t.resources, name)
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 || !c.open {
		return
	}
	for w := range t.deltas {
		if names := w.of(changed); len(names) > 0 {
			c.answerDelta(typeURL, t, w, names)
		}
	}
}

// names returns the names of the published resources of a type.
func (c *cache) names(typeURL string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.ofType(typeURL).resources))
}

// answerDelta sends what the watch does not know yet, if anything, and then
// forgets the watch. changed names the only resources that can differ, all of which it asks for; nil means
// any. The caller must hold c.mu.
func (c *cache) answerDelta(typeURL string, t *typeCache, w *deltaWatch, changed []string) {
	known := w.sub.ReturnedResources()
	var add []*resource
	var remove []string
	doubtful := c.ledger.doubtful(w.stream, typeURL)
	consider := func(name string) {
		if t.frozen(w.proxy, name) {
			return
		}
		r := t.lookup(w.proxy, name)
		version, knows := known[name]
		switch {
		case r == nil:
			if (knows || doubtful[name]) && !c.early(typeURL, w, name, nil) {
				remove = append(remove, name)
			}
		case doubtful[name]:
			add = append(add, r)
		case knows && version == r.version:
		case knows && c.ledger.held(w.stream, typeURL, name, version) && c.ledger.accepts(w.stream, typeURL, name, r.version):
			// It has refused what it was sent last, so it has this one still.
		case !c.ledger.held(w.stream, typeURL, name, r.version) && !c.early(typeURL, w, name, r):
			add = append(add, r)
		}
	}
	subscribed := w.sub.SubscribedResources()
	switch {
	case changed != nil:
		for _, name := range changed {
			consider(name)
		}
	case w.sub.IsWildcard():
		for name := range t.resources {
			consider(name)
		}
		gone := maps.Clone(doubtful)
		for name := range known {
			gone[name] = true
		}
		for name := range gone {
			if _, ok := t.resources[name]; !ok {
				consider(name)
			}
		}
	default:
		for name := range subscribed {
			consider(name)
		}
	}
	// The first wildcard request of a stream is answered even if there is nothing to
	// say: Envoy's start waits for it.
	first := w.req.GetResponseNonce() == "" && w.sub.IsWildcard()
	if len(add)+len(remove) == 0 && !(changed == nil && first) {
		t.deltas[w] = struct{}{}
		c.ledger.upToDate(w.stream, typeURL, t.sequence)
		return
	}
	slices.SortFunc(add, func(a, b *resource) int { return strings.Compare(a.name, b.name) })
	slices.Sort(remove)
	if len(doubtful) > 0 && len(add) > 0 {
		// One resource in a response: if it is rejected, it is that one.
		add, remove = add[:1], nil
	}
	next := maps.Clone(known)
	if next == nil {
		next = map[string]string{}
	}
	resp := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, SystemVersionInfo: formatSequence(t.sequence), RemovedResources: remove}
	for _, r := range add {
		next[r.name] = r.version
		resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: r.name, Version: r.version, Resource: r.body, Ttl: r.ttl()})
	}
	for _, name := range remove {
		delete(next, name)
	}
	delete(t.deltas, w)
	c.waitNoMore(w)
	w.out <- &cachev3.DeltaPassthroughResponse{
		DeltaRequest:           w.req,
		NextVersionMap:         next,
		DeltaDiscoveryResponse: resp,
	}
}
