package xds

import (
	"context"
	"errors"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
)

// streamKey names a stream of ADS.
type streamKey int64

// node returns a node that names a stream and its proxy to the cache, in place of the one that the proxy has sent, which
// can be large and is not to be kept.
func (k streamKey) node(proxy string) *corev3.Node {
	return &corev3.Node{Id: proxy, UserAgentVersionType: &corev3.Node_UserAgentVersion{UserAgentVersion: strconv.FormatInt(int64(k), 10)}}
}

// streamOf is the reverse of streamKey.node.
func streamOf(n *corev3.Node) streamKey {
	id, err := strconv.ParseInt(n.GetUserAgentVersion(), 10, 64)
	if err != nil {
		return -1 // that of no stream
	}
	return streamKey(id)
}

// formatSequence writes a sequence number into a response, and parseSequence reads it from there.
func formatSequence(n uint64) string { return strconv.FormatUint(n, 10) }

func parseSequence(resp *discoveryv3.DeltaDiscoveryResponse) uint64 {
	n, err := strconv.ParseUint(resp.GetSystemVersionInfo(), 10, 64)
	if err != nil {
		return 0 // a response that no cache has made
	}
	return n
}

// of returns those of the names for which the watch asks.
func (w *deltaWatch) of(names []string) []string {
	if w.sub.IsWildcard() {
		return names
	}
	var mine []string
	subscribed := w.sub.SubscribedResources()
	for _, name := range names {
		if _, ok := subscribed[name]; ok {
			mine = append(mine, name)
		}
	}
	return mine
}

// CreateDeltaWatch answers at once or as soon as something differs.
func (c *cache) CreateDeltaWatch(req *cachev3.DeltaRequest, sub cachev3.Subscription, out chan cachev3.DeltaResponse) (func(), error) {
	if err := checkSubscription(req.GetTypeUrl(), sub); err != nil {
		return nil, err
	}
	if typeNames[req.GetTypeUrl()] == "" {
		return func() {}, nil // there is nothing of that type, and never will be
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.ofType(req.GetTypeUrl())
	w := &deltaWatch{
		proxy: req.GetNode().GetId(), stream: streamOf(req.GetNode()), sub: sub, out: out,
		req: &discoveryv3.DeltaDiscoveryRequest{Node: req.GetNode(), TypeUrl: req.GetTypeUrl(), ResponseNonce: req.GetResponseNonce()},
	}
	t.deltas[w] = struct{}{}
	if c.open {
		c.answerDelta(req.GetTypeUrl(), t, w, nil)
		if _, ok := t.deltas[w]; ok {
			c.recheck(w.stream)
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(t.deltas, w)
		c.waitNoMore(w)
	}, nil
}

// CreateWatch belongs to the state-of-the-world protocol, which is not served.
func (c *cache) CreateWatch(*cachev3.Request, cachev3.Subscription, chan cachev3.Response) (func(), error) {
	return nil, errors.New("the state-of-the-world protocol is not served")
}

// Fetch belongs to the polling REST protocol, which is not served.
func (c *cache) Fetch(context.Context, *cachev3.Request) (cachev3.Response, error) {
	return nil, errors.New("the REST protocol is not served: use ADS")
}

// target returns what proxies are to confirm of a resource that is published.
func (c *cache) target(r *resource) target {
	c.mu.Lock()
	defer c.mu.Unlock()
	return target{name: r.name, version: r.version, sequence: r.sequence}
}
