package xds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/policy"
	"github.com/breakwater/breakwater/xds/translate"
)

func mustPlan(t *testing.T, p *Publisher, services ...*policy.Service) *Plan {
	t.Helper()
	plan, err := p.Plan(t.Context(), set(services...))
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// lines are a plan's services, with what changes of each, and then its resources.
func (p *Plan) lines() []string {
	var out []string
	for _, c := range p.Services {
		out = append(out, fmt.Sprintf("%s %s: cluster %q endpoints %q routes %q limits %v", c.Service, c.Action, c.Cluster, c.Endpoints, c.Routes, c.Limits))
	}
	for _, r := range p.Resources {
		name, hash, _ := strings.Cut(r.Name, "#")
		if hash != "" {
			name += "#"
		}
		out = append(out, fmt.Sprintf("%s %s %s", typeName(r.TypeURL), name, r.Action))
	}
	return out
}

func (p *Plan) expect(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.lines()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	quick := func(s *policy.Service) { s.Timeout.Request.D = 7 }
	longer := func(s *policy.Service) { s.Breaker.WindowSize = 200 }
	limited := func(s *policy.Service) { s.Limits.MaxRequests = 7 }
	moved := func(s *policy.Service) { s.Upstream.Hosts[0].Port = 9009 }
	named := func(s *policy.Service) { s.Upstream.Hosts = []policy.Host{{Name: "a.example", Port: 80}} }
	for _, tt := range []struct {
		name  string
		after []*policy.Service
		want  []string
	}{
		{"nothing", []*policy.Service{service("a"), service("b")}, nil},
		{"layer 2", []*policy.Service{service("a", longer), service("b")}, []string{`a changed: cluster "" endpoints "" routes "" limits false`}},
		{"limits", []*policy.Service{service("a", limited), service("b")}, []string{`a changed: cluster "" endpoints "" routes "" limits true`}},
		{"routes", []*policy.Service{service("a", quick), service("b")}, []string{`a changed: cluster "" endpoints "" routes "changed" limits false`, "route gateway changed"}},
		{"hosts", []*policy.Service{service("a", moved), service("b")}, []string{`a changed: cluster "" endpoints "changed" routes "" limits false`, "endpoint a# changed"}},
		{
			"the cluster",
			[]*policy.Service{service("a", slow), service("b")},
			[]string{`a changed: cluster "changed" endpoints "changed" routes "" limits false`, "cluster a changed", "endpoint a# *", "endpoint a# *"},
		},
		{
			"by name",
			[]*policy.Service{service("a", named), service("b")},
			[]string{`a changed: cluster "changed" endpoints "removed" routes "" limits false`, "cluster a changed", "endpoint a# removed"},
		},
		{
			"comes and goes",
			[]*policy.Service{service("b"), service("c")},
			[]string{
				`a removed: cluster "removed" endpoints "removed" routes "removed" limits false`, `c added: cluster "added" endpoints "added" routes "added" limits false`,
				"cluster a removed", "cluster c added", "endpoint a# removed", "endpoint c# added", "route gateway changed",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := NewPublisher(PublisherOptions{})
			apply(t, p, service("a"), service("b"))
			before := cached(p)
			plan := mustPlan(t, p, tt.after...)
			got := plan.lines()
			for i, line := range tt.want {
				// Two names of one endpoint resource are in the order of their hashes.
				if prefix, starred := strings.CutSuffix(line, "*"); starred && i < len(got) && strings.HasPrefix(got[i], prefix) {
					got[i] = line
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, cached(p)); diff != "" {
				t.Errorf("it was published (-before +after):\n%s", diff)
			}
			// It is what Apply then does.
			apply(t, p, tt.after...)
			if again := mustPlan(t, p, tt.after...); len(again.lines()) > 0 {
				t.Errorf("after it was applied %q would change", again.lines())
			}
		})
	}
}

// cached are the versions of all that is published, by type and name.
func cached(p *Publisher) map[string]string {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	out := map[string]string{}
	for typeURL, t := range p.cache.types {
		for name, r := range t.resources {
			out[typeName(typeURL)+" "+name] = r.version
		}
	}
	return out
}

// TestPlanKeepsGenerations: what was reset or disabled is so in a plan too.
func TestPlanKeepsGenerations(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"), service("b"))
	if _, err := p.Regenerate("a", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SetEnforcing("b", false); err != nil {
		t.Fatal(err)
	}
	mustPlan(t, p, service("a"), service("b")).expect(t)
	plan := mustPlan(t, p, service("a", slow), service("b", slow))
	for _, r := range plan.Resources {
		if strings.Contains(r.Diff, "-            generation") || strings.Contains(r.Diff, "enforcing_consecutive_5xx: 100") {
			t.Errorf("%s %s:\n%s", typeName(r.TypeURL), r.Name, r.Diff)
		}
	}
}

// TestPlanOfWhatIsRejected: a policy that every proxy refuses is not sent again, so that it changes nothing.
func TestPlanOfWhatIsRejected(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	addr := serve(t, p)
	dial(t, addr, "p1", nil, refusesConnect("a"))
	apply(t, p, service("a"), service("b"))
	eventually(t, "both are accepted", func() string { return acceptedAll(p, "a", "b") })
	apply(t, p, service("a", slow), service("b"))
	eventually(t, "it is refused", func() string {
		if r := p.Rejections(); len(r) != 1 || r[0].Partial {
			return fmt.Sprintf("%+v", r)
		}
		return ""
	})
	plan := mustPlan(t, p, service("a", slow), service("b"))
	plan.expect(t)
	if len(plan.After) != 2 || plan.After[0].Digest != service("a").Digest {
		t.Errorf("in effect would be %+v, want what was accepted", plan.After)
	}
	mustPlan(t, p, service("a"), service("b")).expect(t)
}

func TestPlanOfWhatCanNotBeTranslated(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"), service("b"))
	plan := mustPlan(t, p, service("a", func(s *policy.Service) { s.Timeout.Connect = -1 }), service("b", slow))
	if len(plan.Untranslated) != 1 || plan.Untranslated[0].Service != "a" || plan.Untranslated[0].Position.File != "a.yaml" {
		t.Errorf("%+v", plan.Untranslated)
	}
	if len(plan.Services) != 1 || plan.Services[0].Service != "b" {
		t.Errorf("%q", plan.lines())
	}
}

// TestPlanBeforeTheFirstSet: all is new.
func TestPlanBeforeTheFirstSet(t *testing.T) {
	plan := mustPlan(t, NewPublisher(PublisherOptions{}), service("a"))
	plan.expect(t, `a added: cluster "added" endpoints "added" routes "added" limits false`, "cluster a added", "endpoint a# added", "listener gateway added", "route gateway added")
}

func TestPlanDiff(t *testing.T) {
	p := NewPublisher(PublisherOptions{})
	apply(t, p, service("a"), service("b"), service("c"))
	plan := mustPlan(t, p, service("a"), service("b", slow, func(s *policy.Service) { s.Routes[0].Rewrite = "/" }), service("c"))
	for _, r := range plan.Resources {
		switch r.TypeURL {
		case typeCluster:
			if !strings.HasPrefix(r.Diff, "--- in force\n+++ planned\n@@ ") || !strings.Contains(r.Diff, "\n-connect_timeout: 5s\n") || !strings.Contains(r.Diff, "\n+connect_timeout: 1s\n") {
				t.Errorf("of the cluster:\n%s", r.Diff)
			}
		case typeRoute:
			if !strings.HasPrefix(r.Diff, "# without the ") || !strings.Contains(r.Diff, "+          regex_rewrite") || strings.Contains(r.Diff, "cluster: a\n") || strings.Contains(r.Diff, "cluster: c\n") {
				t.Errorf("of the routes:\n%s", r.Diff)
			}
		}
	}
}

func TestPlanDiffIsBounded(t *testing.T) {
	many := service("a", func(s *policy.Service) {
		s.Upstream.Hosts = nil
		for i := range 700 {
			s.Upstream.Hosts = append(s.Upstream.Hosts, policy.Host{Name: "127.0.0.1", Port: uint16(1000 + i)})
		}
	})
	u, err := newUnit(many, translate.Generation{})
	if err != nil {
		t.Fatal(err)
	}
	all := pairs{}
	for i := range 20 {
		r := *u.endpoints
		r.name = fmt.Sprintf("r%02d", i)
		all.add(typeEndpoint, nil, &r)
	}
	changes, err := all.changes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, c := range changes {
		size += len(c.Diff)
		if !strings.Contains(c.Diff, "# left out") || len(c.Diff) > maxDiff+100 {
			t.Errorf("%s has a diff of %d bytes", c.Name, len(c.Diff))
		}
	}
	if len(changes) != 20 || size < maxDiffs/2 || size > maxDiffs+20*100 {
		t.Errorf("%d resources with %d bytes of diffs", len(changes), size)
	}
	if got := cut("a\nbb\nccc\n", 6); got != "a\nbb\n# left out: 1 more\n" {
		t.Errorf("cut gives %q", got)
	}
}

// TestPlanStops: each of its stages ends soon for somebody who has gone.
func TestPlanStops(t *testing.T) {
	const n = 200
	p := newFleet(n, 0)
	all := make([]*policy.Service, n)
	for i := range all {
		all[i] = service(fmt.Sprintf("s%04d", i), slow)
	}
	whole := &countedContext{Context: t.Context(), after: 1 << 30}
	if _, err := p.Plan(whole, set(all...)); err != nil || whole.looks < 2*n {
		t.Fatalf("a whole plan: %v after %d looks", err, whole.looks)
	}
	for after := 0; after < whole.looks; after += 50 {
		ctx := &countedContext{Context: t.Context(), after: after}
		if plan, err := p.Plan(ctx, set(all...)); plan != nil || !errors.Is(err, context.Canceled) || ctx.looks != after+1 {
			t.Errorf("after %d looks it went on for %d: %v", after, ctx.looks-after, err)
		}
	}
}

// countedContext ends once it was asked so many times whether it has.
type countedContext struct {
	context.Context
	after, looks int
}

func (c *countedContext) Err() error {
	if c.looks++; c.looks > c.after {
		return context.Canceled
	}
	return nil
}
