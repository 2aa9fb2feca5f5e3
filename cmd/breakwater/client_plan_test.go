package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/admin/adminpb"
)

func (f *fakeAPI) PlanPolicies(ctx context.Context, req *adminpb.PlanPoliciesRequest) (*adminpb.PlanPoliciesResponse, error) {
	return f.plan, f.record(ctx, req)
}

func fullPlan() *adminpb.PlanPoliciesResponse {
	at := &adminpb.Position{File: "fraud.yaml", Line: 12, Column: 5}
	return &adminpb.PlanPoliciesResponse{
		Ok:       true,
		Problems: []*adminpb.Problem{{Severity: "warning", Position: at, Path: "retry", Message: "many\x1b[31m retries", Rule: "amplification"}},
		Services: []*adminpb.ServicePlan{
			{Action: "changed", Settings: []*adminpb.SettingChange{{Path: "access_log", From: "stdout", To: "off", Position: &adminpb.Position{File: "gateway.yaml", Line: 1, Column: 13}}}},
			{
				Service: "fraud", Action: "changed",
				Settings: []*adminpb.SettingChange{
					{Path: "fallback", From: "off"},
					{Path: "fallback.body", To: strings.Repeat("long\n", 100), Position: at},
					{Path: "retry.max_retries", From: "3", To: "1", Position: at},
				},
				Effects: []*adminpb.Effect{
					{Severity: "warning", Text: "replaces cluster fraud: clears 2 ejections, drains its connection pools", Proxies: []string{"edge-1", "edge-2"}},
					{Severity: "info", Text: "its routes change"},
				},
			},
			{Service: "vision", Action: "kept", Effects: []*adminpb.Effect{{Severity: "warning", Text: "its document has an error"}}},
		},
		Resources: []*adminpb.ResourcePlan{
			{TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Name: "fraud", Action: "changed", Diff: "--- in force\n+++ planned\n@@ -1,2 +1,2 @@\n name: fraud\n-connect_timeout: 5s\n+connect_timeout: 1s\x1b\n"},
			{TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener", Name: "gateway", Action: "changed", Diff: "-x\n"},
		},
		Digest: "abc",
	}
}

const fullPlanText = `warning: fraud.yaml:12:5: retry: many [31m retries (amplification)
(all services): changed
  access_log: stdout → off (gateway.yaml:1:13)
fraud: changed
  fallback: off → -
  fallback.body: - → long long long long long long long long long long long long long long long long… (fraud.yaml:12:5)
  retry.max_retries: 3 → 1 (fraud.yaml:12:5)
  ! edge-1, edge-2: replaces cluster fraud: clears 2 ejections, drains its connection pools
  - its routes change
vision: kept
  ! its document has an error
`

func TestPlanOutput(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"fraud.yaml": "service: fraud\n", "notes.txt": "none", "search.yml": "service: search\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	failed := fullPlan()
	failed.Ok, failed.Problems[0].Severity = false, "error"
	onlyKept := &adminpb.PlanPoliciesResponse{Problems: failed.Problems, Services: failed.Services[2:]}
	fraud := &adminpb.PolicyFile{Name: "fraud.yaml", Content: "service: fraud\n"}
	whole := &adminpb.PlanPoliciesRequest{Complete: true, Files: []*adminpb.PolicyFile{fraud, {Name: "search.yml", Content: "service: search\n"}}}
	for _, tt := range []struct {
		name  string
		plan  *adminpb.PlanPoliciesResponse
		args  []string
		want  string
		err   string
		asked *adminpb.PlanPoliciesRequest
	}{
		{"changes", fullPlan(), []string{dir}, fullPlanText + "1 service would change, and 2 resources of Envoy's\n", "", whole},
		{"with diffs", fullPlan(), []string{dir, "--diff"}, fullPlanText + `
Cluster fraud: changed
--- in force
+++ planned
@@ -1,2 +1,2 @@
 name: fraud
-connect_timeout: 5s
+connect_timeout: 1s

Listener gateway: changed
-x
1 service would change, and 2 resources of Envoy's
`, "", whole},
		{"one file", &adminpb.PlanPoliciesResponse{Ok: true, Digest: "abc"}, []string{filepath.Join(dir, "fraud.yaml")}, "nothing would change\n", "", &adminpb.PlanPoliciesRequest{Files: []*adminpb.PolicyFile{fraud}}},
		{"errors", failed, []string{dir}, strings.Replace(fullPlanText, "warning", "error", 1) + "1 service would change, and 2 resources of Envoy's\n", "1 error", whole},
		{"many errors", &adminpb.PlanPoliciesResponse{Problems: failed.Problems, MoreProblems: 12345}, []string{dir}, "error: fraud.yaml:12:5: retry: many [31m retries (amplification)\nand 12345 more problems\nnothing would change\n", "at least 1 error", whole},
		{"only errors", onlyKept, []string{dir}, "error: fraud.yaml:12:5: retry: many [31m retries (amplification)\nvision: kept\n  ! its document has an error\nnothing would change\n", "1 error", whole},
		{"as YAML", &adminpb.PlanPoliciesResponse{Ok: true, Digest: "abc"}, []string{dir, "-o", "yaml"}, "ok: true\nproblems: []\nservices: []\nresources: []\ndigest: abc\nmore_problems: 0\nmore_services: 0\nmore_resources: 0\n", "", whole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := newFakeAPI()
			api.plan = tt.plan
			got, err := runClient(t, newPlanCmd(), append(tt.args, "--server", serveFake(t, api))...)
			switch {
			case tt.err == "" && err != nil:
				t.Fatal(err)
			case tt.err != "" && (err == nil || err.Error() != tt.err || exitCode(err) != exitFailed):
				t.Errorf("error %v (exit code %d), want %s", err, exitCode(err), tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.asked, api.lastAsked(), protocmp.Transform()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanCompletion(t *testing.T) {
	for args, want := range map[string]string{"": "yaml\nyml\n:8\n", "dir": ":4\n"} {
		line := append(append([]string{"__complete", "plan"}, strings.Fields(args)...), "")
		if got := runMain(t, line...); got.code != exitOK || got.stdout != want {
			t.Errorf("after %q it offers %q", args, got.stdout)
		}
	}
}

func TestPlanFailures(t *testing.T) {
	dir := t.TempDir()
	empty, binary := filepath.Join(dir, "empty"), filepath.Join(dir, "binary")
	for _, d := range []string{empty, binary} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(binary, "a.yaml"), []byte("service: \xff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no directory", []string{filepath.Join(dir, "none")}, exitFailed, "no such file"},
		{"an empty directory", []string{empty}, exitFailed, "no policy file"},
		{"not text", []string{binary}, exitFailed, "a.yaml is not valid UTF-8"},
		{"nothing named", nil, exitUsage, "takes 1 argument"},
		{"an unknown format", []string{dir, "-o", "xml"}, exitUsage, `output "xml"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := runClient(t, newPlanCmd(), tt.args...)
			if err == nil || exitCode(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v (exit code %d), want %d, %q", err, exitCode(err), tt.code, tt.says)
			}
		})
	}
	if err := os.WriteFile(filepath.Join(binary, "a.yaml"), []byte("service: a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runClient(t, newPlanCmd(), binary, "--server", "127.0.0.1:1"); err == nil || exitCode(err) != exitFailed || !strings.Contains(err.Error(), "no server") {
		t.Errorf("without a server: %v", err)
	}
}

// TestPlanThatIsTooLarge is said by the command itself, in words, and not sent.
func TestPlanThatIsTooLarge(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("#"), size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	api := newFakeAPI()
	api.plan = &adminpb.PlanPoliciesResponse{Ok: true}
	server := serveFake(t, api)
	for name, size := range map[string]int{"a.yaml": 10, "big.yaml": 4 << 20, "c.yaml": 1 << 20, "d.yaml": 3<<20 - 100} {
		write(name, size)
	}
	if _, err := runClient(t, newPlanCmd(), dir, "--server", server); err != nil {
		t.Errorf("just under the limit: %v", err)
	}
	asked := api.lastAsked()
	write("e.yaml", 100)
	_, err := runClient(t, newPlanCmd(), dir, "--server", server)
	want := dir + " is too large to be sent to a server: 8.01 MiB, and a plan takes at most 8 MiB: " +
		"big.yaml has 4 MiB, d.yaml has 3 MiB, c.yaml has 1 MiB, 2 files more have less"
	if err == nil || err.Error() != want || exitCode(err) != exitFailed {
		t.Errorf("%v (exit code %d), want %s", err, exitCode(err), want)
	}
	if api.lastAsked() != asked {
		t.Error("it was sent")
	}
}
