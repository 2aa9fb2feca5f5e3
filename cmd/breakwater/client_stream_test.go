package main

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/test/envoytest"
)

// runFollowing runs a command that does not end by itself until ok, and returns what it
// printed on standard output and standard error.
func runFollowing(t *testing.T, cmd *cobra.Command, ok func(stdout, stderr string) bool, args ...string) (string, string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr envoytest.Output
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok(stdout.String(), stderr.String()) {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("%s ended with %v and printed %q, %q", cmd.Name(), err, stdout.String(), stderr.String())
		case <-deadline:
			t.Fatalf("%s printed after 10 s: %q, %q", cmd.Name(), stdout.String(), stderr.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("%s ended with %v when it was interrupted", cmd.Name(), err)
	}
	return stdout.String(), stderr.String()
}

func (f *fakeAPI) allAsked() []proto.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]proto.Message(nil), f.asked...)
}

const (
	eventsText = `2026-03-04T12:00:00Z  fraud-service  edge-2  closed -> open (shadow): 2 of 2 hosts ejected
2026-03-04T12:00:00Z  search-service  (all)  force-open until 2026-03-04T12:00:00Z: by ann: drill
2026-03-04T12:00:00Z  search-service  (all)  release: by ann
2026-03-04T12:00:00Z  search-service  edge-1  host-ejected 10.0.0.1:80
`
	waitsText = "waiting for the server: no answer from %s: the server is stopping\nthe server is back\n"
)

// TestEventsFollow: the server ends each call after the events that are kept; the client asks
// for what came since, and tells that on standard error.
func TestEventsFollow(t *testing.T) {
	api := newFakeAPI()
	server := serveFake(t, api)
	stdout, stderr := runFollowing(t, newEventsCmd(), func(_, stderr string) bool { return strings.Contains(stderr, "is back") && len(api.allAsked()) > 1 },
		"search-service", "--follow", "--limit=5", "--server", server)
	if diff := cmp.Diff(eventsText, stdout); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if want := strings.ReplaceAll(waitsText, "%s", server); !strings.HasPrefix(stderr, want) {
		t.Errorf("standard error %q, want %q", stderr, want)
	}
	want := []proto.Message{
		&adminpb.WatchEventsRequest{Service: "search-service", Limit: 5},
		&adminpb.WatchEventsRequest{Service: "search-service", Since: 10},
	}
	if diff := cmp.Diff(want, api.allAsked()[:2], protocmp.Transform()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	stdout, _ = runFollowing(t, newEventsCmd(), func(_, stderr string) bool { return stderr != "" }, "-f", "-o", "json", "--server", server)
	if lines := strings.Split(stdout, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[1], `{"id":"8","time":"2026-03-04T12:00:00Z","kind":"force_open",`) {
		t.Errorf("JSON lines:\n%s", stdout)
	}
}

// TestFollowNeedsAServerFirst: only a server that has answered is waited for.
func TestFollowNeedsAServerFirst(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	hanging := serveFake(t, &fakeAPI{hang: true})
	older := serveFake(t, nil)
	for server, want := range map[string]string{
		nobody:  "no server at " + nobody + " (connection refused): start one",
		hanging: "no answer from " + hanging + " within 50ms",
		older:   older + " has no admin API",
	} {
		for _, cmd := range []*cobra.Command{newEventsCmd(), newWatchCmd()} {
			args := []string{"--server", server, "--timeout=50ms"}
			if cmd.Name() == "events" {
				args = append(args, "--follow")
			}
			if _, err := runClient(t, cmd, args...); exitCode(err) != exitFailed || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s: error %v with exit code %d, want %q", cmd.Name(), err, exitCode(err), want)
			}
		}
	}
}

// TestWatchLines: a line for each breaker, and then for each that differs in more than its
// counts. The first breaker that the fake tells of again is as it was.
func TestWatchLines(t *testing.T) {
	api := newFakeAPI()
	server := serveFake(t, api)
	stdout, _ := runFollowing(t, newWatchCmd(), func(_, stderr string) bool { return stderr != "" }, "fraud-service", "search-service", "--server", server)
	var got []string
	for line := range strings.Lines(stdout) {
		at, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		got = append(got, rest)
	}
	want := []string{
		"fraud-service  open  open on 1 of 2 proxies: 2 of 2 hosts ejected; a limit is hit",
		"search-service  unknown  no proxy is connected",
		"search-service  closed  closed on 1 of 1 proxy",
		"fraud-service  removed  it is no longer served",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&adminpb.WatchBreakersRequest{Services: []string{"fraud-service", "search-service"}, Summary: true}, api.allAsked()[2], protocmp.Transform()); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	stdout, _ = runFollowing(t, newWatchCmd(), func(_, stderr string) bool { return stderr != "" }, "-o", "json", "--server", server)
	if lines := strings.Split(stdout, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], `{"snapshot":false,"breakers":[{"service":"search-service","state":"closed",`) {
		t.Errorf("JSON lines:\n%s", stdout)
	}
}

