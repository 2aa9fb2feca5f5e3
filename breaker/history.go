package breaker

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// The history is 15 minutes of buckets of 10 s: long enough for who comes when the alarm has been raised, and short
// enough to see how an open breaker and its probes follow each other.
const (
	historyStep    = 10 * time.Second
	historyBuckets = 90
)

// History is what the proxies have reported of the attempts at services of late, in buckets of equal length. It is what
// load reports have: what a proxy did while it did not report is in none, and is not known.
type History struct {
	// Since is when the first of the reports came that the history is of; zero if none has.
	Since time.Time
	// Start is when the first bucket begins, and End the time until which the last one, which is not over, has counted.
	Start, End time.Time
	// Step is the length of a bucket.
	Step time.Duration
	// Proxies is how many proxies have reported in each bucket. 0: nothing is known of that time.
	Proxies []uint32
	// Services of which a bucket has something, in ascending order.
	Services []ServiceHistory
}

// ServiceHistory is one service's part: a number for each bucket, over all proxies.
type ServiceHistory struct {
	Service string
	// Attempts that ended, and Failures those of them that failed, as in ProxyBreaker. Nil if there were none at all.
	Attempts, Failures []uint32
	// Refused are the requests that a limit or an open breaker has kept from the service, those beyond the probes of a
	// half-open one included, and those that went to a fallback service or found no host not. Nil if there were none at all.
	Refused []uint32
}

// HistoryFilter narrows a History down. The zero value does not.
type HistoryFilter struct {
	// Services are those to tell of; empty for all. A service of which nothing is known has no part.
	Services []string
	// From leaves out the buckets that were over by then.
	From time.Time
}

// History returns what the proxies have reported since this Breakwater began, of the last 15 minutes.
func (b *Board) History(f HistoryFilter) History { return b.history.read(time.Now(), f) }

// history remembers load reports. A service takes some 1.1 KB while it had traffic within the last 15 minutes, whatever
// the number of proxies, and nothing otherwise.
//
// Buckets are numbered from 1970 by the wall clock. A clock that is set back by more than a bucket makes the history
// begin anew: what was counted would be of a time to come.
type history struct {
	mu sync.Mutex
	// All below is guarded by mu.

	// newest is the number of the bucket that is being filled, and since as in History.
	newest int64
	since  time.Time
	// proxies is how many have reported, and reporters are those that have in the newest bucket.
	proxies   ring[uint32]
	reporters map[string]bool
	services  map[string]*ring[attemptCounts]
}

// attemptCounts are what one bucket has of one service. They stay at the greatest number that there is room for.
type attemptCounts struct{ attempts, failures, refused uint32 }

func newHistory() *history {
	return &history{reporters: map[string]bool{}, services: map[string]*ring[attemptCounts]{}}
}

// report takes a proxy's load report in. Services that are not in set are not remembered.
func (h *history) report(now time.Time, proxy string, loads []xds.ServiceLoad, set *policy.Set) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance(now)
	if h.since.IsZero() {
		h.since = now
	}
	if !h.reporters[proxy] {
		h.reporters[proxy] = true
		*h.proxies.at(h.newest)++
	}
	for i := range loads {
		l := &loads[i]
		var successes, failures uint64
		for _, host := range l.Hosts {
			successes, failures = add(successes, host.Successes), add(failures, host.Errors)
		}
		attempts := add(successes, failures)
		if attempts == 0 && l.Dropped == 0 {
			continue
		}
		r := h.services[l.Service]
		if r == nil {
			if set.Lookup(l.Service) == nil {
				continue
			}
			r = &ring[attemptCounts]{}
			h.services[l.Service] = r
		}
		c := r.at(h.newest)
		c.attempts, c.failures, c.refused = grow(c.attempts, attempts), grow(c.failures, failures), grow(c.refused, l.Dropped)
	}
}

func grow(n uint32, by uint64) uint32 { return uint32(min(add(uint64(n), by), math.MaxUint32)) }

