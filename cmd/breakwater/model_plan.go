package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/breaker"
	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/policy/watch"
	"github.com/breakwater/breakwater/xds"
)

// Plan builds the candidate over what is in force, as a reload would, and compares.
func (m *model) Plan(ctx context.Context, req admin.PlanRequest) (admin.Plan, error) {
	live := m.plane.publisher.Set()
	if live == nil {
		return admin.Plan{}, fmt.Errorf("%w: the policies are not published yet", admin.ErrNoPolicies)
	}
	files := req.Files
	if !req.Complete {
		var err error
		if files, err = m.overDisk(files); err != nil {
			return admin.Plan{}, err
		}
	}
	set, problems, err := policy.BuildCandidate(ctx, files, os.LookupEnv, live, m.refused())
	if err != nil {
		return admin.Plan{}, err
	}
	problems = append(problems, watch.Warnings(set, problems)...)
	changes, err := m.plane.publisher.Plan(ctx, m.plane.served(set))
	if err != nil {
		return admin.Plan{}, err
	}
	var mask policy.Mask
	mask.Add(set)
	for _, r := range changes.Untranslated {
		problems = append(problems, policy.Problem{
			Severity: policy.SeverityError, Position: r.Position, Service: r.Service, Message: "cannot be made into Envoy's resources: " + mask.Hide(r.Text),
		})
	}
	// What the server has on disk is not quoted: its comments can be seen by no other way.
	byName := make(map[string]policy.File, len(req.Files))
	for _, f := range req.Files {
		byName[f.Name] = f
	}
	listed, more := policy.LimitProblems(problems)
	plan := admin.Plan{Problems: withExcerpts(listed, policy.Excerpts(listed, byName)), MoreProblems: more, Digest: set.Digest}
	for _, r := range changes.Resources {
		plan.Resources = append(plan.Resources, admin.ResourcePlan{TypeURL: r.TypeURL, Name: r.Name, Action: string(r.Action), Diff: strings.ReplaceAll(r.Diff, m.plane.adminSecret, "…")})
	}
	plan.Services = m.servicePlans(ctx, changes)
	plan.Services = append(plan.Services, gatewayPlan(&changes.Gateway)...)
	return keep(plan, problems, live, set), nil
}

// refused are the services whose policy no proxy has taken.
func (m *model) refused() []string {
	var out []string
	for _, r := range m.plane.publisher.Rejections() {
		if !r.Partial {
			out = append(out, r.Service)
		}
	}
	return out
}

// overDisk puts files over those on disk.
func (m *model) overDisk(files []policy.File) ([]policy.File, error) {
	all, err := watch.ReadDir(m.plane.settings.flags.policies)
	if err != nil && !errors.Is(err, watch.ErrNoFiles) {
		return nil, fmt.Errorf("%w: %w", admin.ErrNoPolicies, err)
	}
	given := func(f policy.File) bool {
		return slices.ContainsFunc(files, func(g policy.File) bool { return g.Name == f.Name })
	}
	return append(slices.DeleteFunc(all, given), files...), nil
}

// servicePlans tells what changes for each service.
func (m *model) servicePlans(ctx context.Context, plan *xds.Plan) []admin.ServicePlan {
	if len(plan.Services) == 0 {
		return nil
	}
	breakers := m.breakersOf(ctx, plan.Services)
	orders := m.plane.board.Orders()
	given := givenUp(plan)
	now := time.Now()
	out := make([]admin.ServicePlan, 0, len(plan.Services))
	for _, c := range plan.Services {
		q := prospect{change: c, breaker: breakers[c.Service], given: given[c.Service], now: now}
		if c.Action == xds.Changed {
			q.foreseen = m.plane.board.Foresee(c.After, now)
		}
		for _, o := range orders {
			if o.Service == c.Service {
				q.orders = append(q.orders, o)
			}
		}
		out = append(out, admin.ServicePlan{
			Service: c.Service, Action: string(c.Action), Settings: settingsThatChange(c.Before, c.After), Effects: q.effects(),
		})
	}
	return out
}

// breakersOf returns the breakers of the services whose cluster changes, as they are now.
func (m *model) breakersOf(ctx context.Context, changes []xds.ServiceChange) map[string]breaker.Breaker {
	var names []string
	for _, c := range changes {
		if c.Cluster == xds.Changed {
			names = append(names, c.Service)
		}
	}
	out := make(map[string]breaker.Breaker, len(names))
	switch len(names) {
	case 0:
	case 1:
		if b, err := m.plane.board.Breaker(ctx, names[0]); err == nil { // else it has just gone
			out[names[0]] = b
		}
	default:
		for b := range m.plane.board.Breakers(ctx, breaker.Query{Proxies: true}) {
			if slices.Contains(names, b.Service) {
				out[b.Service] = b
			}
		}
	}
	return out
}

// settingsThatChange leaves the built-in values of a service that comes or goes out.
func settingsThatChange(before, after *policy.Service) []policy.Change {
	changes := policy.Changes(before, after)
	if before != nil && after != nil {
		return changes
	}
	origins := before
	if after != nil {
		origins = after
	}
	return slices.DeleteFunc(changes, func(c policy.Change) bool { return origins.Origins[c.Path].Layer == policy.LayerBuiltIn })
}

// gatewayPlan is at most one plan, of what all services share.
func gatewayPlan(c *xds.GatewayChange) []admin.ServicePlan {
	plan := admin.ServicePlan{Action: string(xds.Changed), Settings: policy.GatewayChanges(c.Before, c.After), Effects: gatewayEffects(c)}
	if len(plan.Settings)+len(plan.Effects) == 0 {
		return nil
	}
	return []admin.ServicePlan{plan}
}

// actionKept is what becomes of a service whose document has an error.
const actionKept = "kept"

// keep adds what is served in place of what has one of the problems, and puts the services in order.
func keep(plan admin.Plan, problems []policy.Problem, live, set *policy.Set) admin.Plan {
	at := make(map[string]int, len(plan.Services)) // where the plan of a service is
	for i, p := range plan.Services {
		at[p.Service] = i
	}
	said := map[[2]string]bool{}
	for _, p := range problems {
		if p.Severity != policy.SeverityError {
			continue
		}
		i, planned := at[p.Service]
		changes := planned && plan.Services[i].Action != actionKept
		var text string
		switch file := p.Position.File; {
		case p.Service != "" && set.Lookup(p.Service) != nil && live.Lookup(p.Service) != nil && !changes:
			text = "its document has an error: the version in force stays, and other edits go live"
		case p.Service != "" && set.Lookup(p.Service) != nil:
			text = "a document of it has an error and is not used; other edits go live"
		case p.Service != "":
			text = "new, and its document has an error: it is left out, and other edits go live"
		case file == "":
			text = "everything in force stays"
		default:
			text = file + " has an error: what it concerns stays as it is in force, and other edits go live"
		}
		if said[[2]string{p.Service, text}] {
			continue
		}
		said[[2]string{p.Service, text}] = true
		if !planned {
			i = len(plan.Services)
			at[p.Service] = i
			plan.Services = append(plan.Services, admin.ServicePlan{Service: p.Service, Action: actionKept})
		}
		of := &plan.Services[i]
		of.Effects = slices.Insert(of.Effects, 0, admin.Effect{Warning: true, Text: text})
	}
	slices.SortStableFunc(plan.Services, func(a, b admin.ServicePlan) int { return strings.Compare(a.Service, b.Service) })
	return plan
}
