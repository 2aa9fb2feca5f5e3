package breaker

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/breakwater/breakwater/envoy"
)

// Traffic is what every proxy has counted of the requests to one service.
type Traffic struct {
	Service string
	// Time is when the proxies were asked. The same time means the same counts.
	Time time.Time
	// Proxies in ascending order of id.
	Proxies []ProxyTraffic
}

// ProxyTraffic is one proxy's part.
type ProxyTraffic struct {
	Proxy string
	// Error is why it could not be read; empty if it was.
	Error string
	envoy.Traffic
}

const (
	// trafficInterval is the least time between two readings of one service, however many ask.
	trafficInterval = time.Second
	// trafficSlack is how long one who asks waits for the next reading instead of having the last one again: who asks
	// once a second is a little early as often as a little late.
	trafficSlack = 200 * time.Millisecond
	// trafficTimeout bounds a reading.
	trafficTimeout = time.Second
)

// readings are shared by all who ask for the traffic of a service.
type readings struct {
	mu sync.Mutex
	// last of each service, as long as it may be shared; guarded by mu.
	last map[string]*reading
}

// reading is one look at all proxies.
type reading struct {
	begun time.Time
	// traffic is set when done is closed.
	traffic Traffic
	done    chan struct{}
}

// Traffic returns what the proxies have counted of the requests to a service, or ErrUnknownService. They are asked at
// most once a second. A proxy that does not answer in time is an entry with its error.
func (b *Board) Traffic(ctx context.Context, service string) (Traffic, error) {
	if _, err := b.lookup(service); err != nil {
		return Traffic{}, err
	}
	for {
		r, wait := b.readings.join(service, time.Now(), func(r *reading) {
			// It is for all who ask, and goes on when the first of them gives up.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trafficTimeout)
			defer cancel()
			r.traffic = b.readTraffic(ctx, service, r.begun)
		})
		var due <-chan time.Time
		done := r.done
		if wait > 0 {
			done, due = nil, time.After(wait)
		}
		select {
		case <-done:
			return r.traffic, nil
		case <-due:
		case <-ctx.Done():
			return Traffic{}, ctx.Err()
		}
	}
}

// join returns the reading to share, which it starts with read if there is none. If wait is not zero, ask again after
// that time: the next reading is due then.
func (s *readings) join(service string, now time.Time, read func(*reading)) (r *reading, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.last, func(_ string, r *reading) bool { return r.over() && now.Sub(r.begun) >= trafficInterval })
	if r := s.last[service]; r != nil {
		if left := trafficInterval - now.Sub(r.begun); r.over() && left <= trafficSlack {
			return r, left
		}
		return r, 0
	}
	r = &reading{begun: now, done: make(chan struct{})}
	s.last[service] = r
	go func() {
		defer close(r.done)
		read(r)
	}()
	return r, 0
}

func (r *reading) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// readTraffic asks every proxy at once.
func (b *Board) readTraffic(ctx context.Context, service string, at time.Time) Traffic {
	b.mu.Lock()
	watchers := b.sorted()
	b.mu.Unlock()
	out := Traffic{Service: service, Time: at, Proxies: make([]ProxyTraffic, len(watchers))}
	each(watchers, func(i int, w *watcher) {
		p := &out.Proxies[i]
		p.Proxy = w.proxy.ID
		if w.admin == nil {
			p.Error = errNoAdmin.Error()
			return
		}
		var err error
		if p.Traffic, err = w.admin.Traffic(ctx, service); err != nil {
			p.Error = err.Error()
		}
	})
	return out
}
