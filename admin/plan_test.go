package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/policy"
)

func planRequest(names ...string) *adminpb.PlanPoliciesRequest {
	req := &adminpb.PlanPoliciesRequest{}
	for _, name := range names {
		req.Files = append(req.Files, &adminpb.PolicyFile{Name: name, Content: "service: a\n"})
	}
	return req
}

func TestPlanPolicies(t *testing.T) {
	model := newFakeModel()
	c := adminpb.NewAdminServiceClient(start(t, admin.Options{Model: model}).conn)
	req := planRequest("a.yaml", "b.yml")
	req.Complete = true
	got, err := c.PlanPolicies(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	at := &adminpb.Position{File: "fraud.yaml", Line: 12, Column: 5}
	want := &adminpb.PlanPoliciesResponse{
		Ok: true, MoreProblems: 7,
		Problems: []*adminpb.Problem{{Severity: "warning", Position: at, Service: "fraud-service", Message: "doubtful", Rule: "some-rule", Excerpt: []*adminpb.SourceLine{{Line: 3, Text: "breaker:"}}}},
		Services: []*adminpb.ServicePlan{{
			Service: "fraud-service", Action: "changed",
			Settings: []*adminpb.SettingChange{{Path: "retry.max_retries", From: "3", To: "1", Position: at}, {Path: "fallback", From: "off"}},
			Effects: []*adminpb.Effect{
				{Severity: "warning", Text: "replaces cluster fraud-service", Proxies: []string{"edge-1"}},
				{Severity: "info", Text: "routes change"},
			},
		}},
		Resources: []*adminpb.ResourcePlan{{TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Name: "fraud-service", Action: "changed", Diff: "-a\n+b\n"}},
		Digest:    "abc",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	asked := []admin.PlanRequest{{Complete: true, Files: []policy.File{
		{Name: "a.yaml", Data: []byte("service: a\n")}, {Name: "b.yml", Data: []byte("service: a\n")},
	}}}
	if diff := cmp.Diff(asked, model.plans); diff != "" {
		t.Errorf("the model was asked (-want +got):\n%s", diff)
	}
	model.err = fmt.Errorf("%w: not yet", admin.ErrNoPolicies)
	if _, err := c.PlanPolicies(t.Context(), req); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("without policies: %v", err)
	}
}

// TestPlanNames: no name can lead out of the policy directory, nor name what is not read of one.
func TestPlanNames(t *testing.T) {
	model := newFakeModel()
	c := adminpb.NewAdminServiceClient(start(t, admin.Options{Model: model}).conn)
	for _, name := range []string{
		"", ".yaml", "a", "a.json", "../a.yaml", "..", "/etc/a.yaml", "sub/a.yaml", `sub\a.yaml`, ".hidden.yaml", "#a.yaml", "a\x00.yaml", "a\n.yaml",
		strings.Repeat("a", 300) + ".yaml",
	} {
		if _, err := c.PlanPolicies(t.Context(), planRequest(name)); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	if _, err := c.PlanPolicies(t.Context(), planRequest("a.yaml", "a.yaml")); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same name twice: %v", err)
	}
	many := make([]string, 10_001)
	for i := range many {
		many[i] = fmt.Sprintf("%d.yaml", i)
	}
	if _, err := c.PlanPolicies(t.Context(), planRequest(many...)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("%d files: %v", len(many), err)
	}
	packed := planRequest("a.yaml")
	packed.Files[0].Content = strings.Repeat("service: a\n---\n", 10_000)
	if _, err := c.PlanPolicies(t.Context(), packed); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "documents") {
		t.Errorf("10,001 documents: %v", err)
	}
	if len(model.plans) != 0 {
		t.Errorf("the model was asked: %d times", len(model.plans))
	}
}

// TestPlanSize: a plan may be larger than any other call, and has a bound too.
func TestPlanSize(t *testing.T) {
	run := start(t, admin.Options{Model: newFakeModel()})
	c := adminpb.NewAdminServiceClient(run.conn)
	plan := func(size int) error {
		req := planRequest("a.yaml")
		req.Files[0].Content = strings.Repeat("#", size)
		_, err := c.PlanPolicies(t.Context(), req)
		return err
	}
	body := func(size int) string {
		return `{"files": [{"name": "a.yaml", "content": "` + strings.Repeat("#", size) + `"}]}`
	}
	post := func(path string, size int) answer { return do(t, "POST", run.url+path, body(size), nil) }
	if err := plan(7 << 20); err != nil {
		t.Errorf("7 MiB: %v", err)
	}
	if err := plan(9 << 20); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("9 MiB: %v", err)
	}
	chunked := map[string]string{"Transfer-Encoding": "chunked"}
	if got := post("/api/v1/plan", 7<<20); got.status != 200 {
		t.Errorf("7 MiB by HTTP: %d", got.status)
	}
	for what, got := range map[string]answer{
		"at most 8388608 are allowed": post("/api/v1/plan", 9<<20),
		"at most 65536 are allowed":   post("/api/v1/breakers/fraud-service/reset", 70_000),
		"more than 8388608 bytes":     do(t, "POST", run.url+"/api/v1/plan", body(9<<20), chunked),
		"more than 65536 bytes":       do(t, "POST", run.url+"/api/v1/breakers/fraud-service/reset", body(70_000), chunked),
	} {
		var refusal struct {
			Code    codes.Code
			Message string
		}
		if err := json.Unmarshal([]byte(got.body), &refusal); err != nil || got.status != http.StatusRequestEntityTooLarge ||
			refusal.Code != codes.ResourceExhausted || !strings.Contains(refusal.Message, what) {
			t.Errorf("want %q: %d %s", what, got.status, got.body)
		}
	}
	stream, err := c.WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{Services: []string{strings.Repeat("x", 70_000)}})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large request of another call: %v", err)
	}
}

