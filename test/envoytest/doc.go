// Package envoytest is what tests need that run against the real Envoy: the
// process, upstreams that misbehave as told, free ports and waiting for a condition.
//
// It knows nothing of Breakwater's policies and of how they are served. Its one
// invariant: everything that it starts is gone when the test ends, however it ends.
package envoytest
