// Package demo is the shop that the examples protect: seven small HTTP services
// that answer with made-up data and misbehave as they are told.
//
// It is for demonstrations and tests; nothing of Breakwater depends on it. Its one
// invariant: a service answers on its own port as its Behaviour says, and can always
// be healed over the common control address.
package demo