// TestPlanByHTTP has the same answer by POST.
func TestPlanByHTTP(t *testing.T) {
	got := do(t, "POST", start(t, admin.Options{Model: newFakeModel()}).url+"/api/v1/plan", `{"files": [{"name": "a.yaml", "content": ""}]}`, nil)
	if got.status != 200 || !strings.HasPrefix(got.body, `{"ok":true,"problems":[{"severity":"warning","position":{"file":"fraud.yaml","line":12,"column":5}`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(got.body, `"digest":"abc"`) {
		t.Errorf("no digest in %s", got.body)
	}
}

// TestOnePlanAtATime: plans wait for one another.
func TestOnePlanAtATime(t *testing.T) {
	model := newFakeModel()
	var now, peak atomic.Int32
	model.atPlan = func() {
		peak.Store(max(peak.Load(), now.Add(1)))
		for range 1000 {
			runtime.Gosched()
		}
		now.Add(-1)
	}
	c := adminpb.NewAdminServiceClient(start(t, admin.Options{Model: model}).conn)
	var running sync.WaitGroup
	for range 16 {
		running.Go(func() {
			if _, err := c.PlanPolicies(t.Context(), planRequest("a.yaml")); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := peak.Load(); n != 1 {
		t.Errorf("%d plans at a time", n)
	}
}

// TestPlansThatWait: they are not to fill the memory. A small one finds room among large ones.
func TestPlansThatWait(t *testing.T) {
	model := newFakeModel()
	const large = 7 << 20
	begun, end := make(chan struct{}, 16), make(chan struct{})
	model.atPlan = func() {
		begun <- struct{}{}
		<-end
	}
	run := start(t, admin.Options{Model: model})
	c := adminpb.NewAdminServiceClient(run.conn)
	byGRPC := func(size int) error {
		req := planRequest("a.yaml")
		req.Files[0].Content = strings.Repeat("#", size)
		_, err := c.PlanPolicies(t.Context(), req)
		return err
	}
	body := `{"files": [{"name": "a.yaml", "content": "` + strings.Repeat("#", large) + `"}]}`
	byHTTP := func() int { return do(t, "POST", run.url+"/api/v1/plan", body, nil).status }
	answers := make(chan any, 16)
	for range 6 {
		go func() { answers <- status.Code(byGRPC(large)) }()
		go func() { answers <- byHTTP() }()
	}
	<-begun
	refused := map[any]int{}
	for range 10 { // one is made, and one has room to wait
		refused[<-answers]++
	}
	if refused[codes.ResourceExhausted]+refused[http.StatusTooManyRequests] != 10 {
		t.Errorf("answers %v, want 10 refusals", refused)
	}
	small := make(chan error, 1)
	go func() { small <- byGRPC(100) }()
	close(end)
	if err := <-small; err != nil {
		t.Errorf("a small one: %v", err)
	}
	for range 2 {
		if a := <-answers; a != codes.OK && a != http.StatusOK {
			t.Errorf("one that had room: %v", a)
		}
	}
	if got := byHTTP(); got != http.StatusOK {
		t.Errorf("when all have ended: %d", got)
	}
}

// TestPlanOfOneWhoHasGone ends with its client, by either way in, and makes room for the next.
func TestPlanOfOneWhoHasGone(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	c := adminpb.NewAdminServiceClient(run.conn)
	for name, ask := range map[string]func(context.Context) error{
		"gRPC": func(ctx context.Context) error {
			_, err := c.PlanPolicies(ctx, planRequest("a.yaml"))
			return err
		},
		"HTTP": func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, run.url+"/api/v1/plan", strings.NewReader(`{"files": [{"name": "a.yaml", "content": ""}]}`))
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			begun, ended := make(chan struct{}), make(chan struct{})
			model.set(func(f *fakeModel) { f.atPlan, f.untilGone = func() { close(begun) }, ended })
			ctx, leave := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() { failed <- ask(ctx) }()
			<-begun
			leave()
			if err := <-failed; err == nil {
				t.Error("the call of one who has gone has an answer")
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Fatal("the plan goes on")
			}
			model.set(func(f *fakeModel) { f.atPlan, f.untilGone = nil, nil })
			if _, err := c.PlanPolicies(t.Context(), planRequest("a.yaml")); err != nil {
				t.Errorf("the next: %v", err)
			}
		})
	}
}
