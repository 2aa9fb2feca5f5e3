package admin

import (
	"context"
	"fmt"
	"iter"
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
	// maxStreams bounds those who watch at one time, by gRPC and HTTP together: each has a goroutine and remembers what
	// it was told.
	maxStreams = 1000
)

// stream passes on what open gives until ctx is done, the server stops or send fails.
// keepAlive, unless nil, is called every watchKeepAlive. Its own errors are gRPC statuses.
func stream[T any](ctx context.Context, s *service, open func(context.Context) (<-chan T, error), send func(T) error, keepAlive func() error) error {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d clients watch already, and no more are served", cap(s.streams))
	}
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
	q := breaker.WatchQuery{Proxies: true}
	var told summaries
	if req.GetSummary() {
		q, told = breaker.WatchQuery{Every: summaryInterval}, summaries{}
	}
	wanted := func(service string) bool {
		return len(req.GetServices()) == 0 || slices.Contains(req.GetServices(), service)
	}
	open := func(ctx context.Context) (<-chan iter.Seq[breaker.Breaker], error) { return s.model.Watch(ctx, q) }
	snapshot := true
	return stream(ctx, s, open, func(change iter.Seq[breaker.Breaker]) error {
		out := messages{send: send, max: s.pageBytes, room: s.pageBytes, next: &adminpb.WatchBreakersResponse{Snapshot: snapshot}}
		for b := range change {
			var err error
			switch {
			case !wanted(b.Service):
			case b.Removed:
				delete(told, b.Service)
				err = out.remove(b.Service)
			default:
				if told.learn(b) {
					err = out.add(breakerProto(b))
				}
			}
			if err != nil {
				return err
			}
		}
		if !snapshot && out.empty() {
			return nil
		}
		snapshot = false
		return send(out.next)
	}, keepAlive)
}

// messages sends one change in as many messages as it needs. All but the last are sent as they are full.
type messages struct {
	send func(*adminpb.WatchBreakersResponse) error
	// max is how many bytes a message may have, and room how many next has left.
	max, room int
	next      *adminpb.WatchBreakersResponse
}

func (m *messages) empty() bool {
	return len(m.next.GetBreakers()) == 0 && len(m.next.GetRemoved()) == 0
}

// flush sends the next message if there is no room in it for so many bytes.
func (m *messages) flush(size int) error {
	size += 5 // a tag and a length
	if m.room -= size; m.room >= 0 || m.empty() {
		return nil
	}
	m.next.More = true
	err := m.send(m.next)
	m.next, m.room = &adminpb.WatchBreakersResponse{}, m.max-size
	return err
}

func (m *messages) add(b *adminpb.Breaker) error {
	for rest := b; rest != nil; {
		b, rest = split(rest, m.max)
		if err := m.flush(proto.Size(b)); err != nil {
			return err
		}
		m.next.Breakers = append(m.next.Breakers, b)
	}
	return nil
}

func (m *messages) remove(service string) error {
	if err := m.flush(len(service)); err != nil {
		return err
	}
	m.next.Removed = append(m.next.Removed, service)
	return nil
}

// summaries are what was last sent to a client, by service, without the proxies; nil for a client that gets every change.
type summaries map[string]breaker.Breaker

// learn reports whether the breaker differs from what the client knows: a summary is the same though hosts and proxies
// have changed.
func (s summaries) learn(b breaker.Breaker) bool {
	if s == nil {
		return true
	}
	last, known := s[b.Service]
	b.Proxies = nil
	s[b.Service] = b
	return !known || last.State != b.State || last.Summary != b.Summary || !last.Overview.Equal(b.Overview)
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
