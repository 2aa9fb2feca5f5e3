package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/breakwater/breakwater/admin/adminpb"
)

func TestEvents(t *testing.T) {
	got, err := runClient(t, newEventsCmd(), "--server", serveFake(t, newFakeAPI()))
	want := `TIME                  SERVICE         PROXY   EVENT                                  CAUSE
2026-03-04T12:00:00Z  fraud-service   edge-2  closed -> open (shadow)                2 of 2 hosts ejected
2026-03-04T12:00:00Z  search-service  (all)   force-open until 2026-03-04T12:00:00Z  by ann: drill
2026-03-04T12:00:00Z  search-service  (all)   release                                by ann
2026-03-04T12:00:00Z  search-service  edge-1  host-ejected 10.0.0.1:80
`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, output (-want +got):\n%s", err, diff)
	}
	got, err = runClient(t, newEventsCmd(), "--server", serveFake(t, &fakeAPI{}))
	if err != nil || got != "nothing has happened\n" {
		t.Errorf("without events: %q, %v", got, err)
	}
	got, err = runClient(t, newEventsCmd(), "-o", "json", "--server", serveFake(t, &fakeAPI{}))
	if err != nil || got != "{\n  \"events\": [],\n  \"next_page_token\": \"\"\n}\n" {
		t.Errorf("without events: %q, %v", got, err)
	}
}

func TestExplain(t *testing.T) {
	api := newFakeAPI()
	api.explains = &adminpb.ExplainBreakerResponse{
		Breaker: api.breakers[0],
		Findings: []*adminpb.Finding{
			{Proxies: []string{"edge-1", "edge-2"}, What: "the breaker is open:\n2 of 2 hosts ejected", Advice: "mend the service"},
			{What: "its policy on disk has an error"},
		},
		Counts: []*adminpb.ProxyCounts{
			{Proxy: "edge-1", Counts: []*adminpb.FailureCount{
				{Stat: "upstream_rq_timeout", Flag: "UT", Meaning: "a request was given up", Total: 12, Recent: 2},
				{Stat: "rq_error", Meaning: "an attempt failed", Total: 30},
			}},
			{Proxy: "edge-2", Error: "connection refused"},
		},
		Settings: []*adminpb.Setting{
			{Path: "breaker.timeout", Value: "30s", Layer: "profile", Variable: "reads", Position: &adminpb.Position{File: "defaults.yaml", Line: 3, Column: 5}},
			{Path: "breaker.window_size", Value: "50", Layer: "environment", Variable: "CB_WINDOW_SIZE"},
			{Path: "fallback.body", Value: strings.Repeat("é", 100), Layer: "service", Position: &adminpb.Position{File: "fraud.yaml", Line: 9, Column: 1}},
			{Path: "limits.max_requests", Value: "1024", Layer: "built-in"},
			{Path: "retry.max_delay", Value: "1s", Layer: "built-in", Clamped: true},
			{Path: "retry.max_retries", Value: "3", Layer: "built-in"},
		},
	}
	server := serveFake(t, api)
	got, err := runClient(t, newExplainCmd(), "fraud-service", "--server", server)
	want := `fraud-service: open on 1 of 2 proxies

- edge-1, edge-2: the breaker is open: 2 of 2 hosts ejected
  What to do: mend the service
- its policy on disk has an error

What Envoy counted:
PROXY   FLAG  TIMES  LAST SECOND  ENVOY'S NAME         WHAT
edge-1  UT    12     2            upstream_rq_timeout  a request was given up
edge-1  -     30     0            rq_error             an attempt failed
edge-2  -     ?      ?            -                    connection refused

The policy in force:
SETTING              FROM                                  VALUE
breaker.timeout      profile reads at defaults.yaml:3:5    30s
breaker.window_size  $CB_WINDOW_SIZE                       50
fallback.body        fraud.yaml:9:1                        ` + strings.Repeat("é", 79) + `…
retry.max_delay      built-in, pulled to what else is set  1s
2 built-in values: --all shows them
`
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, output (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff("fraud-service", api.lastAsked().(*adminpb.ExplainBreakerRequest).Service); diff != "" {
		t.Error(diff)
	}
	got, err = runClient(t, newExplainCmd(), "fraud-service", "--all", "--server", server)
	if err != nil || !strings.Contains(got, "\nlimits.max_requests  built-in                              1024") || strings.Contains(got, "--all") {
		t.Errorf("with --all: %v\n%s", err, got)
	}
	got, err = runClient(t, newExplainCmd(), "fraud-service", "-o", "yaml", "--server", server)
	if !strings.Contains(got, "path: limits.max_requests") {
		t.Errorf("as YAML a built-in value is left out:\n%s", got)
	}
	if err != nil || !strings.Contains(got, "findings:\n  - proxies:\n      - edge-1\n      - edge-2\n    what:") {
		t.Errorf("as YAML: %v\n%s", err, got)
	}
	api.explains = &adminpb.ExplainBreakerResponse{Breaker: &adminpb.Breaker{Service: "a", Summary: "closed on 1 of 1 proxy"}}
	got, err = runClient(t, newExplainCmd(), "a", "--server", server)
	want = "a: closed on 1 of 1 proxy\n\nNothing keeps requests from it now.\n\nNo policy of it is in force.\n"
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, output (-want +got):\n%s", err, diff)
	}
}

// TestExplainFitsATerminal: on 24 lines of 80 columns the answer is not pushed off the screen by values that nobody has set.
func TestExplainFitsATerminal(t *testing.T) {
	svc := policyOf(t, plainPolicy)
	e := &adminpb.ExplainBreakerResponse{
		Breaker: &adminpb.Breaker{Service: svc.Name, Summary: "open on 1 of 1 proxy"},
		Findings: []*adminpb.Finding{{
			Proxies: []string{"edge-1"}, What: "the breaker is open, callers get 503 at once: 1 of 1 host ejected after 5 consecutive failures",
			Advice: "fix the service; then `breakwater reset a` closes it at once, or wait 42s: then 1 request at a time may try it",
		}},
	}
	for _, s := range svc.Settings() {
		e.Settings = append(e.Settings, &adminpb.Setting{Path: s.Path, Value: s.Value, Layer: string(s.Origin.Layer)})
	}
	got, err := runClient(t, newExplainCmd(), "a", "--server", serveFake(t, &fakeAPI{explains: e}))
	if err != nil {
		t.Fatal(err)
	}
	const columns, screen = 80, 24 - 1 // the last line is the shell's prompt
	lines := 0
	for line := range strings.Lines(got) {
		lines += max(1, (utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))+columns-1)/columns)
	}
	if lines > screen {
		t.Errorf("it takes %d lines, want at most %d:\n%s", lines, screen, got)
	}
}
