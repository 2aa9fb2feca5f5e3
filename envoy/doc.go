// Package envoy is what Breakwater asks of one Envoy and how it starts one: the
// admin API, the bootstrap, the binary and its supervision.
//
// It is not what Envoy is told over xDS: that is package xds. Its one invariant:
// it reads an Envoy's state and never changes the configuration it serves.
package envoy
