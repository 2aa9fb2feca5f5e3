// Package watch brings policy files from a directory to the control plane: it
// sees each change, waits until it is whole, builds the policy set and hands it
// on.
//
// It is not where a policy is judged: that is package policy. Its one invariant:
// file events are only hints, and a digest over the names and bytes of all files,
// taken at every poll, is the truth; content that is still being written is never
// handed on. Each file settles by itself.
package watch
