package admin_test

import (
	"bufio"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

// wantMessage takes the next message of a stream of breakers.
func wantMessage(t *testing.T, stream grpc.ServerStreamingClient[adminpb.WatchBreakersResponse], want *adminpb.WatchBreakersResponse) {
	t.Helper()
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := run.client.WatchBreakers(ctx, &adminpb.WatchBreakersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want *adminpb.WatchBreakersResponse) {
		t.Helper()
		wantMessage(t, stream, want)
	}
	expect(&adminpb.WatchBreakersResponse{Snapshot: true, Breakers: []*adminpb.Breaker{fraudProto(), searchProto()}})
	model.changes <- []breaker.Breaker{search()}
	expect(&adminpb.WatchBreakersResponse{Breakers: []*adminpb.Breaker{searchProto()}})
	model.changes <- []breaker.Breaker{{Service: "fraud-service", Removed: true}, search()}
	expect(&adminpb.WatchBreakersResponse{Breakers: []*adminpb.Breaker{searchProto()}, Removed: []string{"fraud-service"}})
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after the client's cancel: %v", err)
	}
	eventually(t, "the model's watch ends with the stream", func() bool { return model.watching() == 0 })
}

func TestWatchOfSomeServices(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	stream, err := run.client.WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{Services: []string{"search-service", "later"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []*adminpb.WatchBreakersResponse{
		{Snapshot: true, Breakers: []*adminpb.Breaker{searchProto()}},
		{Removed: []string{"search-service"}},
	} {
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("message %d (-want +got):\n%s", i, diff)
		}
		if i == 0 {
			model.changes <- []breaker.Breaker{fraud()}
			model.changes <- []breaker.Breaker{fraud(), {Service: "search-service", Removed: true}}
		}
	}
}

func TestWatchByHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, accept, query, contentType string
		// lines of the snapshot, and of the change to search-service.
		snapshot, change []string
		// changed is search-service if zero.
		changed breaker.Breaker
	}{
		{
			name: "lines", contentType: "application/x-ndjson",
			snapshot: []string{`{"snapshot":true,"breakers":[` + fraudJSON + `,` + searchJSON + `],"removed":[],"more":false}`},
			change:   []string{`{"snapshot":false,"breakers":[` + searchJSON + `],"removed":[],"more":false}`},
		},
		{
			name: "events of one service", accept: "text/event-stream", query: "?services=search-service", contentType: "text/event-stream",
			snapshot: []string{"event: snapshot", `data: {"snapshot":true,"breakers":[` + searchJSON + `],"removed":[],"more":false}`, ""},
			change:   []string{"event: change", `data: {"snapshot":false,"breakers":[` + searchJSON + `],"removed":[],"more":false}`, ""},
		},
		{
			name: "events of summaries", accept: "text/event-stream", query: "?summary=true&services=fraud-service", contentType: "text/event-stream",
			snapshot: []string{"event: snapshot", `data: {"snapshot":true,"breakers":[` + fraudSummaryJSON + `],"removed":[],"more":false}`, ""},
			change:   []string{"event: change", `data: {"snapshot":false,"breakers":[],"removed":["fraud-service"],"more":false}`, ""},
			changed:  breaker.Breaker{Service: "fraud-service", Removed: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			model := newFakeModel()
			run := start(t, admin.Options{Model: model})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, run.url+"/api/v1/breakers:watch"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", tt.accept)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("content type %q, want %q", got, tt.contentType)
			}
			lines := bufio.NewScanner(resp.Body)
			expect := func(want []string) {
				t.Helper()
				for _, w := range want {
					if !lines.Scan() {
						t.Fatalf("the stream ended: %v", lines.Err())
					}
					if diff := cmp.Diff(w, lines.Text()); diff != "" {
						t.Errorf("line (-want +got):\n%s", diff)
					}
				}
			}
			expect(tt.snapshot)
			if tt.changed.Service == "" {
				tt.changed = search()
			}
			model.changes <- []breaker.Breaker{tt.changed}
			expect(tt.change)
			cancel()
			eventually(t, "the model's watch ends with the client", func() bool { return model.watching() == 0 })
		})
	}
}

// A summary has no proxies; it comes at most once a second, and only if it is another than the client has.
func TestWatchSummaries(t *testing.T) {
	model := newFakeModel()
	run := start(t, admin.Options{Model: model})
	stream, err := run.client.WatchBreakers(t.Context(), &adminpb.WatchBreakersRequest{Summary: true})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want *adminpb.WatchBreakersResponse) {
		t.Helper()
		wantMessage(t, stream, want)
	}
	summary := fraudProto()
	summary.Proxies = nil
	expect(&adminpb.WatchBreakersResponse{Snapshot: true, Breakers: []*adminpb.Breaker{summary, searchProto()}})
	model.set(func(f *fakeModel) {
		if f.every != time.Second {
			t.Errorf("the model was asked for changes every %s", f.every)
		}
	})
	// What changes in hosts and proxies alone is not in a summary.
	same := fraud()
	same.Proxies[0].Hosts[0].Requests++
	same.Proxies[1].RecentErrors++
	same = breaker.NewBreaker(same.Service, same.Proxies)
	model.changes <- []breaker.Breaker{same, search()}
	more := fraud()
	more.Proxies[1].Attempts++
	more = breaker.NewBreaker(more.Service, more.Proxies)
	model.changes <- []breaker.Breaker{more, search()}
	summary.Overview.Attempts++
	expect(&adminpb.WatchBreakersResponse{Breakers: []*adminpb.Breaker{summary}})
	// A service that went and came back is told, though it is as it was.
	model.changes <- []breaker.Breaker{{Service: "search-service", Removed: true}}
	expect(&adminpb.WatchBreakersResponse{Removed: []string{"search-service"}})
	model.changes <- []breaker.Breaker{search()}
	expect(&adminpb.WatchBreakersResponse{Breakers: []*adminpb.Breaker{searchProto()}})
}
