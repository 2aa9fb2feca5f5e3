package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

const (
	// watchWriteTimeout is how long a client may take to receive one message.
	watchWriteTimeout = 10 * time.Second
	// watchKeepAlive is the time between comments on an idle stream of server-sent
	// events. A client that misses them knows soon that what it shows is old.
	watchKeepAlive = 3 * time.Second
	// summaryInterval is the least time between two messages of summaries.
	summaryInterval = time.Second
)

// stream passes on what open gives until ctx is done, the server stops or send fails.
// keepAlive, unless nil, is called every watchKeepAlive. Its own errors are gRPC statuses.
func stream[T any](ctx context.Context, s *service, open func(context.Context) (<-chan T, error), send func(T) error, keepAlive func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)() //nolint:contextcheck // the server's own end ends the call

	changes, err := open(ctx)
	if err != nil {
		return toStatus(err)
	}
	var tick <-chan time.Time
	if keepAlive != nil {
		ticker := time.NewTicker(watchKeepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-tick:
			if err := keepAlive(); err != nil {
				return err
			}
		case change, ok := <-changes:
			switch {
			case !ok && ctx.Err() != nil && s.stopping.Err() == nil:
				return toStatus(ctx.Err())
			case !ok:
				return status.Error(codes.Unavailable, "the server is stopping")
			}
			if err := send(change); err != nil {
				return err
			}
		}
	}
}

// watch sends a snapshot and then the changes.
func (s *service) watch(ctx context.Context, req *adminpb.WatchBreakersRequest, send func(*adminpb.WatchBreakersResponse) error, keepAlive func() error) error {
	services := req.GetServices()
	convert, every := breakerProto, time.Duration(0)
	var told summaries
	if req.GetSummary() {
		convert, every, told = summaryProto, summaryInterval, summaries{}
	}
	open := func(ctx context.Context) (<-chan []breaker.Breaker, error) { return s.model.Watch(ctx, every) }
	snapshot := true
	return stream(ctx, s, open, func(change []breaker.Breaker) error {
		if len(services) > 0 {
			change = slices.DeleteFunc(slices.Clone(change), func(b breaker.Breaker) bool {
				return !slices.Contains(services, b.Service)
			})
		}
		m := changeProto(change, snapshot, convert)
		if told != nil {
			told.reduce(m)
		}
		if !snapshot && len(m.GetBreakers()) == 0 && len(m.GetRemoved()) == 0 {
			return nil
		}
		snapshot = false
		return send(m)
	}, keepAlive)
}

// summaries are what a client was told last, by service.
type summaries map[string]*adminpb.Breaker

// reduce takes out of a message what the client knows: a summary is the same though hosts and proxies have changed.
func (s summaries) reduce(m *adminpb.WatchBreakersResponse) {
	m.Breakers = slices.DeleteFunc(m.GetBreakers(), func(b *adminpb.Breaker) bool {
		known := proto.Equal(s[b.GetService()], b)
		s[b.GetService()] = b
		return known
	})
	for _, name := range m.GetRemoved() {
		delete(s, name)
	}
}

// serveWatch streams WatchBreakers: one JSON object a line, or one server-sent event
// (snapshot or change) for each if the client accepts them. The query parameters are
// services, repeated, and summary.
func (s *service) serveWatch(w http.ResponseWriter, r *http.Request) {
	req := &adminpb.WatchBreakersRequest{Services: r.URL.Query()["services"]}
	if summary := r.URL.Query().Get("summary"); summary != "" {
		var err error
		if req.Summary, err = strconv.ParseBool(summary); err != nil {
			writeError(w, status.Errorf(codes.InvalidArgument, "summary=%q: must be true or false", summary))
			return
		}
	}
	serveStream(w, r, func(out *frameWriter, keepAlive func() error) error {
		return s.watch(r.Context(), req, func(m *adminpb.WatchBreakersResponse) error {
			name := "change"
			if m.GetSnapshot() {
				name = "snapshot"
			}
			return out.message(m, "event: "+name)
		}, keepAlive)
	})
}

// serveStream answers with the messages that run writes: lines, or server-sent events if the
// client accepts them. keepAlive is nil for lines.
func serveStream(w http.ResponseWriter, r *http.Request, run func(out *frameWriter, keepAlive func() error) error) {
	out := &frameWriter{w: w, ctl: http.NewResponseController(w)}
	contentType := "application/x-ndjson"
	var keepAlive func() error
	if out.events = strings.Contains(r.Header.Get("Accept"), "text/event-stream"); out.events {
		contentType = "text/event-stream"
		keepAlive = func() error { return out.write([]byte(": keep-alive\n\n")) }
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	if err := run(out, keepAlive); !out.started {
		writeError(w, err)
	}
}

// frameWriter writes whole frames, each with its own deadline: the server's write
// timeout would end a stream that is meant to last.
type frameWriter struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	started bool
	// events is true for server-sent events, false for lines.
	events bool
}

// message writes m as one frame. field is a further field of a server-sent event, such as
// its name.
func (s *frameWriter) message(m proto.Message, field string) error {
	data, err := marshalJSON(m)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if s.events {
		return s.write(fmt.Appendf(nil, "%s\ndata: %s\n\n", field, data))
	}
	return s.write(append(data, '\n'))
}

// begin sends the headers, so that a client knows that it is served.
func (s *frameWriter) begin() error { return s.write(nil) }

func (s *frameWriter) write(frame []byte) error {
	s.started = true
	if err := s.ctl.SetWriteDeadline(time.Now().Add(watchWriteTimeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(frame); err != nil {
		return err
	}
	return s.ctl.Flush()
}