// TestWatchLinesAfterALoss: what has changed or gone meanwhile is told, and nothing else.
func TestWatchLinesAfterALoss(t *testing.T) {
	var out strings.Builder
	v := &lineView{out: &out, now: noon.AsTime}
	closed := func(name string) *adminpb.Breaker {
		return &adminpb.Breaker{Service: name, State: "closed", Summary: "closed on 1 of 1 proxy"}
	}
	for _, m := range []*adminpb.WatchBreakersResponse{
		{Snapshot: true, Breakers: []*adminpb.Breaker{closed("a"), closed("b"), closed("c")}},
		{Snapshot: true, Breakers: []*adminpb.Breaker{closed("a"), {Service: "c", State: "open", Summary: "open on 1 of 1 proxy"}}},
	} {
		out.Reset()
		if err := v.change(m); err != nil {
			t.Fatal(err)
		}
	}
	want := "2026-03-04T12:00:00Z  c  open  open on 1 of 1 proxy\n2026-03-04T12:00:00Z  b  removed  it is no longer served\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestWatchScreen(t *testing.T) {
	var out strings.Builder
	height := 0
	v := &screenView{out: &out, server: "here:1", profile: colorprofile.ANSI, size: func() (int, int) { return 0, height }, now: noon.AsTime}
	if err := v.tick(); err != nil || out.Len() > 0 {
		t.Errorf("before the server has answered, %q is drawn, %v", out.String(), err)
	}
	closed := func(name string) *adminpb.Breaker {
		return &adminpb.Breaker{Service: name, State: "closed", Summary: "closed on 1 of 1 proxy", Overview: &adminpb.Overview{TotalHosts: 1}}
	}
	open := &adminpb.Breaker{Service: "z", State: "open", Summary: "open on 1 of 1 proxy", Overview: &adminpb.Overview{
		Cause: "too\x1b[2J many\nfailures", RecentErrors: 5, RecentAttempts: 37, Until: timestamppb.New(noon.AsTime().Add(12 * time.Second)),
	}}
	screen := func(do func() error) string {
		t.Helper()
		out.Reset()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.ReplaceAll(out.String(), "\x1b", "^"), "^[K", "")
	}
	table := "^[1mSERVICE^[m  ^[1mSTATE^[m   ^[1mWINDOW^[m  ^[1mEJECTED^[m  ^[1mATTEMPTS^[m  ^[1mERRORS^[m  ^[1mUNTIL^[m  ^[1mSUMMARY^[m\r\n" +
		"z        ^[31mopen^[m    5/37    ?        0         0       12s    open on 1 of 1 proxy: too [2J many failures\r\n"
	head := "^[HBreakwater at here:1, 2026-03-04T12:00:00Z (Ctrl-C ends)\r\n\r\n"
	row := func(name string) string {
		return name + "        ^[32mclosed^[m  0/0     0 of 1   0         0       -      closed on 1 of 1 proxy"
	}
	for _, tt := range []struct {
		name   string
		height int
		do     func() error
		want   string
	}{
		{"first", 0, func() error {
			return v.change(&adminpb.WatchBreakersResponse{Snapshot: true, Breakers: []*adminpb.Breaker{closed("a"), closed("b"), open}})
		}, "^[?1049h^[?25l^[?7l" + head + table + row("a") + "\r\n" + row("b") + "^[J"},
		{"a low terminal", 5, v.tick, head + table + "and 2 more^[J"},
		{"the server is gone", 0, func() error { return v.lost(errors.New("no answer")) }, strings.Replace(head, "Breakwater at here:1, 2026-03-04T12:00:00Z (Ctrl-C ends)",
			"waiting for the server, this is how it was: no answer", 1) + table + row("a") + "\r\n" + row("b") + "^[J"},
		{"the server is back", 0, func() error { return v.lost(nil) }, head + table + row("a") + "\r\n" + row("b") + "^[J"},
		{"nothing is left", 0, func() error { return v.change(&adminpb.WatchBreakersResponse{Removed: []string{"a", "b", "z"}}) }, head + "no service is served^[J"},
	} {
		height = tt.height
		if diff := cmp.Diff(tt.want, screen(tt.do)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if got := screen(func() error { return v.run(func() error { return nil }) }); got != "^[?7h^[?25h^[?1049l" {
		t.Errorf("at the end %q is written", got)
	}
}

// TestWatchOnATerminal: the command draws, and leaves the terminal as it was.
func TestWatchOnATerminal(t *testing.T) {
	t.Setenv("TTY_FORCE", "1")
	t.Setenv("TERM", "xterm-256color")
	stdout, stderr := runFollowing(t, newWatchCmd(), func(stdout, _ string) bool { return strings.Contains(stdout, "waiting for the server") },
		"--server", serveFake(t, newFakeAPI()))
	if !strings.HasPrefix(stdout, enterScreen+home) || !strings.HasSuffix(stdout, leaveScreen) || stderr != "" {
		t.Errorf("printed %q, %q", stdout, stderr)
	}
}
