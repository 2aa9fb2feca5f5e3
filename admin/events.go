package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/breakwater/breakwater/admin/adminpb"
	"github.com/breakwater/breakwater/breaker"
)

func (s *service) ListEvents(ctx context.Context, req *adminpb.ListEventsRequest) (*adminpb.ListEventsResponse, error) {
	p, err := s.newPager(req)
	if err != nil {
		return nil, err
	}
	events, err := s.model.Events(ctx, breaker.EventFilter{Service: req.GetService(), Limit: int(req.GetLimit())})
	if err != nil {
		return nil, toStatus(err)
	}
	resp := &adminpb.ListEventsResponse{}
	resp.Events, resp.NextPageToken = fillPage(p, events, func(e breaker.Event) string { return fmt.Sprintf("%020d", e.ID) }, eventProto)
	return resp, nil
}

func (s *service) WatchEvents(req *adminpb.WatchEventsRequest, stream grpc.ServerStreamingServer[adminpb.WatchEventsResponse]) error {
	opened := func() error { return stream.SendHeader(nil) }
	return s.watchEvents(stream.Context(), req, opened, stream.Send, nil)
}

// watchEvents sends the events that are kept and then each further one. opened is called
// before the first, for which a client may have to wait long. Its own errors are gRPC
// statuses.
func (s *service) watchEvents(ctx context.Context, req *adminpb.WatchEventsRequest, opened func() error, send func(*adminpb.WatchEventsResponse) error, keepAlive func() error) error {
	since := req.GetSince()
	follow := func(ctx context.Context) (<-chan breaker.Event, error) {
		if since > 0 {
			newest, err := s.model.Events(ctx, breaker.EventFilter{Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(newest) == 0 || newest[0].ID < since {
				// The count began anew: the client's id is of another history.
				since = 0
			}
		}
		events, err := s.model.FollowEvents(ctx, breaker.EventFilter{Service: req.GetService(), Limit: int(req.GetLimit())})
		if err != nil {
			return nil, err
		}
		return events, opened()
	}
	return stream(ctx, s, follow, func(e breaker.Event) error {
		if e.ID <= since {
			return nil
		}
		return send(&adminpb.WatchEventsResponse{Event: eventProto(e)})
	}, keepAlive)
}

// serveWatchEvents streams WatchEvents: one JSON object a line, or one server-sent event
// with the event's id if the client accepts them. The fields of the request are query
// parameters; the header Last-Event-ID, which browsers send by themselves when they connect
// again, goes before since.
func (s *service) serveWatchEvents(w http.ResponseWriter, r *http.Request) {
	req, err := watchEventsRequest(r)
	if err != nil {
		writeError(w, err)
		return
	}
	serveStream(w, r, func(out *frameWriter, keepAlive func() error) error {
		return s.watchEvents(r.Context(), req, out.begin, func(m *adminpb.WatchEventsResponse) error {
			return out.message(m, fmt.Sprintf("id: %d", m.GetEvent().GetId()))
		}, keepAlive)
	})
}

// watchEventsRequest is the request in the query. Its error is a gRPC status.
func watchEventsRequest(r *http.Request) (*adminpb.WatchEventsRequest, error) {
	query := r.URL.Query()
	limit, err := number(query, "limit", 32)
	if err != nil {
		return nil, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		query.Set("since", last)
	}
	since, err := number(query, "since", 64)
	if err != nil {
		return nil, err
	}
	return &adminpb.WatchEventsRequest{Service: query.Get("service"), Limit: uint32(limit), Since: since}, nil
}

// number is a query parameter, 0 if it is not there. Its error is a gRPC status.
func number(query url.Values, name string, bits int) (uint64, error) {
	text := query.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, status.Errorf(codes.InvalidArgument, "%s %q is not a number that is allowed", name, text)
	}
	return n, nil
}
