package xds

import (
	"time"

	"github.com/breakwater/breakwater/envoy"
)

// A proxy that reconnects has what it was sent in an earlier life of the control plane, and the
// policies may have changed since. The Publisher does not know what that proxy's routes
// refer to, so the cache puts its changes in order: new clusters first, then, once the proxy has
// answered to them, the route table, and what the former routes may refer to goes last.

// wait is a watch of which a change is held back.
type wait struct {
	typeURL string
	timer   *time.Timer
	// over is true once the change is not to be held back any longer; guarded by cache.mu.
	over bool
}

// early reports whether a change is to be held back because the proxy has reconnected and is not
// there yet: r is what is to be sent, or nil for a removal. The watch then waits. The caller must hold c.mu.
func (c *cache) early(typeURL string, w *deltaWatch, name string, r *resource) bool {
	if !c.ledger.inherits(w.stream, typeURL, name) {
		return false
	}
	var bound time.Duration
	switch {
	case r != nil && typeURL == typeRoute:
		if c.idle(typeCluster, w.stream) {
			return false
		}
		bound = warmTimeout
	case r == nil && (typeURL == typeCluster || typeURL == typeEndpoint):
		table := c.ofType(typeRoute).lookup(w.proxy, envoy.GatewayName)
		if table == nil || c.ledger.accepts(w.stream, typeRoute, table.name, table.version) {
			return false
		}
		bound = retireTimeout
	default:
		return false
	}
	mine := c.waiting[w.stream]
	if mine == nil {
		mine = map[*deltaWatch]*wait{}
		c.waiting[w.stream] = mine
	}
	if mine[w] == nil {
		mine[w] = &wait{typeURL: typeURL, timer: time.AfterFunc(bound, func() { c.overdue(w) })}
	}
	return !mine[w].over
}

// idle reports whether a stream has answered to all that it was sent of a type. The caller
// must hold c.mu.
func (c *cache) idle(typeURL string, stream streamKey) bool {
	for w := range c.ofType(typeURL).deltas {
		if w.stream == stream {
			return true
		}
	}
	return false
}

// recheck answers the stream's watches that wait, if they need not any more. The caller must
// hold c.mu.
func (c *cache) recheck(stream streamKey) {
	for w, wait := range c.waiting[stream] {
		c.answerDelta(wait.typeURL, c.ofType(wait.typeURL), w, nil)
	}
}

// overdue answers a watch that has waited for too long.
func (c *cache) overdue(w *deltaWatch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait := c.waiting[w.stream][w]; wait != nil {
		wait.over = true
		c.answerDelta(wait.typeURL, c.ofType(wait.typeURL), w, nil)
	}
}

// waitNoMore forgets that a watch waits. The caller must hold c.mu.
func (c *cache) waitNoMore(w *deltaWatch) {
	wait := c.waiting[w.stream][w]
	if wait == nil {
		return
	}
	wait.timer.Stop()
	delete(c.waiting[w.stream], w)
	if len(c.waiting[w.stream]) == 0 {
		delete(c.waiting, w.stream)
	}
}
