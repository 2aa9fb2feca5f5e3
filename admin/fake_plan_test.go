package admin_test

import (
	"context"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/policy"
)

// Plan answers with a plan that has everything, and one problem for each file.
func (f *fakeModel) Plan(ctx context.Context, req admin.PlanRequest) (admin.Plan, error) {
	if f.atPlan != nil {
		f.atPlan()
	}
	if f.untilGone != nil {
		<-ctx.Done()
		close(f.untilGone)
		return admin.Plan{}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return admin.Plan{}, f.err
	}
	f.plans = append(f.plans, req)
	at := policy.Position{File: "fraud.yaml", Line: 12, Column: 5}
	return admin.Plan{
		MoreProblems: 7,
		Problems: []admin.Problem{{
			Problem: policy.Problem{Severity: policy.SeverityWarning, Position: at, Service: "fraud-service", Message: "doubtful", Rule: "some-rule"},
			Excerpt: []policy.SourceLine{{Line: 3, Text: "breaker:"}},
		}},
		Services: []admin.ServicePlan{{
			Service: "fraud-service", Action: "changed",
			Settings: []policy.Change{{Path: "retry.max_retries", From: "3", To: "1", Position: at}, {Path: "fallback", From: "off"}},
			Effects: []admin.Effect{
				{Warning: true, Text: "replaces cluster fraud-service", Proxies: []string{"edge-1"}},
				{Text: "routes change"},
			},
		}},
		Resources: []admin.ResourcePlan{{TypeURL: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Name: "fraud-service", Action: "changed", Diff: "-a\n+b\n"}},
		Digest:    "abc",
	}, nil
}
