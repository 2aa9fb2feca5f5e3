// Package shop runs the shop example for tests of what users do with it: `breakwater run`
// behind a real Envoy, with the seven demo services.
//
// It is not for tests of the product from within. Its one invariant: each Shop has ports, a
// state directory and a loopback address of its own, so that packages can be tested at the same
// time, and all that it has started is gone when the test ends.
package shop
