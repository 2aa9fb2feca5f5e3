package admin_test

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin"
	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

func TestWatchEvents(t *testing.T) {
	for _, tt := range []struct {
		name string
		req  *adminpb.WatchEventsRequest
		want []uint64 // the last one has happened since
	}{
		{"all", &adminpb.WatchEventsRequest{}, []uint64{7, 9, 10}},
		{"the newest", &adminpb.WatchEventsRequest{Limit: 1}, []uint64{9, 10}},
		{"of one service", &adminpb.WatchEventsRequest{Service: "fraud-service"}, []uint64{7, 10}},
		{"since an event", &adminpb.WatchEventsRequest{Since: 7}, []uint64{9, 10}},
		{"since the newest", &adminpb.WatchEventsRequest{Since: 9}, []uint64{10}},
		{"since one of another history", &adminpb.WatchEventsRequest{Since: 1234}, []uint64{7, 9, 10}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			model := newFakeModel()
			run := start(t, admin.Options{Model: model})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := run.client.WatchEvents(ctx, tt.req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Header(); err != nil {
				t.Fatalf("before any event: %v", err)
			}
			var got []uint64
			for i := range tt.want {
				if i == len(tt.want)-1 {
					model.happens <- breaker.Event{ID: 10, Service: "fraud-service", Kind: breaker.WasReset}
				}
				resp, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, resp.GetEvent().GetId())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("events %v, want %v", got, tt.want)
			}
			cancel()
			if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
				t.Errorf("after the client's cancel: %v", err)
			}
			eventually(t, "the model's watch ends with the stream", func() bool { return model.watching() == 0 })
		})
	}
}

func TestWatchEventsByHTTP(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		header      map[string]string
		contentType string
		lines       []string
	}{
		{
			name: "lines", contentType: "application/x-ndjson",
			lines: []string{`{"event":` + tripJSON + `}`, `{"event":` + forcedJSON + `}`},
		},
		{
			name: "events", header: map[string]string{"Accept": "text/event-stream"}, query: "?limit=1", contentType: "text/event-stream",
			lines: []string{"id: 9", `data: {"event":` + forcedJSON + `}`, ""},
		},
		{
			name: "a browser that connects again", header: map[string]string{"Accept": "text/event-stream", "Last-Event-ID": "7"}, query: "?since=1", contentType: "text/event-stream",
			lines: []string{"id: 9", `data: {"event":` + forcedJSON + `}`, ""},
		},
		{name: "nothing yet", query: "?since=9&service=fraud-service", contentType: "application/x-ndjson"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			model := newFakeModel()
			run := start(t, admin.Options{Model: model})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, run.url+"/api/v1/events:watch"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range tt.header {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("content type %q, want %q", got, tt.contentType)
			}
			lines := bufio.NewScanner(resp.Body)
			for _, want := range tt.lines {
				if !lines.Scan() {
					t.Fatalf("the stream ended: %v", lines.Err())
				}
				if lines.Text() != want {
					t.Errorf("line %s, want %s", lines.Text(), want)
				}
			}
			cancel()
			eventually(t, "the model's watch ends with the client", func() bool { return model.watching() == 0 })
		})
	}
}
