// Package xds is what Breakwater tells Envoy: the resources of all services,
// served over ADS, and the ledger of what each proxy made of them.
//
// It does not translate policies (package xds/translate does, purely) and it
// concludes nothing about breakers (package breaker does). Its one invariant:
// a resource is published only if it differs, and what every proxy has rejected
// gives way to what was last accepted.
package xds
