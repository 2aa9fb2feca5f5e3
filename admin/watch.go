package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

const (
	// watchWriteTimeout is how long a client may take to receive one message.
	watchWriteTimeout = 10 * time.Second
	// watchKeepAlive is the time between comments on an idle stream of server-sent
	// events: less than the minute after which middleboxes give up on a connection.
	watchKeepAlive = 15 * time.Second
)

// watch sends a snapshot and then the changes until ctx is done, the server stops or
// send fails. services limits it; empty means all. keepAlive, unless nil, is called
// every watchKeepAlive. Its own errors are gRPC statuses.
func (s *service) watch(ctx context.Context, services []string, send func(*adminpb.WatchBreakersResponse) error, keepAlive func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)() //nolint:contextcheck // the server's own end ends the call

	changes, err := s.model.Watch(ctx)
	if err != nil {
		return toStatus(err)
	}
	var tick <-chan time.Time
	if keepAlive != nil {
		ticker := time.NewTicker(watchKeepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	for snapshot := true; ; {
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
			if len(services) > 0 {
				change = slices.DeleteFunc(slices.Clone(change), func(b breaker.Breaker) bool {
					return !slices.Contains(services, b.Service)
				})
			}
			if len(change) == 0 && !snapshot {
				continue
			}
			if err := send(changeProto(change, snapshot)); err != nil {
				return err
			}
			snapshot = false
		}
	}
}

// serveWatch streams WatchBreakers: one JSON object a line, or one server-sent event
// (snapshot or change) for each if the client accepts them. The query parameter
// services, repeated, limits it.
func (s *service) serveWatch(w http.ResponseWriter, r *http.Request) {
	out := &frameWriter{w: w, ctl: http.NewResponseController(w)}
	contentType, frame := "application/x-ndjson", lineFrame
	var keepAlive func() error
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		contentType, frame = "text/event-stream", eventFrame
		keepAlive = func() error { return out.write([]byte(": keep-alive\n\n")) }
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	err := s.watch(r.Context(), r.URL.Query()["services"], func(m *adminpb.WatchBreakersResponse) error {
		data, err := marshalJSON(m)
		if err != nil {
			return status.Error(codes.Internal, err.Error())
		}
		return out.write(frame(m.GetSnapshot(), data))
	}, keepAlive)
	if !out.started {
		writeError(w, err)
	}
}

func lineFrame(_ bool, data []byte) []byte { return append(data, '\n') }

func eventFrame(snapshot bool, data []byte) []byte {
	name := "change"
	if snapshot {
		name = "snapshot"
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", name, data)
}

// frameWriter writes whole frames, each with its own deadline: the server's write
// timeout would end a stream that is meant to last.
type frameWriter struct {
	w       http.ResponseWriter
	ctl     *http.ResponseController
	started bool
}

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
