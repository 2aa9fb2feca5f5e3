package admin

import (
	"errors"

	"github.com/breakwater/breakwater/policy"
)

// ErrNoPolicies is a Model's answer to a plan while no policies are in force, or those on disk, which the candidate is
// to be completed with, can not be read. It comes wrapped, with the reason.
var ErrNoPolicies = errors.New("there is nothing to plan against")

// PlanRequest is a candidate for the policy directory.
type PlanRequest struct {
	// Files have plain names of policy files, each once.
	Files []policy.File
	// Complete is true if Files are all. Otherwise each takes the place of the file of its name on disk.
	Complete bool
}

// Plan is what a candidate would change.
type Plan struct {
	// Problems are the errors and warnings of the candidate, errors first; the first of them if there are many.
	Problems []Problem
	// MoreProblems is how many there are beside Problems.
	MoreProblems int
	// Services in ascending order; the first may have no name, for what all share.
	Services []ServicePlan
	// Resources in ascending order of type URL and name.
	Resources []ResourcePlan
	// Digest is that of the policy.Set that would be served.
	Digest string
}

// OK reports whether there is no error in the candidate.
func (p *Plan) OK() bool {
	for _, problem := range p.Problems {
		if problem.Severity == policy.SeverityError {
			return false
		}
	}
	return true
}

// ServicePlan is what changes for one service.
type ServicePlan struct {
	// Service is empty for what all share.
	Service string
	// Action is added, removed, changed or kept.
	Action string
	// Settings in ascending order of path.
	Settings []policy.Change
	// Effects, warnings first.
	Effects []Effect
}

// Effect is something that a change does.
type Effect struct {
	// Warning is true for what requests or breakers feel.
	Warning bool
	Text    string
	// Proxies in ascending order; empty for all.
	Proxies []string
}

// ResourcePlan is an Envoy resource that changes.
type ResourcePlan struct {
	TypeURL, Name string
	// Action is added, removed or changed.
	Action string
	// Diff is a unified diff of its YAML.
	Diff string
}