// advance makes the bucket of now the newest, and forgets what has left the history. The caller must hold h.mu.
func (h *history) advance(now time.Time) {
	i := bucketOf(now)
	switch {
	case i == h.newest || i == h.newest-1: // reports of several proxies can come a little out of order
		return
	case i < h.newest:
		h.since, h.proxies = time.Time{}, ring[uint32]{}
		clear(h.services)
	}
	h.newest = i
	clear(h.reporters)
	for service, r := range h.services {
		if r.newest <= i-historyBuckets {
			delete(h.services, service)
		}
	}
}

func bucketOf(t time.Time) int64 { return t.Unix() / int64(historyStep/time.Second) }

// keep forgets the services that are not in set.
func (h *history) keep(set *policy.Set) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for service := range h.services {
		if set.Lookup(service) == nil {
			delete(h.services, service)
		}
	}
}

func (h *history) read(now time.Time, f HistoryFilter) History {
	type part struct {
		service string
		ring    ring[attemptCounts]
	}
	var parts []part
	h.mu.Lock()
	h.advance(now)
	newest, since, proxies := h.newest, h.since, h.proxies
	if len(f.Services) == 0 {
		parts = make([]part, 0, len(h.services))
		for service, r := range h.services {
			parts = append(parts, part{service, *r})
		}
	}
	asked := map[string]bool{} // one that is named often is copied once
	for _, service := range f.Services {
		if r := h.services[service]; r != nil && !asked[service] {
			asked[service] = true
			parts = append(parts, part{service, *r})
		}
	}
	h.mu.Unlock()

	first := newest - historyBuckets + 1
	if !f.From.IsZero() {
		first = min(newest, max(first, bucketOf(f.From)))
	}
	start := time.Unix(first*int64(historyStep/time.Second), 0)
	out := History{Since: since, Start: start, End: now, Step: historyStep}
	for i := first; i <= newest; i++ {
		out.Proxies = append(out.Proxies, proxies.get(i))
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.service, b.service) })
	for _, p := range parts {
		s := ServiceHistory{
			Service:  p.service,
			Attempts: p.ring.column(first, newest, func(c attemptCounts) uint32 { return c.attempts }),
			Failures: p.ring.column(first, newest, func(c attemptCounts) uint32 { return c.failures }),
			Refused:  p.ring.column(first, newest, func(c attemptCounts) uint32 { return c.refused }),
		}
		if s.Attempts != nil || s.Refused != nil {
			out.Services = append(out.Services, s)
		}
	}
	return out
}

// ring has room for what is known of each of the last buckets.
type ring[T any] struct {
	// newest is the number of the newest bucket that there is something of.
	newest  int64
	buckets [historyBuckets]T
}

// at is a bucket to be changed. It must not be older than the newest.
func (r *ring[T]) at(i int64) *T {
	if i-r.newest >= historyBuckets {
		r.buckets = [historyBuckets]T{}
	} else {
		for r.newest < i {
			r.newest++
			var none T
			r.buckets[place(r.newest)] = none
		}
	}
	r.newest = i
	return &r.buckets[place(i)]
}

// get is what a bucket has; the zero value if it was left behind or is yet to come.
func (r *ring[T]) get(i int64) T {
	if i > r.newest || i <= r.newest-historyBuckets {
		var none T
		return none
	}
	return r.buckets[place(i)]
}

// column is a number of each of some buckets, or nil if all are 0.
func (r *ring[T]) column(first, last int64, of func(T) uint32) []uint32 {
	var out []uint32
	for i := first; i <= last; i++ {
		if n := of(r.get(i)); n > 0 {
			if out == nil {
				out = make([]uint32, last-first+1)
			}
			out[i-first] = n
		}
	}
	return out
}

// place is where in a ring a bucket is; a clock before 1970 numbers buckets below 0.
func place(i int64) int64 { return (i%historyBuckets + historyBuckets) % historyBuckets }
