package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/envoy"
	"github.com/breakwater/breakwater/policy"
)

// planModel is the model of a control plane that has these policies, and no proxy.
func planModel(t *testing.T, files map[string]string, change ...func(*planeFlags)) *model {
	t.Helper()
	f := planeFlags{
		policies: writeFiles(t, t.TempDir(), files), state: t.TempDir(), lease: time.Minute,
		xds: "127.0.0.1:0", http: "127.0.0.1:0", grpc: "127.0.0.1:0", log: logFlags{level: "error", format: "text"},
	}
	for _, c := range change {
		c(&f)
	}
	s, err := f.check(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPlane(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.bind(); err != nil {
		t.Fatal(err)
	}
	return &model{plane: p}
}

func (m *model) mustLoad(t *testing.T) *model {
	t.Helper()
	if err := m.plane.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func policyFiles(files map[string]string) []policy.File {
	var out []policy.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, policy.File{Name: name, Data: []byte(files[name])})
	}
	return out
}

func (m *model) mustPlan(t *testing.T, complete bool, files map[string]string) admin.Plan {
	t.Helper()
	plan, err := m.Plan(t.Context(), admin.PlanRequest{Files: policyFiles(files), Complete: complete})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// planLines are the services of a plan with how much is said of each.
func planLines(p admin.Plan) []string {
	out := []string{}
	for _, s := range p.Services {
		line := fmt.Sprintf("%s %s", s.Service, s.Action)
		for _, c := range s.Settings {
			line += fmt.Sprintf(", %s: %s → %s", c.Path, c.From, c.To)
		}
		out = append(append(out, line), effectLines(s.Effects)...)
	}
	return out
}

func TestPlanOfPolicies(t *testing.T) {
	live := map[string]string{
		"a.yaml":        plainPolicy,
		"b.yaml":        "service: b\nupstream: http://10.0.0.2:80\n",
		"defaults.yaml": "timeout: {request: 20s}\n",
	}
	with := func(files map[string]string) map[string]string {
		all := maps.Clone(live)
		maps.Copy(all, files)
		maps.DeleteFunc(all, func(_, text string) bool { return text == "" })
		return all
	}
	const kept = "! its document has an error: the version in force stays, and other edits go live"
	for _, tt := range []struct {
		name      string
		files     map[string]string
		partial   bool
		want      []string
		problems  []string
		resources []string
	}{
		{
			name: "reformatted and moved", files: with(map[string]string{"a.yaml": "", "z.yaml": "# a\nupstream: http://10.0.0.1:80\nservice: 'a'\ntimeout:\n  request: 20.0\n"}),
			want: []string{},
		},
		{
			name: "one file", partial: true, files: map[string]string{"b.yaml": "service: b\nupstream: http://10.0.0.2:80\nretry: {max_retries: 1}\n"},
			want:      []string{"b changed, retry.max_retries: 3 → 1", routesOnly},
			resources: []string{"RouteConfiguration gateway changed"},
		},
		{
			name: "what all share", files: with(map[string]string{"defaults.yaml": "timeout: {request: 25s}\n"}),
			want:      []string{"a changed, timeout.request: 20s → 25s", routesOnly, "b changed, timeout.request: 20s → 25s", routesOnly},
			resources: []string{"RouteConfiguration gateway changed"},
		},
		{
			name: "an error and an edit", files: with(map[string]string{"a.yaml": plainPolicy + "retry: {max_retrys: 1}\n", "b.yaml": "service: b\nupstream: http://10.0.0.2:81\n"}),
			want: []string{
				"a kept", kept,
				"b changed, upstream: http://10.0.0.2:80 → http://10.0.0.2:81",
				"- endpoints only: adds 10.0.0.2:81; removes 10.0.0.2:80, whose connections are drained; the cluster stays, and ejections of the other hosts with it",
			},
			problems:  []string{"error: a.yaml:3:9: retry.max_retrys: unknown field; did you mean max_retries?"},
			resources: []string{"ClusterLoadAssignment b# changed"},
		},
		{
			name: "an error, and an edit of what all share", files: with(map[string]string{"a.yaml": plainPolicy + "retry: {max_retrys: 1}\n", "defaults.yaml": "timeout: {request: 25s}\n"}),
			want: []string{
				"a changed, timeout.request: 20s → 25s", "! a document of it has an error and is not used; other edits go live", routesOnly,
				"b changed, timeout.request: 20s → 25s", routesOnly,
			},
			problems:  []string{"error: a.yaml:3:9: retry.max_retrys: unknown field; did you mean max_retries?"},
			resources: []string{"RouteConfiguration gateway changed"},
		},
		{
			name: "a new service with an error", partial: true, files: map[string]string{"c.yaml": "service: c\nupstream: ftp://c\n"},
			want:     []string{"c kept", "! new, and its document has an error: it is left out, and other edits go live"},
			problems: []string{`error: c.yaml:2:11: upstream: `},
		},
		{
			name: "a file that is no policy at all", files: with(map[string]string{"b.yaml": "{"}),
			want:     []string{" kept", "! b.yaml has an error: what it concerns stays as it is in force, and other edits go live"},
			problems: []string{"error: b.yaml:1:1:"},
		},
		{
			name: "nothing", files: map[string]string{},
			want:     []string{" kept", "! everything in force stays"},
			problems: []string{"error: -: there are no policy files"},
		},
		{
			name: "a warning", partial: true, files: map[string]string{"a.yaml": plainPolicy + "breaker: {failure_threshold: 3}\n"},
			want: []string{
				"a changed, breaker.failure_threshold: 5 → 3", "! replaces cluster a: drains its connection pools", begins,
			},
			problems:  []string{"warning: a.yaml:3:30: breaker.failure_threshold: 3 failures among 100"},
			resources: []string{"Cluster a changed", "ClusterLoadAssignment a# removed", "ClusterLoadAssignment a# added"},
		},
		{
			name: "one comes and one goes", files: map[string]string{"a.yaml": plainPolicy, "c.yaml": "service: c\nupstream: http://10.0.0.3:80\n", "defaults.yaml": live["defaults.yaml"]},
			want: []string{
				"b removed, service: b → , timeout.request: 20s → , upstream: http://10.0.0.2:80 → ",
				"! goes: once no proxy has routes to it any more its cluster is removed; what its breaker knows is forgotten",
				"! gives up prefix / of b: requests there get 404, or what a wider route answers",
				"c added, service:  → c, timeout.request:  → 20s, upstream:  → http://10.0.0.3:80",
				"- new: its routes go live once every proxy has its cluster, after 5s at the latest",
			},
			resources: []string{"Cluster b removed", "Cluster c added", "ClusterLoadAssignment b# removed", "ClusterLoadAssignment c# added", "RouteConfiguration gateway changed"},
		},
		{
			name: "the gateway", partial: true, files: map[string]string{"gateway.yaml": "access_log: off\n"},
			want:      []string{" changed, access_log: stdout → off", "! updates the listener in place: new connections are taken all along; " + drained},
			resources: []string{"Listener gateway changed"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := planModel(t, live).mustLoad(t)
			plan := m.mustPlan(t, !tt.partial, tt.files)
			if diff := cmp.Diff(tt.want, planLines(plan)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			failing := false
			for i, p := range plan.Problems {
				failing = failing || p.Severity == policy.SeverityError
				if text := fmt.Sprintf("%s: %s", p.Severity, p); i >= len(tt.problems) || !strings.HasPrefix(text, tt.problems[i]) {
					t.Errorf("problem %q", text)
				}
			}
			if len(plan.Problems) != len(tt.problems) || plan.OK() == failing {
				t.Errorf("%d problems, ok %v", len(plan.Problems), plan.OK())
			}
			var resources []string
			for _, r := range plan.Resources {
				if r.Diff == "" {
					t.Errorf("%s has no diff", r.Name)
				}
				name, hash, _ := strings.Cut(r.Name, "#")
				if hash != "" {
					name += "#"
				}
				resources = append(resources, fmt.Sprintf("%s %s %s", shortType(r.TypeURL), name, r.Action))
			}
			slices.Sort(resources)
			slices.Sort(tt.resources)
			if diff := cmp.Diff(tt.resources, resources); diff != "" {
				t.Errorf("resources (-want +got):\n%s", diff)
			}
			set := m.plane.publisher.Set()
			if same := len(tt.resources) == 0; (plan.Digest == set.Digest) != same {
				t.Errorf("digest %s, in force %s", plan.Digest, set.Digest)
			}
			// What was planned is what a reload then serves.
			if tt.partial {
				tt.files = with(tt.files)
			}
			next, _ := policy.Build(policyFiles(tt.files), func(string) (string, bool) { return "", false }, set)
			if next.Digest != plan.Digest {
				t.Errorf("a reload gives %s, the plan %s", next.Digest, plan.Digest)
			}
		})
	}
}

func TestPlanBeforeAnythingIsServed(t *testing.T) {
	_, err := planModel(t, map[string]string{"a.yaml": plainPolicy}).Plan(t.Context(), admin.PlanRequest{Complete: true})
	if !errors.Is(err, admin.ErrNoPolicies) {
		t.Errorf("%v", err)
	}
}

// TestPlanKeepsSecrets: nothing of the server's environment is in an answer that is not in force.
func TestPlanKeepsSecrets(t *testing.T) {
	t.Setenv("UPSTREAM_HOST", "10.0.0.7")
	t.Setenv("DATABASE_PASSWORD", "hunter2")
	m := planModel(t, map[string]string{"a.yaml": "service: a\nupstream: http://${UPSTREAM_HOST}:80\n"}).mustLoad(t)
	for _, text := range []string{
		"service: b\nupstream: http://10.0.0.1:80\nfallback: {body: \"${DATABASE_PASSWORD}\"}\n",
		"service: b\nupstream: http://10.0.0.1:80\nfallback: {body: \"${DATABASE_PASSWORD:-x}\"}\n",
		"service: ${DATABASE_PASSWORD}\nupstream: http://10.0.0.1:80\n",
		"service: b\nupstream: http://${DATABASE_PASSWORD}:80\nretry: {max_retries: \"${DATABASE_PASSWORD}\"}\n",
		"service: b\nupstream: http://10.0.0.1:80\nroutes: [{regex: \"[${DATABASE_PASSWORD}\"}]\n",
	} {
		plan := m.mustPlan(t, false, map[string]string{"b.yaml": text})
		data, err := json.Marshal(plan)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "hunter2") || plan.OK() || !strings.Contains(string(data), "a plan does not expand ${DATABASE_PASSWORD}") {
			t.Errorf("%s\n%s", text, data)
		}
	}
	plan := m.mustPlan(t, false, map[string]string{"b.yaml": "service: b\nupstream: http://${UPSTREAM_HOST}:81\n"})
	if !plan.OK() || len(plan.Services) != 1 || plan.Services[0].Settings[1].To != "http://10.0.0.7:81" {
		t.Errorf("%+v", plan)
	}
}

// TestPlanWithGivenGateway: the address of the command line is no change.
func TestPlanWithGivenGateway(t *testing.T) {
	live := map[string]string{"a.yaml": plainPolicy}
	m := planModel(t, live, func(f *planeFlags) { f.gateway = "127.0.0.1:7777" }).mustLoad(t)
	for _, files := range []map[string]string{live, {"a.yaml": plainPolicy, "gateway.yaml": "address: 127.0.0.1:9999\n"}} {
		if plan := m.mustPlan(t, true, files); len(plan.Services)+len(plan.Resources) > 0 {
			t.Errorf("%+v", plan)
		}
	}
}

// TestPlanShowsNoMoreThanIsInForce: neither what all services override, nor what the server's files say beside it.
func TestPlanShowsNoMoreThanIsInForce(t *testing.T) {
	t.Setenv("DATABASE_PASSWORD", "hunter2")
	live := map[string]string{
		"a.yaml":        plainPolicy + "# note: swordfish\ntimeout: {connect: 1s}\nfallback: off\nbreaker: {timeout: 5s}\n",
		"defaults.yaml": "fallback: {body: \"${DATABASE_PASSWORD}\"}\n",
	}
	m := planModel(t, live).mustLoad(t)
	for _, files := range []map[string]string{
		{"b.yaml": "service: b\nupstream: http://10.0.0.1:80\n"},
		{"b.yaml": "service: b\nupstream: http://10.0.0.1:80\nfallback: {body: \"${DATABASE_PASSWORD}\"}\n"},
		{"a.yaml": plainPolicy},
		{"defaults.yaml": "fallback: {body: \"${DATABASE_PASSWORD}\"}\nbreaker: {max_timeout: 1s}\n"},
		{"defaults.yaml": "breaker: {max_timeout: 1s}\n"},
	} {
		plan := m.mustPlan(t, false, files)
		data, err := json.Marshal(plan)
		if err != nil {
			t.Fatal(err)
		}
		if plan.OK() || strings.Contains(string(data), "hunter2") || strings.Contains(string(data), "swordfish") {
			t.Errorf("%v\n%s", files, data)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := m.Plan(ctx, admin.PlanRequest{Complete: true, Files: policyFiles(live)}); !errors.Is(err, context.Canceled) {
		t.Errorf("for one who has gone: %v", err)
	}
}

// TestPlanOfManyErrors takes time in proportion to them, though nobody stops it any more once the policies are read.
func TestPlanOfManyErrors(t *testing.T) {
	const services, each = 4000, 40
	var text strings.Builder
	for i := range services {
		fmt.Fprintf(&text, "---\nservice: s%d\n", i)
		for j := range each {
			fmt.Fprintf(&text, "a%d: 1\n", j)
		}
	}
	m := planModel(t, map[string]string{"a.yaml": plainPolicy}).mustLoad(t)
	start := time.Now()
	plan := m.mustPlan(t, false, map[string]string{"b.yaml": text.String()})
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
	if all := len(plan.Problems) + plan.MoreProblems; len(plan.Problems) != policy.MaxProblems || all != services*(each+1) || len(plan.Services) != services {
		t.Errorf("%d of %d problems of %d services", len(plan.Problems), all, len(plan.Services))
	}
	for _, s := range plan.Services {
		if s.Action != actionKept || len(s.Effects) != 1 {
			t.Fatalf("%s %s: %v", s.Service, s.Action, s.Effects)
		}
	}
}

// TestPlanHidesTheGatewaysSecret: a plan that exposes the admin API shows its routes, and not what they prove themselves with.
func TestPlanHidesTheGatewaysSecret(t *testing.T) {
	m := planModel(t, map[string]string{"a.yaml": plainPolicy}).mustLoad(t)
	plan := m.mustPlan(t, false, map[string]string{"gateway.yaml": "expose_admin: 127.0.0.1:8081\n"})
	diffs := ""
	for _, r := range plan.Resources {
		diffs += r.Diff
	}
	if !strings.Contains(diffs, envoy.GatewayProof) || strings.Contains(diffs, m.plane.adminSecret) {
		t.Errorf("the secret is %q, and the plan:\n%s", m.plane.adminSecret, diffs)
	}
}
