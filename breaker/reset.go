package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds"
)

// ackTimeout bounds how long a reset waits for the proxies to take the new generation over. They take
// milliseconds; a new EDS cluster that lacks its endpoints would take 15 s.
const ackTimeout = 5 * time.Second

// Reset makes every proxy forget the ejections of a service or of one of its hosts, and proves it by what
// each proxy's own admin API says afterwards. If no proxy has anything to clear, nothing is sent.
func (b *Board) Reset(ctx context.Context, req ResetRequest) (ResetResult, error) {
	svc, err := b.lookup(req.Service)
	if err != nil {
		return ResetResult{}, err
	}
	if err := checkHost(svc, req); err != nil {
		return ResetResult{}, err
	}
	b.mu.Lock()
	watchers := b.sorted()
	b.mu.Unlock()
	if len(watchers) == 0 {
		return ResetResult{}, ErrNoProxy
	}

	result := ResetResult{Service: req.Service, Host: req.Host, Proxies: make([]ProxyReset, len(watchers))}
	each(watchers, func(i int, w *watcher) {
		result.Proxies[i].Proxy = w.proxy.ID
		result.Proxies[i].Before, result.Proxies[i].Error = w.ejected(ctx, req)
	})
	needed := slices.ContainsFunc(result.Proxies, func(p ProxyReset) bool { return p.Error != "" || len(p.Before) > 0 })
	if !needed {
		for i := range result.Proxies {
			result.Proxies[i].Note = "no host is ejected: nothing to clear"
		}
		return result, nil
	}

	change, err := b.opts.Control.Regenerate(req.Service, req.Host)
	switch {
	case errors.Is(err, xds.ErrNotPublished):
		return ResetResult{}, fmt.Errorf("%w: %w", ErrUnknownService, err)
	case err != nil:
		return ResetResult{}, err
	}
	result.Pushed, result.Generation = true, change.Generation
	ackCtx, cancel := context.WithTimeout(ctx, ackTimeout)
	acknowledged := b.opts.Control.Await(ackCtx, change)
	cancel()
	each(watchers, func(i int, w *watcher) {
		p := &result.Proxies[i]
		p.Acknowledged = acknowledged[w.proxy.ID]
		p.After, p.Error = w.ejected(ctx, req)
		p.conclude(change.Generation)
		w.look(ctx, req.Service)
	})
	return result, nil
}

// checkHost returns an error if the request names a host that can not be reset.
func checkHost(svc *policy.Service, req ResetRequest) error {
	if req.Host == "" {
		return nil
	}
	if !svc.Upstream.ByAddress() {
		return fmt.Errorf("%w: %s", ErrHostNotResettable, req.Service)
	}
	known := svc.Upstream.Addresses()
	if slices.Contains(known, req.Host) {
		return nil
	}
	return fmt.Errorf("%w: %s has %s, not %s", ErrUnknownHost, req.Service, list(known), req.Host)
}

// each does something for all watchers at once, and returns when that is done.
func each(watchers []*watcher, do func(i int, w *watcher)) {
	var wg sync.WaitGroup
	for i, w := range watchers {
		wg.Go(func() { do(i, w) })
	}
	wg.Wait()
}

// ejected asks the proxy which of the request's hosts are ejected, and returns in words why
// it could not be asked.
func (w *watcher) ejected(ctx context.Context, req ResetRequest) (addresses []string, failure string) {
	if w.admin == nil {
		return nil, w.health().Error
	}
	status, err := w.admin.Clusters(ctx, req.Service)
	if err != nil {
		return nil, err.Error()
	}
	for _, c := range status.GetClusterStatuses() {
		if c.GetName() == req.Service {
			addresses = ejectedHosts(c)
		}
	}
	if req.Host != "" {
		addresses = slices.DeleteFunc(addresses, func(a string) bool { return a != req.Host })
	}
	return addresses, ""
}

// conclude says in words what the proxy reported.
func (p *ProxyReset) conclude(generation uint64) {
	switch {
	case p.Error != "":
		p.Error = "what the proxy did could not be seen: " + p.Error
	case !p.Acknowledged:
		p.Error = fmt.Sprintf("the proxy did not accept generation %d within %s", generation, ackTimeout)
	case len(p.After) > 0:
		p.Note = fmt.Sprintf("cleared, and ejected again since: %s", list(p.After))
	case len(p.Before) > 0:
		p.Note = fmt.Sprintf("cleared: %s", list(p.Before))
	default:
		p.Note = "no host was ejected here"
	}
}
