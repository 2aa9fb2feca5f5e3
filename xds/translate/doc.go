// Package translate turns policies into the resources that Envoy is sent: a pure
// function from policy values to protos.
//
// It has no clock, no logger and does no I/O, and it knows nothing of who is sent
// what, or when: package xds does that. Its one invariant: equal values give equal
// bytes, in every process, for a cluster whose bytes differ is replaced by Envoy
// and every host ejected from it is let in again.
package translate
